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
    }

    mapping(address target => Entry) private _entries;
    mapping(bytes32 name => address target) private _active;
    mapping(bytes32 name => uint32) private _generations;

    constructor(address manager) AccessManaged(manager) {}

    /// @inheritdoc IDirectory
    function list(bytes32 name, address target) external restricted {
        if (name == 0 || target.code.length == 0) revert Directory_InvalidEntry(name, target);
        if (_entries[target].status != Status.None) revert Directory_AlreadyListed(target);
        if (_active[name] != address(0)) revert Directory_NameTaken(name, _active[name]);
        _entries[target] = Entry(name, Status.Active, ++_generations[name]);
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
    function requireActive(address target) external view {
        Status status = _entries[target].status;
        if (status != Status.Active) revert Directory_NotActive(target, status);
    }
}
