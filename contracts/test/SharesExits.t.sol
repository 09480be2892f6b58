// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {SharesBase} from "./SharesBase.sol";

/// @notice Nobody can close the exits of shares: neither a role, nor the gate, nor the asset's timelock.
contract SharesExitsTest is SharesBase {
    /// @dev Every state-changing function of the clones; a new one fails until it is entered here.
    string[] private _exits = [
        "Shares.collect(address,address)",
        "Shares.claim(address)",
        "Shares.claimTo(address,address)",
        "Shares.endDelegation(address)",
        "AssetTimelock.bind()",
        "AssetGovernor.queue(address[],uint256[],bytes[],bytes32)",
        "AssetGovernor.execute(address[],uint256[],bytes[],bytes32)",
        "AssetTimelock.execute(address,uint256,bytes,bytes32,bytes32)",
        "AssetTimelock.executeBatch(address[],uint256[],bytes[],bytes32,bytes32)"
    ];
    /// @dev What a holder does with shares; the gate that was named at creation is asked.
    string[] private _holders = [
        "Shares.transfer(address,uint256)",
        "Shares.transferFrom(address,address,uint256)",
        "Shares.approve(address,uint256)",
        "Shares.permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
        "Shares.delegate(address)",
        "AssetGovernor.propose(address[],uint256[],bytes[],string)",
        "AssetGovernor.cancel(address[],uint256[],bytes[],bytes32)",
        "AssetGovernor.castVote(uint256,uint8)",
        "AssetGovernor.castVoteWithReason(uint256,uint8,string)",
        "AssetGovernor.castVoteWithReasonAndParams(uint256,uint8,string,bytes)",
        "AssetGovernor.castVoteBySig(uint256,uint8,address,bytes)",
        "AssetGovernor.castVoteWithReasonAndParamsBySig(uint256,uint8,address,string,bytes,bytes)",
        "Shares.delegateBySig(address,uint256,uint256,uint8,bytes32,bytes32)"
    ];
    /// @dev For the factory once, the timelock, the gate, or a role of the timelock's.
    string[] private _others = [
        "Shares.initialize((string,string,address,bool,address[],address[],(address,uint128,uint40,uint40,uint40)[]),bytes32,address)",
        "Shares.grant((address,uint128,uint40,uint40,uint40))",
        "Shares.addCurrency(address)",
        "Shares.forcedTransfer(address,address,uint256)",
        "Shares.setFrozenTokens(address,uint256)",
        "AssetGovernor.initialize((uint48,uint32,uint256,uint256),address,address)",
        "AssetGovernor.setVotingDelay(uint48)",
        "AssetGovernor.setVotingPeriod(uint32)",
        "AssetGovernor.setProposalThreshold(uint256)",
        "AssetGovernor.updateQuorumNumerator(uint256)",
        "AssetGovernor.updateTimelock(address)",
        "AssetGovernor.relay(address,uint256,bytes)",
        "AssetGovernor.onERC721Received(address,address,uint256,bytes)",
        "AssetGovernor.onERC1155Received(address,address,uint256,uint256,bytes)",
        "AssetGovernor.onERC1155BatchReceived(address,address,uint256[],uint256[],bytes)",
        "AssetTimelock.initialize((bytes32,address,address,address,uint256))",
        "AssetTimelock.initialize(uint256,address[],address[],address)",
        "AssetTimelock.activateVersion(bytes32)",
        "AssetTimelock.closePlan(address,uint256)",
        "AssetTimelock.schedule(address,uint256,bytes,bytes32,bytes32,uint256)",
        "AssetTimelock.scheduleBatch(address[],uint256[],bytes[],bytes32,bytes32,uint256)",
        "AssetTimelock.cancel(bytes32)",
        "AssetTimelock.updateDelay(uint256)",
        "AssetTimelock.grantRole(bytes32,address)",
        "AssetTimelock.revokeRole(bytes32,address)",
        "AssetTimelock.renounceRole(bytes32,address)",
        "AssetTimelock.onERC721Received(address,address,uint256,bytes)",
        "AssetTimelock.onERC1155Received(address,address,uint256,uint256,bytes)",
        "AssetTimelock.onERC1155BatchReceived(address,address,uint256[],uint256[],bytes)"
    ];

    function _isIn(string[] storage list, string memory name) private view returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (keccak256(bytes(list[i])) == keccak256(bytes(name))) return true;
        }
        return false;
    }

    /// @dev Names that are view or pure; none of them is overloaded by one that is not.
    function _views(string memory json) private view returns (string memory names) {
        names = ",";
        for (uint256 i = 0; vm.keyExistsJson(json, string.concat(".abi[", vm.toString(i), "]")); ++i) {
            string memory at = string.concat(".abi[", vm.toString(i), "]");
            if (!vm.keyExistsJson(json, string.concat(at, ".stateMutability"))) continue;
            if (!vm.keyExistsJson(json, string.concat(at, ".name"))) continue;
            bytes32 kind = keccak256(bytes(vm.parseJsonString(json, string.concat(at, ".stateMutability"))));
            if (kind != keccak256("view") && kind != keccak256("pure")) continue;
            names = string.concat(names, vm.parseJsonString(json, string.concat(at, ".name")), ",");
        }
    }

    function test_everyFunctionIsKnown() external {
        string[3] memory names = ["Shares", "AssetTimelock", "AssetGovernor"];
        uint256 known;
        for (uint256 c = 0; c < names.length; ++c) {
            string memory json = vm.readFile(string.concat("out/", names[c], ".sol/", names[c], ".json"));
            string memory views = _views(json);
            string[] memory signatures = vm.parseJsonKeys(json, ".methodIdentifiers");
            for (uint256 i = 0; i < signatures.length; ++i) {
                string memory head = string.concat(",", vm.split(signatures[i], "(")[0], ",");
                if (vm.contains(views, head)) continue;
                string memory full = string.concat(names[c], ".", signatures[i]);
                assertTrue(_isIn(_exits, full) || _isIn(_holders, full) || _isIn(_others, full), full);
                ++known;
            }
        }
        assertEq(known, _exits.length + _holders.length + _others.length);
    }

    function test_exitsStayOpenWhenEverythingIsClosed() external {
        ISharesFactory.Order memory order = _another("acme/gated");
        order.shares.gate = address(gate);
        _fractionalise(order);
        _earn(900);
        gate.bar(alice, true);
        gate.freeze(shares, alice, type(uint256).max);
        bytes memory data = abi.encodeCall(registry.setApprovalForAll, (steward, true));
        vm.prank(steward);
        assetTimelock.schedule(address(registry), 0, data, 0, 0, EXIT_DELAY);
        address[3] memory targets = [address(sharesFactory), address(router), address(registry)];
        for (uint256 i = 0; i < 3; ++i) {
            _advance(targets[i], IDirectory.Status.Retiring);
            _advance(targets[i], IDirectory.Status.Retired);
            manager.setTargetClosed(targets[i], true);
        }
        manager.setTargetClosed(address(directory), true);

        vm.startPrank(stranger);
        router.distribute(assetId, address(usd));
        shares.collect(address(router), address(usd));
        skip(1);
        vm.stopPrank();
        vm.prank(alice);
        assertEq(shares.claimTo(address(usd), bob), 600);
        assertEq(_claim(bob), 300);
        skip(EXIT_DELAY);
        vm.prank(stranger);
        assetTimelock.execute(address(registry), 0, data, 0, 0);
        assertTrue(registry.isApprovedForAll(address(assetTimelock), steward));
    }
}
