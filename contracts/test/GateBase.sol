// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IComplianceGate} from "../src/interfaces/IComplianceGate.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {SharesBase} from "./SharesBase.sol";

/// @notice A regulated asset in shares that vote: alice and bob are enrolled, carol could be, the stranger never is.
abstract contract GateBase is SharesBase {
    uint8 internal constant CLASS = 2;
    uint8 internal constant OTHER_CLASS = 7;
    uint16 internal constant GERMANY = 276;
    uint16 internal constant FRANCE = 250;
    uint64 internal constant TERM = 365 days;

    address internal officer = makeAddr("officer");
    address internal issuer;
    uint256 internal issuerKey;

    function setUp() public virtual override {
        super.setUp();
        (issuer, issuerKey) = makeAddrAndKey("issuer");
        ISharesFactory.Order memory order = _voting(_another("acme/regulated"));
        _regulate();
        _enrol(alice);
        _enrol(bob);
        order.shares.gate = address(complianceGate);
        _fractionalise(order);
    }

    /// @dev By the publisher, who owns the asset.
    function _regulate() internal {
        vm.startPrank(publisher);
        complianceGate.setMode(assetId, IComplianceGate.Mode.Regulated);
        complianceGate.setOfficer(assetId, officer);
        complianceGate.setIssuer(assetId, issuer, true);
        complianceGate.setClasses(assetId, 1 << CLASS);
        complianceGate.setJurisdictions(assetId, _codes(GERMANY), true);
        vm.stopPrank();
    }

    function _codes(uint16 code) internal pure returns (uint16[] memory codes) {
        codes = new uint16[](1);
        codes[0] = code;
    }

    function _enrol(address account) internal {
        vm.prank(issuer);
        complianceGate.enrol(assetId, account, CLASS, GERMANY, uint64(block.timestamp) + TERM);
    }

    function _credential(address subject) internal view returns (IComplianceGate.Credential memory) {
        uint256 nonce = complianceGate.nonceOf(assetId, subject);
        return IComplianceGate.Credential(assetId, subject, CLASS, GERMANY, uint64(block.timestamp) + TERM, nonce);
    }

    function _sign(IComplianceGate.Credential memory credential) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(issuerKey, complianceGate.hashCredential(credential));
        return abi.encodePacked(r, s, v);
    }

    /// @dev What the holders decide, as the gate sees it.
    function _asAuthority(bytes memory data) internal {
        vm.prank(address(assetTimelock));
        (bool ok,) = address(complianceGate).call(data);
        assertTrue(ok);
    }
}
