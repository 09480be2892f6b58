// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title What an address is
library Accounts {
    /// @dev EIP-7702: 0xef0100 and the address whose code the account runs. EIP-3541 keeps contracts from beginning so.
    uint256 private constant DELEGATION_LENGTH = 23;
    bytes3 private constant DELEGATION = 0xef0100;

    /// @notice Whether the account is a contract. One with a key is none, whatever code it lets run for it: its key
    /// still decides, and nobody else can get it.
    function isContract(address account) internal view returns (bool) {
        uint256 length = account.code.length;
        return length != 0 && !(length == DELEGATION_LENGTH && bytes3(account.code) == DELEGATION);
    }
}
