// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IComplianceGate} from "../src/interfaces/IComplianceGate.sol";
import {IERC7943Fungible} from "../src/interfaces/IERC7943.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {GateBase} from "./GateBase.sol";
import {Wrapper} from "./mocks/Wrapper.sol";

/// @notice Every way to shares, votes or revenue of a regulated asset; none leads to who has no credentials.
contract GatePathsTest is GateBase {
    bytes32 private constant DELEGATION_TYPEHASH =
        keccak256("Delegation(address delegatee,uint256 nonce,uint256 expiry)");
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    function _cannotReceive(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotReceive.selector, account);
    }

    function _signedByAlice(bytes32 structHash) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 domain = shares.DOMAIN_SEPARATOR();
        return vm.sign(aliceKey, keccak256(abi.encodePacked("\x19\x01", domain, structHash)));
    }

    function _refuses(bytes memory reason, address from, address to, uint256 amount) private {
        vm.expectRevert(reason);
        vm.prank(from);
        shares.transfer(to, amount);
    }

    function test_path_transfer() external {
        _refuses(_cannotReceive(carol), alice, carol, 1);
        _enrol(carol);
        _move(alice, carol, 1);
        skip(TERM);
        _refuses(_cannotReceive(carol), alice, carol, 1);
    }

    function test_path_transferOfAnExpiredHolderLeadsToCredentialsOnly() external {
        skip(TERM);
        _enrol(bob);
        _refuses(_cannotReceive(carol), alice, carol, 1);
        _move(alice, bob, ALICES);
        assertEq(shares.balanceOf(bob), ALICES + BOBS);
    }

    function test_path_transferOfAFrozenHolder() external {
        vm.prank(officer);
        complianceGate.freezeAccount(assetId, alice, true);
        _refuses(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotSend.selector, alice), alice, bob, 1);
        _refuses(_cannotReceive(alice), bob, alice, 1);
    }

    function test_path_transferOfFrozenShares() external {
        vm.prank(officer);
        complianceGate.freezeShares(address(shares), alice, ALICES - 1);
        _refuses(
            abi.encodeWithSelector(IERC7943Fungible.ERC7943InsufficientUnfrozenBalance.selector, alice, 2, 1),
            alice,
            bob,
            2
        );
        _move(alice, bob, 1);
    }

    function test_path_transferFromAndPermit() external {
        bytes32 structHash = keccak256(abi.encode(PERMIT_TYPEHASH, alice, stranger, 1e18, 0, block.timestamp));
        (uint8 v, bytes32 r, bytes32 s) = _signedByAlice(structHash);
        shares.permit(alice, stranger, 1e18, block.timestamp, v, r, s);
        vm.startPrank(stranger);
        vm.expectRevert(_cannotReceive(stranger));
        shares.transferFrom(alice, stranger, 1e18);
        assertTrue(shares.transferFrom(alice, bob, 1e18));
        vm.stopPrank();
    }

    function test_path_market() external {
        IMarket.Order memory order;
        order.maker = alice;
        order.side = IMarket.Side.Sell;
        order.standard = IMarket.Standard.ERC20;
        (order.token, order.amount, order.currency) = (address(shares), 1e18, address(usd));
        (order.startPrice, order.endPrice) = (100, 100);
        (order.startTime, order.endTime) = (uint64(block.timestamp), uint64(block.timestamp) + 1 days);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(aliceKey, market.hashOrder(order));
        vm.prank(alice);
        shares.approve(address(market), 1e18);
        _fund(carol, address(market), 1000);
        vm.startPrank(carol);
        vm.expectRevert(_cannotReceive(carol));
        market.fill(order, abi.encodePacked(r, s, v), 1e18, 100);
        vm.stopPrank();
        _enrol(carol);
        vm.prank(carol);
        market.fill(order, abi.encodePacked(r, s, v), 1e18, 100);
        assertEq(shares.balanceOf(carol), 1e18);
    }

    function test_path_grant() external {
        uint40 end = uint40(block.timestamp) + 1 days;
        vm.startPrank(address(assetTimelock));
        vm.expectRevert(_cannotReceive(carol));
        shares.grant(IShares.Allocation(carol, 1e18, uint40(block.timestamp), uint40(block.timestamp), end));
        shares.grant(IShares.Allocation(bob, 1e18, uint40(block.timestamp), uint40(block.timestamp), end));
        vm.stopPrank();
    }

    function test_path_forcedTransfer() external {
        _share(900);
        vm.startPrank(officer);
        complianceGate.freezeAccount(assetId, alice, true);
        vm.expectRevert(_cannotReceive(carol));
        complianceGate.forceTransfer(address(shares), alice, carol, ALICES);
        complianceGate.forceTransfer(address(shares), alice, bob, ALICES);
        complianceGate.freezeAccount(assetId, alice, false);
        vm.stopPrank();
        assertEq(shares.balanceOf(bob), ALICES + BOBS);
        assertEq(_claim(alice), 600);
    }

    function test_path_claimAfterExpiry() external {
        _share(900);
        skip(TERM);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_CannotBePaid.selector, alice, alice));
        _claim(alice);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_CannotBePaid.selector, alice, carol));
        shares.claimTo(address(usd), carol);
        vm.stopPrank();
        _enrol(carol);
        uint256 before = vm.snapshotState();
        vm.prank(alice);
        assertEq(shares.claimTo(address(usd), carol), 600);
        assertEq(usd.balanceOf(carol), 600);
        vm.revertToState(before);
        _enrol(alice);
        assertEq(_claim(alice), 600);
    }

    function test_path_claimWhileFrozenWaits() external {
        _share(900);
        vm.prank(officer);
        complianceGate.freezeAccount(assetId, alice, true);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_CannotBePaid.selector, alice, bob));
        shares.claimTo(address(usd), bob);
        vm.stopPrank();
        _share(900);
        assertEq(_claimable(alice), 1200);
        _asAuthority(abi.encodeCall(complianceGate.freezeAccount, (assetId, alice, false)));
        assertEq(_claim(alice), 1200);
    }

    function test_path_delegate() external {
        vm.expectRevert(_cannotReceive(carol));
        vm.prank(alice);
        shares.delegate(carol);
        bytes32 structHash = keccak256(abi.encode(DELEGATION_TYPEHASH, carol, 0, block.timestamp));
        (uint8 v, bytes32 r, bytes32 s) = _signedByAlice(structHash);
        vm.expectRevert(_cannotReceive(carol));
        shares.delegateBySig(carol, 0, block.timestamp, v, r, s);
        _enrol(carol);
        shares.delegateBySig(carol, 0, block.timestamp, v, r, s);
        assertEq(shares.getVotes(carol), ALICES);
    }

    function test_path_votesThroughAnExpiredDelegate() external {
        vm.prank(alice);
        shares.delegate(bob);
        skip(TERM);
        _enrol(alice);
        _move(bob, alice, 1e18);
        assertEq(shares.getVotes(bob), 0);
        assertEq(shares.delegates(alice), address(0));
        vm.prank(alice);
        shares.delegate(alice);
        assertEq(shares.getVotes(alice), ALICES + 1e18);
    }

    function test_path_votesThroughAForcedTransfer() external {
        vm.prank(alice);
        shares.delegate(bob);
        skip(TERM);
        _enrol(alice);
        vm.prank(officer);
        complianceGate.forceTransfer(address(shares), bob, alice, BOBS);
        assertEq(shares.getVotes(bob), 0);
    }

    function test_endDelegation_ByAnyoneOnceTheDelegateMayNotVote() external {
        vm.prank(alice);
        shares.delegate(bob);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_DelegateMayVote.selector, alice, bob));
        vm.prank(stranger);
        shares.endDelegation(alice);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_DelegateMayVote.selector, bob, address(0)));
        shares.endDelegation(bob);
        skip(TERM);
        assertEq(shares.getVotes(bob), ALICES);
        vm.prank(stranger);
        shares.endDelegation(alice);
        assertEq(shares.getVotes(bob), 0);
    }

    function test_path_contractWithoutAListing() external {
        Wrapper wrapper = new Wrapper(IERC20(address(shares)), alice, 0);
        vm.startPrank(alice);
        shares.approve(address(wrapper), 1e18);
        vm.expectRevert(_cannotReceive(address(wrapper)));
        wrapper.wrap(IERC20(address(shares)), 1e18);
        address next = vm.computeCreateAddress(alice, vm.getNonce(alice));
        shares.approve(next, 1e18);
        vm.expectRevert(_cannotReceive(next));
        new Wrapper(IERC20(address(shares)), alice, 1e18);
        vm.stopPrank();
    }

    /// @dev While it is made it is what it was enrolled as; from then on it is a contract, which has no standing.
    function test_path_contractThatWasEnrolledBeforeItHadCode() external {
        address next = vm.computeCreateAddress(alice, vm.getNonce(alice));
        _enrol(next);
        vm.startPrank(alice);
        shares.approve(next, 1e18);
        address wrapper = address(new Wrapper(IERC20(address(shares)), alice, 1e18));
        vm.stopPrank();
        assertEq(wrapper, next);
        _refuses(_cannotReceive(next), alice, next, 1);
        assertFalse(complianceGate.canVote(assetId, next));
        assertFalse(complianceGate.canBePaid(assetId, alice, next));
    }

    function test_path_contractThatIsListedWithoutCode() external {
        address next = vm.computeCreateAddress(alice, vm.getNonce(alice));
        _asAuthority(abi.encodeCall(complianceGate.listContract, (assetId, next, 1)));
        vm.startPrank(alice);
        shares.approve(next, 1e18);
        vm.expectRevert(_cannotReceive(next));
        new Wrapper(IERC20(address(shares)), alice, 1e18);
        vm.stopPrank();
        _refuses(_cannotReceive(next), alice, next, 1);
    }

    function test_path_contractWithAnotherPurpose() external {
        address wrapper = address(new Wrapper(IERC20(address(shares)), alice, 0));
        for (uint8 purposes = 0; purposes < 8; ++purposes) {
            _asAuthority(abi.encodeCall(complianceGate.listContract, (assetId, wrapper, purposes)));
            assertEq(complianceGate.canReceive(assetId, wrapper), purposes & complianceGate.HOLD() != 0);
            assertEq(complianceGate.canVote(assetId, wrapper), purposes & complianceGate.VOTE() != 0);
            assertEq(complianceGate.canBePaid(assetId, alice, wrapper), purposes & complianceGate.EARN() != 0);
        }
    }

    /// @dev EIP-7702: the key of the account still decides, so what counts is whose it is.
    function test_path_accountThatRunsTheCodeOfOthers() external {
        vm.etch(alice, abi.encodePacked(hex"ef0100", address(registry)));
        assertEq(alice.code.length, 23);
        _move(bob, alice, 1);
        vm.etch(carol, abi.encodePacked(hex"ef0100", address(assetTimelock)));
        _refuses(_cannotReceive(carol), bob, carol, 1);
        _enrol(carol);
        _move(bob, carol, 1);
        skip(TERM);
        assertFalse(complianceGate.canReceive(assetId, carol));
    }

    function test_path_cloneWithoutTheGate() external {
        ISharesFactory.Order memory order = _another("acme/escape");
        _regulate();
        address[2] memory gates = [address(0), address(gate)];
        vm.startPrank(publisher);
        registry.approve(address(sharesFactory), registry.tokenIdOf(assetId));
        for (uint256 i = 0; i < 2; ++i) {
            order.shares.gate = gates[i];
            vm.expectRevert(
                abi.encodeWithSelector(IComplianceGate.ComplianceGate_GateRequired.selector, assetId, gates[i])
            );
            sharesFactory.fractionalise(order);
        }
        vm.stopPrank();
    }

    function test_path_secondCloneOfTheSameAsset() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(address(assetTimelock));
        registry.transferFrom(address(assetTimelock), publisher, tokenId);
        ISharesFactory.Order memory order = _order();
        vm.startPrank(publisher);
        registry.approve(address(sharesFactory), tokenId);
        vm.expectRevert(
            abi.encodeWithSelector(IComplianceGate.ComplianceGate_GateRequired.selector, assetId, address(0))
        );
        sharesFactory.fractionalise(order);
        order.shares.gate = address(complianceGate);
        vm.expectRevert(
            abi.encodeWithSelector(
                IComplianceGate.ComplianceGate_SharedBefore.selector, assetId, address(assetTimelock)
            )
        );
        sharesFactory.fractionalise(order);
        vm.stopPrank();
        assertEq(complianceGate.authorityOf(assetId), address(assetTimelock));
    }

    function test_path_regulatedAfterSharesLeft() external {
        ISharesFactory.Order memory order = _another("acme/late");
        vm.prank(publisher);
        complianceGate.setMode(assetId, IComplianceGate.Mode.Open);
        _fractionalise(order);
        assertTrue(complianceGate.hasOutsideShares(assetId));
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_HasOutsideShares.selector, assetId));
        vm.prank(address(assetTimelock));
        complianceGate.setMode(assetId, IComplianceGate.Mode.Regulated);
    }

    function test_path_cloneInTheGateWithoutRules() external {
        ISharesFactory.Order memory order = _another("acme/none");
        order.shares.gate = address(complianceGate);
        vm.startPrank(publisher);
        registry.approve(address(sharesFactory), registry.tokenIdOf(assetId));
        vm.expectRevert(_cannotReceive(alice));
        sharesFactory.fractionalise(order);
        vm.stopPrank();
    }

    function test_path_creationForWhoIsNotEnrolled() external {
        ISharesFactory.Order memory order = _another("acme/first");
        _regulate();
        _enrol(alice);
        order.shares.gate = address(complianceGate);
        vm.startPrank(publisher);
        registry.approve(address(sharesFactory), registry.tokenIdOf(assetId));
        vm.expectRevert(_cannotReceive(bob));
        sharesFactory.fractionalise(order);
        vm.stopPrank();
    }
}
