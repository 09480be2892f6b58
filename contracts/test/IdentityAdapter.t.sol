// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IdentityAdapter} from "../src/IdentityAdapter.sol";
import {IComplianceGate} from "../src/interfaces/IComplianceGate.sol";
import {IIdentityAdapter} from "../src/interfaces/IIdentityAdapter.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {GateBase} from "./GateBase.sol";
import {IdentityRegistry} from "./mocks/IdentityRegistry.sol";

/// @notice An ERC-3643 identity registry as a source of credentials.
contract IdentityAdapterTest is GateBase {
    uint32 private constant WEEK = 7 days;

    IdentityAdapter private adapter;
    IdentityRegistry private identities;

    function setUp() public override {
        super.setUp();
        adapter = new IdentityAdapter(complianceGate);
        identities = new IdentityRegistry();
        _asAuthority(abi.encodeCall(complianceGate.setIssuer, (assetId, address(adapter), true)));
        vm.prank(address(assetTimelock));
        adapter.setSource(assetId, IIdentityAdapter.Source(identities, CLASS, WEEK));
    }

    function _sync(address account) private returns (bool) {
        vm.prank(stranger);
        return adapter.sync(assetId, account);
    }

    function test_setSource_RevertWhen_SomebodyElseCalls() external {
        address[3] memory others = [publisher, officer, stranger];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IIdentityAdapter.IdentityAdapter_NotAuthority.selector, assetId, others[i])
            );
            vm.prank(others[i]);
            adapter.setSource(assetId, IIdentityAdapter.Source(identities, CLASS, WEEK));
        }
    }

    function test_setSource_RevertWhen_ItIsNoSource() external {
        IIdentityAdapter.Source[3] memory wrong = [
            IIdentityAdapter.Source(IIdentityRegistry(stranger), CLASS, WEEK),
            IIdentityAdapter.Source(identities, CLASS, 0),
            IIdentityAdapter.Source(identities, CLASS, 30 days + 1)
        ];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IIdentityAdapter.IdentityAdapter_InvalidSource.selector, wrong[i].registry, wrong[i].term
                )
            );
            vm.prank(address(assetTimelock));
            adapter.setSource(assetId, wrong[i]);
        }
        assertEq(address(adapter.sourceOf(assetId).registry), address(identities));
    }

    function test_sync_RevertWhen_TheAssetNamesNoRegistry() external {
        vm.prank(address(assetTimelock));
        adapter.setSource(assetId, IIdentityAdapter.Source(IIdentityRegistry(address(0)), 0, 0));
        vm.expectRevert(abi.encodeWithSelector(IIdentityAdapter.IdentityAdapter_NoSource.selector, assetId));
        _sync(carol);
    }

    function test_sync_RevertWhen_TheAssetDoesNotAllowTheAdapter() external {
        vm.prank(officer);
        complianceGate.setIssuer(assetId, address(adapter), false);
        identities.register(carol, GERMANY);
        vm.expectRevert(
            abi.encodeWithSelector(IComplianceGate.ComplianceGate_NotIssuer.selector, assetId, address(adapter))
        );
        _sync(carol);
    }

    function test_sync_GivesWhatTheRegistrySays() external {
        assertFalse(_sync(carol));
        identities.register(carol, GERMANY);
        assertTrue(_sync(carol));
        _move(alice, carol, 1e18);
        assertEq(complianceGate.accountOf(assetId, carol).expiresAt, block.timestamp + WEEK);
        identities.register(carol, FRANCE);
        assertTrue(_sync(carol));
        assertFalse(complianceGate.canReceive(assetId, carol));
    }

    function test_sync_TakesWhatTheRegistryTookBack() external {
        identities.register(carol, GERMANY);
        _sync(carol);
        identities.register(carol, 0);
        assertTrue(complianceGate.canReceive(assetId, carol));
        assertFalse(_sync(carol));
        assertFalse(complianceGate.canReceive(assetId, carol));
        identities.register(carol, GERMANY);
        _sync(carol);
        skip(WEEK);
        assertFalse(complianceGate.canReceive(assetId, carol));
    }

    function test_sync_RevertWhen_AnotherIssuersCredentialHolds() external {
        identities.register(alice, FRANCE);
        vm.expectRevert(
            abi.encodeWithSelector(IIdentityAdapter.IdentityAdapter_AnotherIssued.selector, assetId, alice, issuer)
        );
        _sync(alice);
        identities.register(alice, 0);
        vm.expectRevert();
        _sync(alice);
        assertTrue(complianceGate.canReceive(assetId, alice));
        skip(TERM);
        assertFalse(_sync(alice));
        identities.register(alice, GERMANY);
        assertTrue(_sync(alice));
        assertTrue(complianceGate.canReceive(assetId, alice));
    }

    function test_sync_UsesUpNoNonceWhereNothingIsNew() external {
        identities.register(carol, GERMANY);
        _sync(carol);
        uint256 nonce = complianceGate.nonceOf(assetId, carol);
        skip(WEEK / 2 - 1);
        assertTrue(_sync(carol));
        assertFalse(_sync(stranger));
        assertEq(complianceGate.nonceOf(assetId, carol), nonce);
        assertEq(complianceGate.nonceOf(assetId, stranger), 0);
        skip(1);
        _sync(carol);
        assertEq(complianceGate.nonceOf(assetId, carol), nonce + 1);
    }
}
