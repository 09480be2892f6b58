// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Slugs: `owner/model`, each part `[a-z0-9-]{1,39}`
library Slugs {
    uint256 internal constant MAX_PART_BYTES = 39;

    /// @notice Length of the part before the slash, 0 when the text is not a slug.
    function namespaceLength(bytes calldata slug) internal pure returns (uint256 length) {
        if (slug.length > 2 * MAX_PART_BYTES + 1) return 0;
        for (uint256 i = 0; i < slug.length; ++i) {
            if (slug[i] == "/") {
                if (length != 0 || i == 0) return 0;
                length = i;
            } else if (!_isPartCharacter(slug[i])) {
                return 0;
            }
        }
        if (length == 0 || length > MAX_PART_BYTES) return 0;
        uint256 rest = slug.length - length - 1;
        return rest == 0 || rest > MAX_PART_BYTES ? 0 : length;
    }

    function _isPartCharacter(bytes1 c) private pure returns (bool) {
        return (c >= "a" && c <= "z") || (c >= "0" && c <= "9") || c == "-";
    }
}
