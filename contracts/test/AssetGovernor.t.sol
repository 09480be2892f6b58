// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {AssetGovernor} from "../src/AssetGovernor.sol";
import {IAssetGovernor} from "../src/interfaces/IAssetGovernor.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {SharesBase} from "./SharesBase.sol";

/// @notice alice has 60 % of the votes, bob 30 %, and the treasury 10 % that nobody casts.
contract AssetGovernorTest is SharesBase {
    uint48 private constant DELAY = 1 days;

    address[] private _targets = new address[](1);
    uint256[] private _values = new uint256[](1);
    bytes[] private _data = new bytes[](1);

    function setUp() public override {
        super.setUp();
        _fractionalise(_voting(_another("acme/votes")));
        vm.prank(alice);
        shares.delegate(alice);
        vm.prank(bob);
        shares.delegate(bob);
        skip(1);
    }

    function _propose(address by, address target, bytes memory data) private returns (uint256 proposal) {
        (_targets[0], _data[0]) = (target, data);
        vm.prank(by);
        proposal = governor.propose(_targets, _values, _data, "");
    }

    function _vote(address by, uint256 proposal, uint8 support) private {
        vm.prank(by);
        governor.castVote(proposal, support);
    }

    function _state(uint256 proposal) private view returns (IGovernor.ProposalState) {
        return governor.state(proposal);
    }

    /// @dev From a proposal to its execution; every step that comes too early is refused.
    function _pass(address target, bytes memory data) private {
        uint256 proposal = _propose(alice, target, data);
        vm.expectRevert();
        governor.castVote(proposal, 1);
        skip(DELAY + 1);
        _vote(alice, proposal, 1);
        vm.expectRevert();
        governor.queue(_targets, _values, _data, keccak256(""));
        skip(EXIT_DELAY);
        governor.queue(_targets, _values, _data, keccak256(""));
        vm.expectRevert();
        governor.execute(_targets, _values, _data, keccak256(""));
        skip(EXIT_DELAY - 1);
        vm.expectRevert();
        governor.execute(_targets, _values, _data, keccak256(""));
        skip(1);
        vm.prank(stranger);
        governor.execute(_targets, _values, _data, keccak256(""));
        assertEq(uint8(_state(proposal)), uint8(IGovernor.ProposalState.Executed));
    }

    function test_initialize_LeavesTheTimelockToTheGovernor() external view {
        assertEq(address(governor), sharesFactory.partsOf(assetId).governor);
        assertTrue(assetTimelock.hasRole(assetTimelock.PROPOSER_ROLE(), address(governor)));
        assertFalse(assetTimelock.hasRole(assetTimelock.PROPOSER_ROLE(), steward));
        assertFalse(assetTimelock.hasRole(assetTimelock.PROPOSER_ROLE(), publisher));
        assertEq(governor.timelock(), address(assetTimelock));
        assertEq(address(governor.token()), address(shares));
        assertEq(governor.quorum(block.timestamp - 1), 200e18);
        assertEq(governor.CLOCK_MODE(), "mode=timestamp");
        assertTrue(governor.proposalNeedsQueuing(0));
    }

    function test_vote_PublishesAVersionAndCreatesAPlan() external {
        bytes32 digest = keccak256("manifest");
        _pass(address(registry), abi.encodeCall(IAssetRegistry.publishVersion, (assetId, digest, "ipfs://v2")));
        vm.prank(operator);
        assetTimelock.activateVersion(digest);
        _pass(address(planBook), abi.encodeCall(planBook.createPlan, (_terms())));
        assertEq(planBook.termsOf(1).assetId, assetId);
        vm.prank(operator);
        assetTimelock.closePlan(address(planBook), 1);
    }

    function test_vote_MovesTheTreasury() external {
        _pass(address(shares), abi.encodeCall(shares.transfer, (carol, TREASURY)));
        assertEq(shares.balanceOf(carol), TREASURY);
    }

    function test_vote_ChangesWhoIsPaid() external {
        _pass(address(router), abi.encodeCall(IRevenueRouter.payTo, (carol)));
        _earn(900);
        router.distribute(assetId, address(usd));
        assertEq(router.claimableOf(carol, address(usd)), 900);
    }

    function test_vote_FailsWithoutQuorum() external {
        _move(bob, carol, BOBS - 199e18);
        skip(1);
        uint256 proposal = _propose(bob, address(shares), abi.encodeCall(shares.transfer, (bob, TREASURY)));
        skip(DELAY + 1);
        _vote(bob, proposal, 1);
        skip(EXIT_DELAY);
        assertEq(uint8(_state(proposal)), uint8(IGovernor.ProposalState.Defeated));
        vm.expectRevert();
        governor.queue(_targets, _values, _data, keccak256(""));
    }

    function test_vote_FailsAgainstAMajority() external {
        uint256 proposal = _propose(bob, address(shares), abi.encodeCall(shares.transfer, (bob, TREASURY)));
        skip(DELAY + 1);
        _vote(bob, proposal, 1);
        _vote(alice, proposal, 0);
        skip(EXIT_DELAY);
        assertEq(uint8(_state(proposal)), uint8(IGovernor.ProposalState.Defeated));
    }

    /// @dev Borrowed in the very second that counts, used and given back, all in one transaction.
    function test_flashLoanedVotesDoNotCount() external {
        uint256 proposal = _propose(bob, address(shares), abi.encodeCall(shares.transfer, (stranger, TREASURY)));
        vm.prank(stranger);
        shares.delegate(stranger);
        uint256 snapshot = governor.proposalSnapshot(proposal);
        for (uint256 at = snapshot; at < snapshot + 2; ++at) {
            vm.warp(at);
            _move(alice, stranger, ALICES);
            vm.prank(stranger);
            (bool voted,) = address(governor).call(abi.encodeCall(IGovernor.castVote, (proposal, 1)));
            assertEq(voted, at != snapshot);
            _move(stranger, alice, ALICES);
        }
        (, uint256 inFavour,) = governor.proposalVotes(proposal);
        assertEq(inFavour, 0);
        _vote(alice, proposal, 0);
        (uint256 against,,) = governor.proposalVotes(proposal);
        assertEq(against, ALICES);
    }

    function test_flashLoanedVotesDoNotPropose() external {
        vm.prank(stranger);
        shares.delegate(stranger);
        _move(alice, stranger, ALICES);
        (_targets[0], _data[0]) = (address(shares), "");
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInsufficientProposerVotes.selector, stranger, 0, 1e18));
        vm.prank(stranger);
        governor.propose(_targets, _values, _data, "");
    }

    function test_votesOfOneShareCountOnce() external {
        uint256 proposal = _propose(bob, address(shares), abi.encodeCall(shares.transfer, (bob, TREASURY)));
        vm.prank(carol);
        shares.delegate(carol);
        skip(DELAY + 1);
        _vote(bob, proposal, 1);
        _move(bob, carol, BOBS);
        _vote(carol, proposal, 1);
        (, uint256 inFavour,) = governor.proposalVotes(proposal);
        assertEq(inFavour, BOBS);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorAlreadyCastVote.selector, bob));
        _vote(bob, proposal, 1);
    }

    /// @dev Neither the governor nor the timelock obeys anyone but a vote that has waited.
    function test_nobodyGoesAroundTheVote() external {
        bytes memory data = abi.encodeCall(shares.transfer, (stranger, TREASURY));
        bytes32 role = assetTimelock.PROPOSER_ROLE();
        address[4] memory people = [publisher, operator, steward, alice];
        for (uint256 i = 0; i < 4; ++i) {
            vm.startPrank(people[i]);
            vm.expectRevert();
            assetTimelock.schedule(address(shares), 0, data, 0, 0, EXIT_DELAY);
            vm.expectRevert();
            assetTimelock.grantRole(role, people[i]);
            vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorOnlyExecutor.selector, people[i]));
            governor.relay(address(shares), 0, data);
            vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorOnlyExecutor.selector, people[i]));
            governor.updateQuorumNumerator(1);
            vm.stopPrank();
        }
        vm.expectRevert();
        assetTimelock.execute(address(shares), 0, data, 0, 0);
    }

    function _refused(IAssetGovernor.Ballot memory ballot, bytes memory reason) private {
        ISharesFactory.Order memory order = _voting(_order());
        order.ballot = ballot;
        vm.prank(publisher);
        vm.expectRevert(reason);
        sharesFactory.fractionalise(order);
    }

    function test_initialize_RevertWhen_TheBallotIsOutOfBounds() external {
        _another("acme/third");
        uint32 week = 7 days;
        _refused(
            IAssetGovernor.Ballot(0, week, 1, 20),
            abi.encodeWithSelector(IAssetGovernor.AssetGovernor_InvalidVotingDelay.selector, 0, 1, 30 days)
        );
        _refused(
            IAssetGovernor.Ballot(30 days + 1, week, 1, 20),
            abi.encodeWithSelector(IAssetGovernor.AssetGovernor_InvalidVotingDelay.selector, 30 days + 1, 1, 30 days)
        );
        uint256 least = EXIT_DELAY;
        bytes4 period = IAssetGovernor.AssetGovernor_InvalidVotingPeriod.selector;
        _refused(
            IAssetGovernor.Ballot(1, uint32(least - 1), 1, 20),
            abi.encodeWithSelector(period, least - 1, least, 30 days)
        );
        _refused(
            IAssetGovernor.Ballot(1, 30 days + 1, 1, 20), abi.encodeWithSelector(period, 30 days + 1, least, 30 days)
        );
        bytes4 threshold = IAssetGovernor.AssetGovernor_InvalidThreshold.selector;
        _refused(IAssetGovernor.Ballot(1, week, 0, 20), abi.encodeWithSelector(threshold, 0, 100e18));
        _refused(IAssetGovernor.Ballot(1, week, 100e18 + 1, 20), abi.encodeWithSelector(threshold, 100e18 + 1, 100e18));
        _refused(
            IAssetGovernor.Ballot(1, week, 1, 0),
            abi.encodeWithSelector(IAssetGovernor.AssetGovernor_InvalidQuorum.selector, 0, 1)
        );
        _advance(address(escrow), IDirectory.Status.Retiring);
        _refused(
            IAssetGovernor.Ballot(1, week, 1, 20),
            abi.encodeWithSelector(IAssetGovernor.AssetGovernor_NoEscrow.selector)
        );
    }

    function test_settings_AreVotedOnWithinTheirBounds() external {
        _pass(address(governor), abi.encodeCall(governor.setVotingPeriod, (7 days)));
        assertEq(governor.votingPeriod(), 7 days);
        vm.startPrank(address(assetTimelock));
        vm.expectRevert();
        governor.setVotingPeriod(1);
        vm.stopPrank();
    }

    function test_initialize_RevertWhen_CalledAgain() external {
        AssetGovernor code = new AssetGovernor(directory);
        AssetGovernor[2] memory targets = [governor, code];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(Initializable.InvalidInitialization.selector);
            vm.prank(stranger);
            targets[i].initialize(IAssetGovernor.Ballot(1, 7 days, 1, 1), address(shares), stranger);
        }
    }

    function testFuzz_vote_NeedsMoreForThanAgainstAndTheQuorum(uint96 forBob, bool bobFor, bool aliceVotes) external {
        uint256 bobs = bound(forBob, 1e18, BOBS);
        _move(bob, carol, BOBS - bobs);
        skip(1);
        uint256 proposal = _propose(bob, address(shares), abi.encodeCall(shares.transfer, (bob, 1)));
        skip(DELAY + 1);
        _vote(bob, proposal, bobFor ? 1 : 0);
        if (aliceVotes) _vote(alice, proposal, 2);
        skip(EXIT_DELAY);
        bool quorum = (bobFor ? bobs : 0) + (aliceVotes ? ALICES : 0) >= 200e18;
        bool passes = quorum && bobFor;
        IGovernor.ProposalState expected = passes ? IGovernor.ProposalState.Succeeded : IGovernor.ProposalState.Defeated;
        assertEq(uint8(_state(proposal)), uint8(expected));
    }
}
