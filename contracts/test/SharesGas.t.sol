// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {SharesBase} from "./SharesBase.sol";

/// @notice What shares cost, as transactions of their own; kept in snapshots/.
/// forge-config: default.isolate = true
contract SharesGasTest is SharesBase {
    uint256 private constant TRANSFER = 75_000;
    uint256 private constant TRANSFER_WITH_VOTES = 150_000;
    uint256 private constant CLAIM = 90_000;

    function _last(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall("shares", name);
    }

    function test_gas_transfer() external {
        _move(alice, bob, 1e18);
        assertLt(_last("Shares.transfer"), TRANSFER);
        _share(900);
        _move(alice, bob, 1e18);
        assertLt(_last("Shares.transfer first after revenue"), TRANSFER);
        _move(alice, carol, 1e18);
        _last("Shares.transfer to a new holder");
        _earn(900);
        router.distribute(assetId, address(usd));
        shares.collect(address(router), address(usd));
        _last("Shares.collect");
        skip(1);
        vm.prank(alice);
        shares.claim(address(usd));
        assertLt(_last("Shares.claim"), CLAIM);
    }

    function test_gas_transferWithVotes() external {
        ISharesFactory.Order memory order = _voting(_another("acme/votes"));
        _fractionalise(order);
        _move(alice, bob, 1e18);
        assertLt(_last("Shares.transfer undelegated"), TRANSFER);
        vm.prank(alice);
        shares.delegate(alice);
        _last("Shares.delegate");
        vm.prank(bob);
        shares.delegate(bob);
        skip(1);
        _share(900);
        _move(alice, bob, 1e18);
        assertLt(_last("Shares.transfer both delegated, first after revenue"), TRANSFER_WITH_VOTES);
    }

    function test_gas_fractionalise() external {
        ISharesFactory.Order memory order = _voting(_another("acme/votes"));
        uint256 tokenId = registry.tokenIdOf(order.assetId);
        vm.startPrank(publisher);
        registry.approve(address(sharesFactory), tokenId);
        sharesFactory.fractionalise(order);
        _last("SharesFactory.fractionalise");
        vm.stopPrank();
    }
}
