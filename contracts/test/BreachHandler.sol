// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdCheats} from "forge-std/StdCheats.sol";
import {BreachBook} from "../src/BreachBook.sol";
import {License} from "../src/License.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {TestUSD} from "../src/TestUSD.sol";

/// @notice Three holders and a publisher who announces, retracts and revokes in any order.
contract BreachHandler is CommonBase, StdCheats {
    uint128 private constant PRICE = 5_000_000;
    uint64 private constant NOTICE = 7 days;
    bytes32 private constant EVIDENCE = keccak256("evidence");

    License private immutable _license;
    LicenseSale private immutable _sale;
    BreachBook private immutable _book;
    TestUSD private immutable _usd;
    address private immutable _publisher;
    uint256 private immutable _planId;

    address[3] public people;
    uint256 private _count;
    mapping(uint256 tokenId => uint256) private _announcedAt;
    uint256 public refunded;
    uint256 public claimed;
    uint256 public revoked;
    bool public lowered;
    bool public tooEarly;
    bool public revived;

    constructor(License license, LicenseSale sale, BreachBook book, TestUSD usd, address publisher, uint256 planId) {
        (_license, _sale, _book, _usd, _publisher, _planId) = (license, sale, book, usd, publisher, planId);
        for (uint256 i = 0; i < 3; ++i) {
            people[i] = makeAddr(string.concat("person ", vm.toString(i)));
        }
    }

    /// @dev Whatever is done, no refund of somebody else becomes less.
    modifier lowersNothing(address actor) {
        uint256[3] memory before;
        for (uint256 i = 0; i < 3; ++i) {
            before[i] = _book.claimableOf(people[i], address(_usd));
        }
        _;
        for (uint256 i = 0; i < 3; ++i) {
            if (people[i] != actor && _book.claimableOf(people[i], address(_usd)) < before[i]) lowered = true;
        }
    }

    function _pick(uint256 seed) private view returns (uint256) {
        return _count == 0 ? 0 : seed % _count + 1;
    }

    function _earn(address person, address spender, uint256 amount) private {
        _usd.mint(person, amount);
        vm.prank(person);
        _usd.approve(spender, amount);
    }

    function buy(uint256 who) external lowersNothing(address(0)) {
        address person = people[who % 3];
        _earn(person, address(_sale), PRICE);
        vm.prank(person);
        _count = _sale.purchase(_planId, person, PRICE);
    }

    function renew(uint256 seed) external lowersNothing(address(0)) {
        uint256 tokenId = _pick(seed);
        if (tokenId == 0) return;
        _earn(people[0], address(_sale), PRICE);
        bool isRevoked = _license.isRevoked(tokenId);
        vm.prank(people[0]);
        try _sale.renew(tokenId, PRICE) {
            if (isRevoked) revived = true;
        } catch {
            if (!isRevoked) revived = true;
        }
    }

    function transfer(uint256 seed, uint256 to) external lowersNothing(address(0)) {
        uint256 tokenId = _pick(seed);
        if (tokenId == 0) return;
        address holder = _license.ownerOf(tokenId);
        bool isRevoked = _license.isRevoked(tokenId);
        vm.prank(holder);
        try _license.transferFrom(holder, people[to % 3], tokenId) {
            if (isRevoked) revived = true;
        } catch {
            if (!isRevoked) revived = true;
        }
    }

    function announce(uint256 seed) external lowersNothing(address(0)) {
        uint256 tokenId = _pick(seed);
        if (tokenId == 0 || !_license.isUsable(tokenId) || _book.announcedFor(tokenId) != 0) return;
        vm.prank(_publisher);
        _book.announce(tokenId, EVIDENCE);
        _announcedAt[tokenId] = block.timestamp;
    }

    function retract(uint256 seed) external lowersNothing(address(0)) {
        uint256 tokenId = _pick(seed);
        if (tokenId == 0 || _book.announcedFor(tokenId) == 0) return;
        vm.prank(_publisher);
        _book.retract(tokenId);
        delete _announcedAt[tokenId];
    }

    function revoke(uint256 seed) external lowersNothing(address(0)) {
        uint256 tokenId = _pick(seed);
        if (tokenId == 0) return;
        uint256 refund = _book.refundOf(tokenId);
        _earn(_publisher, address(_book), refund);
        uint256 at = _announcedAt[tokenId];
        vm.prank(_publisher);
        try _book.revoke(tokenId, refund) {
            refunded += refund;
            ++revoked;
            if (at == 0 || block.timestamp < at + NOTICE || _license.isUsable(tokenId)) tooEarly = true;
            delete _announcedAt[tokenId];
        } catch {}
    }

    function claim(uint256 who) external lowersNothing(people[who % 3]) {
        address person = people[who % 3];
        if (_book.claimableOf(person, address(_usd)) == 0) return;
        vm.prank(person);
        claimed += _book.claim(address(_usd));
    }

    function wait(uint32 time) external {
        skip(time % 10 days);
    }
}
