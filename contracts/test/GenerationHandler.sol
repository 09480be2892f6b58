// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdCheats} from "forge-std/StdCheats.sol";
import {License} from "../src/License.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";

/// @notice Three holders of licences of a retiring generation, who take them into the next one and trade in both.
contract GenerationHandler is CommonBase, StdCheats {
    uint128 private constant PRICE = 5_000_000;

    License[2] public generations;
    LicenseSale private immutable _sale;
    TestUSD private immutable _usd;

    address[3] public people;
    uint256[] public ids;
    mapping(uint256 tokenId => address) public holderOf;
    mapping(uint256 tokenId => ILicense.Terms) private _terms;
    uint256 public migrated;

    constructor(License former, License latter, LicenseSale sale, TestUSD usd, uint256[] memory ids_) {
        generations = [former, latter];
        (_sale, _usd, ids) = (sale, usd, ids_);
        for (uint256 i = 0; i < 3; ++i) {
            people[i] = makeAddr(string.concat("holder ", vm.toString(i)));
            _usd.mint(people[i], type(uint128).max);
            vm.prank(people[i]);
            _usd.approve(address(sale), type(uint256).max);
        }
        for (uint256 i = 0; i < ids_.length; ++i) {
            _note(former, ids_[i]);
        }
    }

    function termsOf(uint256 tokenId) external view returns (ILicense.Terms memory) {
        return _terms[tokenId];
    }

    function count() external view returns (uint256) {
        return ids.length;
    }

    function _note(License where, uint256 tokenId) private {
        holderOf[tokenId] = where.ownerOf(tokenId);
        _terms[tokenId] = where.licenseOf(tokenId);
    }

    /// @dev The contract in which the model says that the licence is; the other one must not know it.
    function _pick(uint256 which, uint256 generation) private view returns (License, uint256) {
        return (generations[generation % 2], ids[which % ids.length]);
    }

    function migrate(uint256 which, uint256 generation) external {
        (License where, uint256 tokenId) = _pick(which, generation);
        vm.prank(holderOf[tokenId]);
        try where.migrate(tokenId) {
            ++migrated;
        } catch {}
    }

    function move(uint256 which, uint256 generation, uint256 to) external {
        (License where, uint256 tokenId) = _pick(which, generation);
        address from = holderOf[tokenId];
        // Nobody calls as the zero address, which ERC-721 takes for a mint.
        if (from == address(0)) return;
        vm.prank(from);
        try where.transferFrom(from, people[to % 3], tokenId) {
            holderOf[tokenId] = people[to % 3];
        } catch {}
    }

    function lock(uint256 which, uint256 generation, bool unlock) external {
        (License where, uint256 tokenId) = _pick(which, generation);
        vm.prank(holderOf[tokenId]);
        if (unlock) try where.unlockToken(address(where), tokenId) {} catch {} else try where.lock(tokenId) {} catch {}
    }

    function burn(uint256 which, uint256 generation) external {
        (License where, uint256 tokenId) = _pick(which, generation);
        vm.prank(holderOf[tokenId]);
        try where.burn(tokenId) {
            delete holderOf[tokenId];
            delete _terms[tokenId];
        } catch {}
    }

    function buy(uint256 who) external {
        vm.prank(people[who % 3]);
        uint256 tokenId = _sale.purchase(1, people[who % 3], PRICE);
        ids.push(tokenId);
        _note(generations[1], tokenId);
    }

    function renew(uint256 who, uint256 which) external {
        uint256 tokenId = ids[which % ids.length];
        vm.prank(people[who % 3]);
        try _sale.renew(tokenId, PRICE) {
            _note(generations[1], tokenId);
        } catch {}
    }

    function wait(uint32 seconds_) external {
        vm.warp(block.timestamp + seconds_ % 5 days);
    }
}
