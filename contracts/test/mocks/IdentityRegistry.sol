// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IIdentityRegistry} from "../../src/interfaces/IIdentityRegistry.sol";

/// @notice An ERC-3643 identity registry that says what it is told.
contract IdentityRegistry is IIdentityRegistry {
    mapping(address => uint16) public investorCountry;

    function register(address account, uint16 country) external {
        investorCountry[account] = country;
    }

    function isVerified(address account) external view returns (bool) {
        return investorCountry[account] != 0;
    }
}
