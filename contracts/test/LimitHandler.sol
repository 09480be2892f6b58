// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdCheats} from "forge-std/StdCheats.sol";
import {License} from "../src/License.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {TestUSD} from "../src/TestUSD.sol";

/// @notice Three people who take all they can get of a plan that limits what it sells.
contract LimitHandler is CommonBase, StdCheats {
    uint128 private constant PRICE = 5_000_000;

    License private immutable _license;
    LicenseSale private immutable _sale;
    TestUSD private immutable _usd;
    uint256 private immutable _planId;

    address[3] public people;
    uint256[] private _tokens;
    uint256 public paidLicenses;
    mapping(address person => uint256) public received;
    mapping(address person => uint256) public trials;
    mapping(uint256 tokenId => bool) private _unpaid;

    constructor(License license, LicenseSale sale, TestUSD usd, uint256 planId) {
        (_license, _sale, _usd, _planId) = (license, sale, usd, planId);
        for (uint256 i = 0; i < 3; ++i) {
            people[i] = makeAddr(string.concat("limited ", vm.toString(i)));
            _usd.mint(people[i], type(uint128).max);
            vm.prank(people[i]);
            _usd.approve(address(sale), type(uint256).max);
        }
    }

    function buy(uint256 who, uint256 recipient) external {
        address holder = people[recipient % 3];
        vm.prank(people[who % 3]);
        try _sale.purchase(_planId, holder, PRICE) returns (uint256 tokenId) {
            _tokens.push(tokenId);
            ++received[holder];
            ++paidLicenses;
        } catch {}
    }

    function tryOut(uint256 who) external {
        address holder = people[who % 3];
        vm.prank(holder);
        try _sale.startTrial(_planId) returns (uint256 tokenId) {
            _tokens.push(tokenId);
            _unpaid[tokenId] = true;
            ++received[holder];
            ++trials[holder];
        } catch {}
    }

    function renew(uint256 who, uint256 which) external {
        if (_tokens.length == 0) return;
        uint256 tokenId = _tokens[which % _tokens.length];
        vm.prank(people[who % 3]);
        try _sale.renew(tokenId, PRICE) {
            if (_unpaid[tokenId]) ++paidLicenses;
            delete _unpaid[tokenId];
        } catch {}
    }

    function move(uint256 which, uint256 to) external {
        if (_tokens.length == 0) return;
        uint256 tokenId = _tokens[which % _tokens.length];
        try _license.ownerOf(tokenId) returns (address holder) {
            vm.prank(holder);
            _license.transferFrom(holder, people[to % 3], tokenId);
        } catch {}
    }

    function burn(uint256 which) external {
        if (_tokens.length == 0) return;
        uint256 tokenId = _tokens[which % _tokens.length];
        try _license.ownerOf(tokenId) returns (address holder) {
            vm.prank(holder);
            _license.burn(tokenId);
        } catch {}
    }

    function wait(uint32 seconds_) external {
        vm.warp(block.timestamp + seconds_ % 5 days);
    }
}
