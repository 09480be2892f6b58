// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";

/// @title Names of assets, equal on every chain that speaks of them
library Assets {
    /// @notice Asset id: hash of the CAIP-19 name `eip155:<chain>/erc721:<registry, lower case>/<token id, decimal>`.
    function idOf(uint256 chainId, address registry, uint256 tokenId) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                "eip155:",
                Strings.toString(chainId),
                "/erc721:",
                Strings.toHexString(registry),
                "/",
                Strings.toString(tokenId)
            )
        );
    }

    /// @notice Token id of a slug, the same in every registry.
    function tokenIdOf(string calldata slug) internal pure returns (uint256) {
        return uint256(keccak256(bytes(slug)));
    }
}
