// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {LicenseStatesBase} from "./LicenseStatesBase.sol";

/// @notice One licence of a plan with a notice of seven days, and what the publisher does about a breach of it.
abstract contract BreachBase is LicenseStatesBase {
    uint64 internal constant NOTICE = 7 days;
    bytes32 internal constant EVIDENCE = keccak256("evidence");

    function _announce() internal returns (uint64 effectiveAt) {
        vm.prank(publisher);
        effectiveAt = breachBook.announce(ID, EVIDENCE);
    }

    function _revoke() internal returns (uint256 refund) {
        refund = breachBook.refundOf(ID);
        _fund(publisher, address(breachBook), refund);
        vm.prank(publisher);
        assertEq(breachBook.revoke(ID, refund), refund);
    }

    /// @dev What a licence of 30 days has left after the notice.
    function _breach() internal returns (uint256 refund) {
        _announce();
        skip(NOTICE);
        refund = _revoke();
    }
}
