// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";

/// @title Directory of the contracts of one chain
contract Directory is IDirectory, AccessManaged {
    struct Entry {
        bytes32 name;
        Status status;
        uint32 generation;
        uint64 pausedUntil;
    }

    /// @notice Longest pause of an entry, the longest exit delay.
    uint64 public constant MAX_PAUSE = 14 days;
    /// @notice How long an entry stays open between two pauses, so that pauses never add up to an end.
    uint64 public constant PAUSE_REST = 14 days;

    mapping(address target => Entry) private _entries;
    mapping(bytes32 name => address target) private _active;
    mapping(bytes32 name => uint32) private _generations;

    constructor(address manager) AccessManaged(manager) {}

    /// @inheritdoc IDirectory
    function list(bytes32 name, address target) external restricted {
        if (name == 0 || target.code.length == 0) revert Directory_InvalidEntry(name, target);
        if (_entries[target].status != Status.None) revert Directory_AlreadyListed(target);
        if (_active[name] != address(0)) revert Directory_NameTaken(name, _active[name]);
        _entries[target] = Entry(name, Status.Active, ++_generations[name], 0);
        _active[name] = target;
        emit StatusChanged(name, target, Status.Active);
    }

    /// @inheritdoc IDirectory
    function advance(address target, Status to) external restricted {
        Entry storage entry = _entries[target];
        Status from = entry.status;
        if (from == Status.None || uint8(to) != uint8(from) + 1) revert Directory_InvalidStep(target, from, to);
        if (from == Status.Active) delete _active[entry.name];
        entry.status = to;
        emit StatusChanged(entry.name, target, to);
    }

    /// @inheritdoc IDirectory
    function pauseEntry(address target, uint64 until) external restricted {
        Entry storage entry = _entries[target];
        if (entry.status != Status.Active) revert Directory_NotActive(target, entry.status);
        if (until <= block.timestamp || until > block.timestamp + MAX_PAUSE) {
            revert Directory_InvalidPause(target, until);
        }
        uint64 last = entry.pausedUntil;
        if (last != 0 && block.timestamp < last + PAUSE_REST) revert Directory_PausedBefore(target, last);
        entry.pausedUntil = until;
        emit EntryPaused(entry.name, target, until);
    }

    /// @inheritdoc IDirectory
    function statusOf(address target) external view returns (Status) {
        return _entries[target].status;
    }

    /// @inheritdoc IDirectory
    function nameOf(address target) external view returns (bytes32) {
        return _entries[target].name;
    }

    /// @inheritdoc IDirectory
    function generationOf(address target) external view returns (uint32 generation) {
        generation = _entries[target].generation;
        if (generation == 0) revert Directory_NotListed(target);
    }

    /// @inheritdoc IDirectory
    function activeOf(bytes32 name) external view returns (address) {
        return _active[name];
    }

    /// @inheritdoc IDirectory
    function pausedUntil(address target) external view returns (uint64) {
        return _entries[target].pausedUntil;
    }

    /// @inheritdoc IDirectory
    function requireActive(address target) external view {
        Entry storage entry = _entries[target];
        if (entry.status != Status.Active) revert Directory_NotActive(target, entry.status);
        if (block.timestamp < entry.pausedUntil) revert Directory_EntryPaused(target, entry.pausedUntil);
    }
}
