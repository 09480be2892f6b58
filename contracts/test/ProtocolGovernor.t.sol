// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {GovernorTimelockAccess} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockAccess.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {IComplianceGate} from "../src/interfaces/IComplianceGate.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {INetworkToken} from "../src/interfaces/INetworkToken.sol";
import {IProtocolGovernor} from "../src/interfaces/IProtocolGovernor.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Roles} from "../src/libraries/Roles.sol";
import {GovernorBase} from "./GovernorBase.sol";
import {FlashLender, IBorrower} from "./mocks/FlashLender.sol";

contract ProtocolGovernorTest is GovernorBase, IBorrower {
    /// @dev From a proposal to its execution; every step that comes too early is refused.
    function _pass(address target, bytes memory call) private {
        uint256 proposal = _propose(alice, target, call);
        vm.expectRevert();
        governor.castVote(proposal, 1);
        skip(governor.votingDelay() + 1);
        _vote(alice, proposal, 1);
        vm.expectRevert();
        _queue();
        skip(governor.votingPeriod());
        vm.expectRevert();
        _execute();
        _queue();
        skip(EXIT_DELAY - 1);
        vm.expectRevert();
        _execute();
        skip(1);
        vm.prank(stranger);
        _execute();
        assertEq(uint8(_state(proposal)), uint8(IGovernor.ProposalState.Executed));
    }

    function test_constructor_StatesTheDistribution() external {
        assertEq(token.totalSupply(), token.SUPPLY());
        assertEq(token.balanceOf(carol), CAROLS);
        assertEq(token.CLOCK_MODE(), "mode=timestamp");
        (address[] memory accounts, uint256[] memory amounts) = _distribution();
        amounts[0] -= 1;
        _expectNoToken(accounts, amounts, token.SUPPLY() - 1);
        amounts[0] += 2;
        _expectNoToken(accounts, amounts, token.SUPPLY() + 1);
        (amounts[0], amounts[2]) = (ALICES + CAROLS, 0);
        _expectNoToken(accounts, amounts, token.SUPPLY());
        _expectNoToken(new address[](1), amounts, 0);
    }

    function _expectNoToken(address[] memory accounts, uint256[] memory amounts, uint256 total) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                INetworkToken.NetworkToken_InvalidDistribution.selector, accounts.length, amounts.length, total
            )
        );
        new NetworkToken(accounts, amounts);
    }

    function test_vote_ChangesTheFee() external {
        _pass(address(router), abi.encodeCall(IRevenueRouter.setFee, (300)));
        assertEq(router.feeBp(), 100);
        skip(14 days);
        assertEq(router.feeBp(), 300);
    }

    function test_vote_PausesAnEntry() external {
        uint64 until = uint64(block.timestamp) + 20 days;
        _pass(address(directory), abi.encodeCall(IDirectory.pauseEntry, (address(sale), until)));
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_EntryPaused.selector, address(sale), until));
        directory.requireActive(address(sale));
    }

    function test_vote_BoundsTheCredentialsOfTheGate() external {
        _pass(address(complianceGate), abi.encodeCall(IComplianceGate.setLongestTerm, (90 days)));
        assertEq(complianceGate.longestTerm(), 90 days);
    }

    function test_vote_RaisesNoFeeAboveTheCeiling() external {
        _decide(address(router), abi.encodeCall(IRevenueRouter.setFee, (501)));
        vm.expectRevert(abi.encodeWithSelector(IRevenueRouter.RevenueRouter_FeeAboveCeiling.selector, 501, 500));
        _execute();
    }

    function test_vote_FailsWithoutQuorumOrMajority() external {
        vm.prank(alice);
        token.transfer(makeAddr("nobody"), ALICES);
        vm.prank(bob);
        token.transfer(makeAddr("nobody"), BOBS - 39_000_000e18);
        skip(1);
        uint256 proposal = _propose(bob, address(router), abi.encodeCall(IRevenueRouter.setFee, (0)));
        skip(governor.votingDelay() + 1);
        assertEq(governor.quorum(block.timestamp - 1), 40_000_000e18);
        _vote(bob, proposal, 1);
        _vote(carol, proposal, 1);
        skip(governor.votingPeriod());
        assertEq(uint8(_state(proposal)), uint8(IGovernor.ProposalState.Defeated));
        vm.expectRevert();
        _queue();
    }

    function test_thresholdBypass() external {
        bytes memory call = abi.encodeCall(IRevenueRouter.setFee, (0));
        bytes memory error = abi.encodeWithSelector(
            IGovernor.GovernorInsufficientProposerVotes.selector, carol, CAROLS, governor.proposalThreshold()
        );
        (targets[0], data[0]) = (address(router), call);
        vm.expectRevert(error);
        vm.prank(carol);
        governor.propose(targets, values, data, "");
        // Delegated to her in the same second, it does not count yet.
        vm.prank(bob);
        token.delegate(carol);
        vm.expectRevert(error);
        vm.prank(carol);
        governor.propose(targets, values, data, "");
        skip(1);
        _propose(carol, address(router), call);
    }

    /// @dev Called by the lender: the borrower has 60 % of all votes here, for one transaction.
    function onLoan(uint256) external {
        token.delegate(address(this));
        token.approve(msg.sender, type(uint256).max);
        uint256 least = governor.proposalThreshold();
        vm.expectRevert(
            abi.encodeWithSelector(IGovernor.GovernorInsufficientProposerVotes.selector, address(this), 0, least)
        );
        governor.propose(targets, values, data, "borrowed");
        uint256 open = governor.hashProposal(targets, values, data, keccak256(""));
        assertEq(governor.castVote(open, 1), 0);
    }

    function test_flashLoanedVotesNeitherProposeNorDecide() external {
        _propose(bob, address(router), abi.encodeCall(IRevenueRouter.setFee, (0)));
        FlashLender lender = new FlashLender(address(token));
        vm.prank(alice);
        token.transfer(address(lender), ALICES);
        skip(governor.votingDelay() + 1);
        lender.lend(ALICES, address(this));
        (, uint256 votes,) = governor.proposalVotes(governor.hashProposal(targets, values, data, keccak256("")));
        assertEq(votes, 0);
    }

    /// @dev Whoever is asleep when something is proposed has a day to wake up.
    function test_votesGatheredWithinADayCount() external {
        vm.prank(alice);
        token.delegate(address(0));
        skip(1);
        uint256 proposal = _propose(bob, address(router), abi.encodeCall(IRevenueRouter.setFee, (0)));
        skip(1 days - 1);
        vm.prank(alice);
        token.delegate(alice);
        skip(2);
        vm.prank(alice);
        assertEq(governor.castVote(proposal, 0), ALICES);
    }

    function test_votesBoughtAfterTheNoticeDoNotCount() external {
        uint256 proposal = _propose(bob, address(router), abi.encodeCall(IRevenueRouter.setFee, (0)));
        skip(1 days + 1);
        vm.prank(alice);
        token.transfer(stranger, ALICES);
        vm.startPrank(stranger);
        token.delegate(stranger);
        assertEq(governor.castVote(proposal, 1), 0);
        vm.stopPrank();
    }

    /// @dev Everything else that roles can do stays out of reach, exits and their delay first of all.
    function test_decisionBeyondItsPowersDoesNothing() external {
        bytes32 deposit = _deposit(payer, 1000);
        address self = address(governor);
        _expectPowerless(
            address(directory), abi.encodeCall(IDirectory.advance, (address(escrow), IDirectory.Status.Retiring))
        );
        _expectPowerless(address(directory), abi.encodeCall(IDirectory.list, ("UsageEscrow", address(usd))));
        _expectPowerless(address(escrow), abi.encodeCall(IUsageEscrow.setExitDelay, (14 days)));
        _expectPowerless(address(escrow), abi.encodeCall(IUsageEscrow.requestExit, (deposit, 1000)));
        _expectPowerless(address(manager), abi.encodeCall(IAccessManager.setTargetClosed, (address(escrow), true)));
        _expectPowerless(address(manager), abi.encodeCall(IAccessManager.grantRole, (Roles.PARAMETER, self, 0)));
        _expectPowerless(address(manager), abi.encodeCall(IAccessManager.grantRole, (Roles.PROTOCOL, self, 0)));
        _expectPowerless(address(manager), abi.encodeCall(IAccessManager.setGrantDelay, (Roles.PROTOCOL, 0)));
        _expectPowerless(address(token), abi.encodeCall(token.transferFrom, (bob, alice, 1)));
        assertEq(uint8(directory.statusOf(address(escrow))), uint8(IDirectory.Status.Active));
        assertEq(escrow.exitDelay(), EXIT_DELAY);
    }

    function _expectPowerless(address target, bytes memory call) private {
        _decide(target, call);
        vm.expectRevert();
        _execute();
    }

    function test_nobodyGoesAroundTheVote() external {
        bytes memory call = abi.encodeCall(IRevenueRouter.setFee, (0));
        address[3] memory callers = [alice, stranger, address(governor)];
        for (uint256 i = 0; i < 3; ++i) {
            vm.startPrank(callers[i]);
            vm.expectRevert();
            router.setFee(0);
            vm.expectRevert();
            manager.execute(address(router), call);
            vm.stopPrank();
        }
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessManager.AccessManagerUnauthorizedCall.selector, alice, address(router), router.setFee.selector
            )
        );
        vm.prank(alice);
        manager.schedule(address(router), call, 0);
    }

    /// @dev A vote tells the governor to leave the manager's delay out; the manager holds it all the same.
    function test_timelockBypass() external {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = IRevenueRouter.setFee.selector;
        _decide(
            address(governor),
            abi.encodeCall(GovernorTimelockAccess.setAccessManagerIgnored, (address(router), selectors, true))
        );
        _execute();
        uint256 proposal = _decide(address(router), abi.encodeCall(IRevenueRouter.setFee, (0)));
        vm.expectRevert();
        _execute();
        assertEq(uint8(_state(proposal)), uint8(IGovernor.ProposalState.Queued));
    }

    function test_delayIsNeverShort() external {
        _decide(address(governor), abi.encodeCall(GovernorTimelockAccess.setBaseDelaySeconds, (72 hours - 1)));
        vm.expectRevert(
            abi.encodeWithSelector(IProtocolGovernor.ProtocolGovernor_DelayTooShort.selector, 72 hours - 1, 72 hours)
        );
        _execute();
    }

    /// @dev What waits in the manager may be stopped by the admin, and only by it.
    function test_adminStopsADecisionThatWaits() external {
        bytes memory call = abi.encodeCall(IRevenueRouter.setFee, (500));
        _decide(address(router), call);
        vm.expectRevert();
        vm.prank(stranger);
        manager.cancel(address(governor), address(router), call);
        manager.cancel(address(governor), address(router), call);
        vm.expectRevert();
        _execute();
    }

    function test_proposerTakesAProposalBack() external {
        uint256 proposal = _propose(bob, address(router), abi.encodeCall(IRevenueRouter.setFee, (0)));
        vm.expectRevert();
        vm.prank(alice);
        governor.cancel(targets, values, data, keccak256(""));
        vm.prank(bob);
        governor.cancel(targets, values, data, keccak256(""));
        assertEq(uint8(_state(proposal)), uint8(IGovernor.ProposalState.Canceled));
    }

    function test_permit_AllowsBySignatureOnce() external {
        (address signer, uint256 key) = makeAddrAndKey("signer");
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                signer,
                bob,
                7,
                token.nonces(signer),
                block.timestamp
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
        token.permit(signer, bob, 7, block.timestamp, v, r, s);
        assertEq(token.allowance(signer, bob), 7);
        assertEq(token.nonces(signer), 1);
        vm.expectRevert();
        token.permit(signer, bob, 7, block.timestamp, v, r, s);
    }

    function test_aDecisionLapses() external {
        _decide(address(router), abi.encodeCall(IRevenueRouter.setFee, (500)));
        skip(manager.expiration());
        vm.expectRevert();
        _execute();
    }

    function test_powersAreExactlyThose() external view {
        _assertPower(address(router), IRevenueRouter.setFee.selector, true);
        _assertPower(address(directory), IDirectory.pauseEntry.selector, true);
        _assertPower(address(directory), IDirectory.list.selector, false);
        _assertPower(address(directory), IDirectory.advance.selector, false);
        _assertPower(address(escrow), IUsageEscrow.setExitDelay.selector, false);
        assertEq(governor.MIN_DELAY(), EXIT_DELAY);
    }

    function _assertPower(address target, bytes4 selector, bool has) private view {
        (bool immediate, uint32 delay) = manager.canCall(address(governor), target, selector);
        assertFalse(immediate);
        assertEq(delay, has ? uint32(EXIT_DELAY) : 0);
    }
}
