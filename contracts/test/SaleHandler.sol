// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdCheats} from "forge-std/StdCheats.sol";
import {License} from "../src/License.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {Purchases} from "../src/libraries/Purchases.sol";

/// @notice Signs like a wallet; the test lends it the digests.
interface IDigests {
    function receiveDigest(address payer, uint256 value, Purchases.PurchaseIntent calldata intent)
        external
        view
        returns (bytes32);
    function permit2Digest(Purchases.PurchaseIntent calldata intent) external view returns (bytes32);
    function permitDigest(address owner, uint256 value, uint256 deadline) external view returns (bytes32);
}

/// @notice Three buyers who pay in every way, and a stranger who sends every signature again.
contract SaleHandler is CommonBase, StdCheats {
    struct Used {
        address payer;
        bool byPermit2;
        Purchases.PurchaseIntent intent;
        bytes signature;
    }

    uint128 private constant PRICE = 5_000_000;

    License private immutable _license;
    LicenseSale private immutable _sale;
    TestUSD private immutable _usd;
    IDigests private immutable _digests;
    uint256 private immutable _planId;
    address private immutable _permit2;

    address[3] public people;
    uint256[3] private _keys;
    Used[] private _used;
    uint256 private _nonce;
    uint256 public sold;
    uint256 public renewed;
    bool public replayed;
    bool public wrongHolder;

    constructor(License license, LicenseSale sale, TestUSD usd, IDigests digests, uint256 planId, address permit2) {
        (_license, _sale, _usd, _digests, _planId, _permit2) = (license, sale, usd, digests, planId, permit2);
        for (uint256 i = 0; i < 3; ++i) {
            (people[i], _keys[i]) = makeAddrAndKey(string.concat("person ", vm.toString(i)));
        }
    }

    function _earn(uint256 who, address spender) private returns (address person) {
        person = people[who % 3];
        _usd.mint(person, PRICE);
        if (spender == address(0)) return person;
        vm.prank(person);
        _usd.approve(spender, PRICE);
    }

    function _note(uint256 tokenId, address holder) private {
        ++sold;
        if (_license.ownerOf(tokenId) != holder || tokenId != sold) wrongHolder = true;
    }

    function _permit(uint256 who) private view returns (ILicenseSale.PermitSignature memory permit) {
        permit.deadline = block.timestamp;
        bytes32 digest = _digests.permitDigest(people[who % 3], PRICE, permit.deadline);
        (permit.v, permit.r, permit.s) = vm.sign(_keys[who % 3], digest);
    }

    function buy(uint256 who, uint256 recipient, bool byPermit, bool frontRun) external {
        address person = _earn(who, byPermit ? address(0) : address(_sale));
        address holder = people[recipient % 3];
        ILicenseSale.PermitSignature memory permit = _permit(who);
        if (byPermit && frontRun) {
            _usd.permit(person, address(_sale), PRICE, permit.deadline, permit.v, permit.r, permit.s);
        }
        vm.startPrank(person);
        uint256 tokenId = byPermit
            ? _sale.purchaseWithPermit(_planId, holder, PRICE, permit)
            : _sale.purchase(_planId, holder, PRICE);
        vm.stopPrank();
        _note(tokenId, holder);
    }

    function renew(uint256 who, uint256 which, bool byPermit) external {
        if (sold == 0) return;
        address person = _earn(who, byPermit ? address(0) : address(_sale));
        ILicenseSale.PermitSignature memory permit = _permit(who);
        vm.startPrank(person);
        if (byPermit) _sale.renewWithPermit(which % sold + 1, PRICE, permit);
        else _sale.renew(which % sold + 1, PRICE);
        vm.stopPrank();
        ++renewed;
    }

    function relay(uint256 who, uint256 recipient, bool byPermit2) external {
        address person = _earn(who, byPermit2 ? _permit2 : address(0));
        Purchases.PurchaseIntent memory intent = Purchases.PurchaseIntent({
            planId: _planId,
            recipient: people[recipient % 3],
            maxPrice: PRICE,
            deadline: uint64(block.timestamp) + 30 days,
            nonce: ++_nonce
        });
        bytes32 digest = byPermit2 ? _digests.permit2Digest(intent) : _digests.receiveDigest(person, PRICE, intent);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_keys[who % 3], digest);
        bytes memory signature = abi.encodePacked(r, s, v);
        uint256 tokenId = byPermit2
            ? _sale.purchaseWithPermit2(person, intent, signature)
            : _sale.purchaseWithAuthorization(person, intent, signature);
        _used.push(Used(person, byPermit2, intent, signature));
        _note(tokenId, people[recipient % 3]);
    }

    /// @dev The payer has the money and the approvals, so that nothing but the signature stands in the way.
    function replay(uint256 which, uint256 thief, bool change) external {
        if (_used.length == 0) return;
        Used memory used = _used[which % _used.length];
        _usd.mint(used.payer, PRICE);
        vm.prank(used.payer);
        _usd.approve(_permit2, type(uint256).max);
        if (change) used.intent.recipient = people[thief % 3];
        if (used.byPermit2) {
            try _sale.purchaseWithPermit2(used.payer, used.intent, used.signature) {
                replayed = true;
            } catch {}
        } else {
            try _sale.purchaseWithAuthorization(used.payer, used.intent, used.signature) {
                replayed = true;
            } catch {}
        }
    }

    function wait(uint32 seconds_) external {
        vm.warp(block.timestamp + seconds_ % 5 days);
    }
}
