// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {ProtocolGovernor} from "../src/ProtocolGovernor.sol";
import {Roles} from "../src/libraries/Roles.sol";
import {Base} from "./Base.sol";

/// @notice alice has 60 % of the network token and bob 39.95 %, both delegated; carol has half of a proposer's threshold.
abstract contract GovernorBase is Base {
    uint256 internal constant CAROLS = 500_000e18;
    uint256 internal constant ALICES = 600_000_000e18;
    uint256 internal constant BOBS = 399_500_000e18;

    address internal alice = makeAddr("alice");
    address internal bob = makeAddr("bob");
    address internal carol = makeAddr("carol");

    NetworkToken internal token;
    ProtocolGovernor internal governor;

    address[] internal targets = new address[](1);
    uint256[] internal values = new uint256[](1);
    bytes[] internal data = new bytes[](1);

    function setUp() public virtual override {
        super.setUp();
        (address[] memory accounts, uint256[] memory amounts) = _distribution();
        token = new NetworkToken(accounts, amounts);
        governor = new ProtocolGovernor(token, address(manager));
        manager.grantRole(Roles.PROTOCOL, address(governor), uint32(EXIT_DELAY));
        manager.revokeRole(Roles.PROTOCOL, address(this));
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(accounts[i]);
            token.delegate(accounts[i]);
        }
        skip(1);
    }

    function _distribution() internal view returns (address[] memory accounts, uint256[] memory amounts) {
        accounts = new address[](3);
        amounts = new uint256[](3);
        (accounts[0], accounts[1], accounts[2]) = (alice, bob, carol);
        (amounts[0], amounts[1], amounts[2]) = (ALICES, BOBS, CAROLS);
    }

    function _propose(address by, address target, bytes memory call) internal returns (uint256 proposal) {
        (targets[0], data[0]) = (target, call);
        vm.prank(by);
        proposal = governor.propose(targets, values, data, "");
    }

    function _vote(address by, uint256 proposal, uint8 support) internal {
        vm.prank(by);
        governor.castVote(proposal, support);
    }

    function _queue() internal {
        governor.queue(targets, values, data, keccak256(""));
    }

    function _execute() internal {
        governor.execute(targets, values, data, keccak256(""));
    }

    /// @dev Decided by alice, queued, and its wait over.
    function _decide(address target, bytes memory call) internal returns (uint256 proposal) {
        proposal = _propose(alice, target, call);
        skip(governor.votingDelay() + 1);
        _vote(alice, proposal, 1);
        skip(governor.votingPeriod());
        _queue();
        skip(EXIT_DELAY);
    }

    function _state(uint256 proposal) internal view returns (IGovernor.ProposalState) {
        return governor.state(proposal);
    }
}
