// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Directory of the contracts of one chain
/// @notice Names every Licet contract and says in which state of life its generation is. Contracts that would
/// otherwise need each other's address in both directions find each other here.
/// @dev A name is ASCII, right-padded with zero bytes: `bytes32("LicenseSale")`.
interface IDirectory {
    /// @notice Life of a contract; it only moves forward.
    /// None: not listed. Active: open. Retiring: entry closed for good; exit, claim and settlement stay open.
    /// Retired: history.
    enum Status {
        None,
        Active,
        Retiring,
        Retired
    }

    /// @notice The status of a listed contract changed.
    event StatusChanged(bytes32 indexed name, address indexed target, Status status);

    /// @notice The entry of an active contract is closed until then, Unix seconds.
    event EntryPaused(bytes32 indexed name, address indexed target, uint64 until);

    /// @notice The entry is closed until then.
    error Directory_EntryPaused(address target, uint64 until);
    /// @notice A pause ends later than now, and at most `MAX_PAUSE` later.
    error Directory_InvalidPause(address target, uint64 until);
    /// @notice The last pause ends or ended then; the next one begins `PAUSE_REST` later at the earliest.
    error Directory_PausedBefore(address target, uint64 until);
    /// @notice Another contract of that name is active; retire it first.
    error Directory_NameTaken(bytes32 name, address active);
    /// @notice The contract is listed already; a generation is listed once.
    error Directory_AlreadyListed(address target);
    /// @notice Names and addresses are not empty, and a target has code.
    error Directory_InvalidEntry(bytes32 name, address target);
    /// @notice A status moves only forward, one step at a time.
    error Directory_InvalidStep(address target, Status from, Status to);
    /// @notice The contract was never listed.
    error Directory_NotListed(address target);
    /// @notice A caller needed an active contract.
    error Directory_NotActive(address target, Status status);

    /// @notice Lists `target` under `name` as active. Restricted.
    function list(bytes32 name, address target) external;

    /// @notice Moves `target` one step: Active → Retiring → Retired. Restricted.
    function advance(address target, Status to) external;

    /// @notice Closes the entry of an active contract until then, for at most `MAX_PAUSE`. Restricted. Exits, claims and
    /// settlement ask nobody whether an entry is paused.
    function pauseEntry(address target, uint64 until) external;

    /// @notice Status of a contract, None when it was never listed.
    function statusOf(address target) external view returns (Status);

    /// @notice Name under which a contract is listed, zero when it was never listed.
    function nameOf(address target) external view returns (bytes32);

    /// @notice How many contracts of its name were listed until then, itself included: 1 for the first. Reverts when it
    /// was never listed.
    function generationOf(address target) external view returns (uint32);

    /// @notice The active contract of a name, the zero address when there is none.
    function activeOf(bytes32 name) external view returns (address);

    /// @notice End of the last pause of a contract's entry, 0 when there was none.
    function pausedUntil(address target) external view returns (uint64);

    /// @notice Reverts with `Directory_NotActive` unless `target` is active, and with `Directory_EntryPaused` while its
    /// entry is paused. For entries alone.
    function requireActive(address target) external view;
}
