// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {ComplianceGate} from "../src/ComplianceGate.sol";
import {IComplianceGate} from "../src/interfaces/IComplianceGate.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {GateBase} from "./GateBase.sol";
import {ContractWallet} from "./mocks/Wallets.sol";

/// @notice Who decides the rules of an asset, and whom they let in.
contract ComplianceGateTest is GateBase {
    bytes32 private constant UNKNOWN = keccak256("unknown");

    function _may(bytes32 asset, address account) private view returns (bool receives, bool votes, bool earns) {
        receives = complianceGate.canReceive(asset, account);
        votes = complianceGate.canVote(asset, account);
        earns = complianceGate.canBePaid(asset, account, account);
    }

    function _assertStands(address account, bool stands) private view {
        (bool receives, bool votes, bool earns) = _may(assetId, account);
        assertEq(receives, stands);
        assertEq(votes, stands);
        assertEq(earns, stands);
    }

    function test_rules_RefuseEverythingWhereThereAreNone() external view {
        (bool receives, bool votes, bool earns) = _may(UNKNOWN, alice);
        assertFalse(receives || votes || earns || complianceGate.canSend(UNKNOWN, alice));
        assertFalse(complianceGate.canTransfer(UNKNOWN, alice, bob, 1));
    }

    function test_rules_AllowEverythingWhereTheAssetIsOpen() external {
        _asAuthority(abi.encodeCall(complianceGate.setMode, (assetId, IComplianceGate.Mode.Open)));
        _assertStands(stranger, true);
        assertTrue(complianceGate.canTransfer(assetId, stranger, address(this), 1));
        bytes memory refusal = abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotRegulated.selector, assetId);
        vm.startPrank(officer);
        vm.expectRevert(refusal);
        complianceGate.forceTransfer(address(shares), alice, bob, 1);
        vm.expectRevert(refusal);
        complianceGate.freezeShares(address(shares), alice, 1);
        complianceGate.freezeShares(address(shares), alice, 0);
        complianceGate.freezeAccount(assetId, alice, true);
        vm.stopPrank();
        _assertStands(alice, true);
    }

    function test_setMode_RevertWhen_TheRulesWouldGoAway() external {
        vm.expectRevert(
            abi.encodeWithSelector(
                IComplianceGate.ComplianceGate_InvalidMode.selector, assetId, IComplianceGate.Mode.None
            )
        );
        vm.prank(address(assetTimelock));
        complianceGate.setMode(assetId, IComplianceGate.Mode.None);
    }

    function test_rules_RevertWhen_SomebodyElseLoosensThem() external {
        address[3] memory others = [publisher, officer, stranger];
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory refusal =
                abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotAuthority.selector, assetId, others[i]);
            vm.startPrank(others[i]);
            vm.expectRevert(refusal);
            complianceGate.setMode(assetId, IComplianceGate.Mode.Open);
            vm.expectRevert(refusal);
            complianceGate.setOfficer(assetId, stranger);
            vm.expectRevert(refusal);
            complianceGate.setIssuer(assetId, stranger, true);
            vm.expectRevert(refusal);
            complianceGate.setClasses(assetId, (1 << CLASS) | (1 << OTHER_CLASS));
            vm.expectRevert(refusal);
            complianceGate.setJurisdictions(assetId, _codes(FRANCE), true);
            vm.expectRevert(refusal);
            complianceGate.listContract(assetId, address(market), 1);
            vm.stopPrank();
        }
    }

    function test_rules_RevertWhen_AStrangerTightensThem() external {
        address[2] memory others = [publisher, stranger];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory refusal =
                abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotOfficer.selector, assetId, others[i]);
            vm.startPrank(others[i]);
            vm.expectRevert(refusal);
            complianceGate.setIssuer(assetId, issuer, false);
            vm.expectRevert(refusal);
            complianceGate.setClasses(assetId, 0);
            vm.expectRevert(refusal);
            complianceGate.setJurisdictions(assetId, _codes(GERMANY), false);
            vm.expectRevert(refusal);
            complianceGate.listContract(assetId, address(assetTimelock), 0);
            vm.expectRevert(refusal);
            complianceGate.freezeAccount(assetId, alice, true);
            vm.expectRevert(refusal);
            complianceGate.freezeShares(address(shares), alice, 1);
            vm.expectRevert(refusal);
            complianceGate.forceTransfer(address(shares), alice, bob, 1);
            vm.stopPrank();
        }
    }

    function test_rules_TheOfficerTightensAtOnce() external {
        uint256 before = vm.snapshotState();
        for (uint256 i = 0; i < 4; ++i) {
            vm.revertToState(before);
            _assertStands(alice, true);
            vm.startPrank(officer);
            if (i == 0) complianceGate.setIssuer(assetId, issuer, false);
            if (i == 1) complianceGate.setClasses(assetId, 0);
            if (i == 2) complianceGate.setJurisdictions(assetId, _codes(GERMANY), false);
            if (i == 3) complianceGate.freezeAccount(assetId, alice, true);
            vm.stopPrank();
            _assertStands(alice, false);
            assertEq(complianceGate.canSend(assetId, alice), i != 3);
        }
    }

    function test_rules_EndWithTheExpiry() external {
        skip(TERM - 1);
        _assertStands(alice, true);
        skip(1);
        _assertStands(alice, false);
        assertTrue(complianceGate.canSend(assetId, alice));
        _enrol(alice);
        _assertStands(alice, true);
    }

    function test_rules_AreOfOneAsset() external {
        bytes32 first = assetId;
        _another("acme/other");
        _regulate();
        assertFalse(complianceGate.canReceive(assetId, alice));
        assertTrue(complianceGate.canReceive(first, alice));
    }

    function test_setMode_RevertWhen_TheGateIsRetiring() external {
        bytes32 known = assetId;
        _another("acme/other");
        _advance(address(complianceGate), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(complianceGate), IDirectory.Status.Retiring
            )
        );
        vm.prank(publisher);
        complianceGate.setMode(assetId, IComplianceGate.Mode.Regulated);
        assetId = known;
        _enrol(carol);
        _move(alice, carol, 1e18);
        assertEq(shares.balanceOf(carol), 1e18);
    }

    function test_authority_IsTheOwnerBeforeAndTheTimelockAfter() external {
        assertEq(complianceGate.authorityOf(assetId), address(assetTimelock));
        _another("acme/other");
        assertEq(complianceGate.authorityOf(assetId), publisher);
        assertEq(complianceGate.authorityOf(UNKNOWN), address(0));
    }

    /// @dev Who has the asset's token does not have the rules of those who hold its shares.
    function test_authority_StaysWithTheSharesWhenTheAssetIsHandedOut() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(address(assetTimelock));
        registry.transferFrom(address(assetTimelock), stranger, tokenId);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotAuthority.selector, assetId, stranger));
        vm.prank(stranger);
        complianceGate.setClasses(assetId, type(uint256).max);
    }

    function test_admit_RevertWhen_TheAssetHasSharesUnderTheGate() external {
        address governing = complianceGate.authorityOf(assetId);
        vm.expectRevert(
            abi.encodeWithSelector(IComplianceGate.ComplianceGate_SharedBefore.selector, assetId, governing)
        );
        vm.prank(address(sharesFactory));
        complianceGate.admit(assetId, address(complianceGate), stranger, stranger);
        assertEq(complianceGate.authorityOf(assetId), governing);
    }

    function test_loosening_WaitsAsLongAsAnExit() external {
        bytes memory data = abi.encodeCall(complianceGate.setMode, (assetId, IComplianceGate.Mode.Open));
        vm.prank(address(governor));
        assetTimelock.schedule(address(complianceGate), 0, data, 0, 0, EXIT_DELAY);
        skip(EXIT_DELAY - 1);
        vm.expectRevert();
        assetTimelock.execute(address(complianceGate), 0, data, 0, 0);
        skip(1);
        assetTimelock.execute(address(complianceGate), 0, data, 0, 0);
        assertEq(uint8(complianceGate.modeOf(assetId)), uint8(IComplianceGate.Mode.Open));
    }

    function test_setJurisdictions_RevertWhen_OutOfBounds() external {
        uint16[2] memory wrong = [uint16(0), 1000];
        vm.startPrank(address(assetTimelock));
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidJurisdiction.selector, wrong[i])
            );
            complianceGate.setJurisdictions(assetId, _codes(wrong[i]), true);
        }
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_TooMany.selector, 65, 64));
        complianceGate.setJurisdictions(assetId, new uint16[](65), true);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidPurposes.selector, 8));
        complianceGate.listContract(assetId, address(market), 8);
        vm.stopPrank();
    }

    function test_enrol_RevertWhen_TheCallerIsNoIssuer() external {
        address[3] memory others = [stranger, officer, address(assetTimelock)];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotIssuer.selector, assetId, others[i])
            );
            vm.prank(others[i]);
            complianceGate.enrol(assetId, carol, CLASS, GERMANY, uint64(block.timestamp) + 1);
        }
    }

    function test_enrol_RevertWhen_OutOfBounds() external {
        uint64 now_ = uint64(block.timestamp);
        vm.startPrank(issuer);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidClass.selector, 0));
        complianceGate.enrol(assetId, carol, 0, GERMANY, now_ + 1);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidJurisdiction.selector, 0));
        complianceGate.enrol(assetId, carol, CLASS, 0, now_ + 1);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidExpiry.selector, now_));
        complianceGate.enrol(assetId, carol, CLASS, GERMANY, now_);
        vm.expectRevert(
            abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidExpiry.selector, now_ + 730 days + 1)
        );
        complianceGate.enrol(assetId, carol, CLASS, GERMANY, now_ + 730 days + 1);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_IsContract.selector, address(market)));
        complianceGate.enrol(assetId, address(market), CLASS, GERMANY, now_ + 1);
        vm.stopPrank();
    }

    function test_enrol_KeepsWhatIsKnown() external {
        uint64 end = uint64(block.timestamp) + TERM;
        vm.expectEmit(address(complianceGate));
        emit IComplianceGate.Enrolled(assetId, carol, issuer, CLASS, GERMANY, end);
        _enrol(carol);
        IComplianceGate.Account memory known = complianceGate.accountOf(assetId, carol);
        assertEq(known.issuer, issuer);
        assertEq(known.expiresAt, end);
        assertEq(known.jurisdiction, GERMANY);
        assertEq(known.class, CLASS);
        assertEq(complianceGate.nonceOf(assetId, carol), 1);
    }

    function test_enrol_OfAnotherClassOrPlaceIsNoStanding() external {
        vm.startPrank(issuer);
        complianceGate.enrol(assetId, carol, OTHER_CLASS, GERMANY, uint64(block.timestamp) + TERM);
        assertFalse(complianceGate.canReceive(assetId, carol));
        complianceGate.enrol(assetId, carol, CLASS, FRANCE, uint64(block.timestamp) + TERM);
        assertFalse(complianceGate.canReceive(assetId, carol));
        vm.stopPrank();
    }

    function test_enrolSigned_ByAnyoneOnce() external {
        IComplianceGate.Credential memory credential = _credential(carol);
        bytes memory signature = _sign(credential);
        vm.startPrank(stranger);
        complianceGate.enrolSigned(credential, issuer, signature);
        assertTrue(complianceGate.canReceive(assetId, carol));
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidNonce.selector, carol, 0, 1));
        complianceGate.enrolSigned(credential, issuer, signature);
        vm.stopPrank();
    }

    function test_enrolSigned_RevertWhen_ItWasRevokedSince() external {
        IComplianceGate.Credential memory credential = _credential(carol);
        bytes memory signature = _sign(credential);
        vm.prank(issuer);
        complianceGate.revokeCredential(assetId, carol);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidNonce.selector, carol, 0, 1));
        complianceGate.enrolSigned(credential, issuer, signature);
    }

    function testFuzz_enrolSigned_RevertWhen_AnyFieldIsAnother(uint256 field, uint256 salt) external {
        IComplianceGate.Credential memory credential = _credential(carol);
        bytes memory signature = _sign(credential);
        field %= 6;
        salt = bound(salt, 1, 200);
        if (field == 0) credential.assetId = keccak256(abi.encode(salt));
        if (field == 1) credential.subject = address(uint160(uint256(keccak256(abi.encode(salt)))));
        if (field == 2) credential.class += uint8(salt);
        if (field == 3) credential.jurisdiction += uint16(salt);
        if (field == 4) credential.expiresAt += uint64(salt);
        if (field == 5) credential.nonce += salt;
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidSignature.selector, issuer));
        complianceGate.enrolSigned(credential, issuer, signature);
    }

    function test_enrolSigned_RevertWhen_TheSignerIsNoIssuer() external {
        (address other, uint256 key) = makeAddrAndKey("other");
        IComplianceGate.Credential memory credential = _credential(carol);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, complianceGate.hashCredential(credential));
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotIssuer.selector, assetId, other));
        complianceGate.enrolSigned(credential, other, abi.encodePacked(r, s, v));
    }

    function test_setLongestTerm_BoundsWhatIsIssuedFromNowOn() external {
        uint64 now_ = uint64(block.timestamp);
        vm.prank(issuer);
        complianceGate.enrol(assetId, carol, CLASS, GERMANY, now_ + 730 days);
        vm.expectEmit(address(complianceGate));
        emit IComplianceGate.LongestTermSet(30 days);
        complianceGate.setLongestTerm(30 days);
        assertEq(complianceGate.longestTerm(), 30 days);
        assertEq(complianceGate.accountOf(assetId, carol).expiresAt, now_ + 730 days);
        vm.startPrank(issuer);
        vm.expectRevert(
            abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidExpiry.selector, now_ + 30 days + 1)
        );
        complianceGate.enrol(assetId, carol, CLASS, GERMANY, now_ + 30 days + 1);
        complianceGate.enrol(assetId, carol, CLASS, GERMANY, now_ + 30 days);
        vm.stopPrank();
    }

    function test_setLongestTerm_RevertWhen_OutOfBoundsOrWithoutTheRole() external {
        for (uint256 i = 0; i < 2; ++i) {
            uint64 wrong = i == 0 ? 30 days - 1 : 730 days + 1;
            vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidLongestTerm.selector, wrong));
            complianceGate.setLongestTerm(wrong);
        }
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, publisher));
        vm.prank(publisher);
        complianceGate.setLongestTerm(60 days);
    }

    function test_replayAcrossChainsAndGates() external {
        IComplianceGate.Credential memory credential = _credential(carol);
        bytes memory signature = _sign(credential);
        ComplianceGate other = new ComplianceGate(address(manager), directory, registry);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidSignature.selector, issuer));
        other.enrolSigned(credential, issuer, signature);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_InvalidSignature.selector, issuer));
        complianceGate.enrolSigned(credential, issuer, signature);
    }

    function test_enrolSigned_OfAnIssuerWithCode() external {
        address wallet = address(new ContractWallet(issuer));
        _asAuthority(abi.encodeCall(complianceGate.setIssuer, (assetId, wallet, true)));
        IComplianceGate.Credential memory credential = _credential(carol);
        complianceGate.enrolSigned(credential, wallet, _sign(credential));
        assertEq(complianceGate.accountOf(assetId, carol).issuer, wallet);
    }

    function test_revokeCredential_EndsTheStanding() external {
        address[3] memory who = [issuer, officer, address(assetTimelock)];
        for (uint256 i = 0; i < 3; ++i) {
            _enrol(alice);
            vm.prank(who[i]);
            complianceGate.revokeCredential(assetId, alice);
            _assertStands(alice, false);
        }
    }

    function test_revokeCredential_RevertWhen_AnotherIssued() external {
        address second = makeAddr("second");
        _asAuthority(abi.encodeCall(complianceGate.setIssuer, (assetId, second, true)));
        address[2] memory who = [second, stranger];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotIssuer.selector, assetId, who[i]));
            vm.prank(who[i]);
            complianceGate.revokeCredential(assetId, alice);
        }
    }

    function test_officer_RevertWhen_TheSharesAreUnknown() external {
        bytes memory refusal =
            abi.encodeWithSelector(IComplianceGate.ComplianceGate_UnknownShares.selector, address(usd));
        vm.startPrank(officer);
        vm.expectRevert(refusal);
        complianceGate.freezeShares(address(usd), alice, 1);
        vm.expectRevert(refusal);
        complianceGate.forceTransfer(address(usd), alice, bob, 1);
        vm.stopPrank();
    }

    function test_admit_RevertWhen_TheCallerIsNoFactory() external {
        vm.expectRevert(abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotFactory.selector, publisher));
        vm.prank(publisher);
        complianceGate.admit(assetId, address(complianceGate), address(usd), publisher);
        assertEq(complianceGate.authorityOf(assetId), address(assetTimelock));
        assertEq(IShares(shares).gate(), address(complianceGate));
    }
}
