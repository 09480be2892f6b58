// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";

/// @title The event of a group, built where it is emitted from
/// @notice Emits `IUsageEscrow.GroupSettled` as the compiler would, which the tests compare. Written by hand, because the
/// compiler copies every line twice, and a batch has hundreds.
library GroupLog {
    /// @dev Words of a line: depositId, authority, due, paid, window, records.
    uint256 private constant LINE = 6 * 32;
    /// @dev Words before the lines: token, first, due, paid, releaseAt, where the lines begin, how many they are.
    uint256 private constant HEAD = 7 * 32;

    /// @notice Room for the data of an event with so many lines.
    function allocate(uint256 lines) internal pure returns (bytes memory) {
        return new bytes(HEAD + lines * LINE);
    }

    /// @notice Sets a line. `index` is below the number that room was made for.
    function set(bytes memory data, uint256 index, bytes32 depositId, IUsageEscrow.Line memory line, uint128 paid)
        internal
        pure
    {
        assembly ("memory-safe") {
            let at := add(add(data, 0x100), mul(index, LINE))
            mstore(at, depositId)
            mstore(add(at, 0x20), mload(add(line, 0x80)))
            mstore(add(at, 0x40), mload(add(line, 0xc0)))
            mstore(add(at, 0x60), paid)
            mstore(add(at, 0x80), mload(add(line, 0xa0)))
            mstore(add(at, 0xa0), mload(add(line, 0x100)))
        }
    }

    /// @notice What the event says of the whole group.
    struct Head {
        uint64 batch;
        uint64 releaseAt;
        uint32 first;
        uint256 due;
        uint128 paid;
    }

    /// @notice Emits the event for the calling operator and the group of `line`.
    function emitEvent(bytes memory data, Head memory head, IUsageEscrow.Line memory line) internal {
        bytes32 topic = IUsageEscrow.GroupSettled.selector;
        assembly ("memory-safe") {
            let start := add(data, 0x20)
            mstore(start, mload(add(line, 0x40)))
            mstore(add(start, 0x20), mload(add(head, 0x40)))
            mstore(add(start, 0x40), mload(add(head, 0x60)))
            mstore(add(start, 0x60), mload(add(head, 0x80)))
            mstore(add(start, 0x80), mload(add(head, 0x20)))
            mstore(add(start, 0xa0), 0xc0)
            mstore(add(start, 0xc0), div(sub(mload(data), HEAD), LINE))
            log4(start, mload(data), topic, caller(), mload(head), mload(add(line, 0x20)))
        }
    }
}
