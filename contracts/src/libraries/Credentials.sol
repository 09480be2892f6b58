// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IComplianceGate} from "../interfaces/IComplianceGate.sol";

/// @title Hash of what an issuer signs about an account
library Credentials {
    bytes32 internal constant TYPEHASH = keccak256(
        "Credential(bytes32 assetId,address subject,uint8 class,uint16 jurisdiction,uint64 expiresAt,uint256 nonce)"
    );

    /// @notice EIP-712 hash of the struct.
    function structHash(IComplianceGate.Credential calldata credential) internal pure returns (bytes32) {
        return keccak256(abi.encode(TYPEHASH, credential));
    }
}
