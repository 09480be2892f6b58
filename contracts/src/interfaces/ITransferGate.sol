// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Who may hold the shares of an asset, and move them
/// @notice Shares ask the gate that was named at their creation; without a gate everyone may hold them, and nobody may
/// freeze or move another's. `from` is the zero address when the supply is created.
interface ITransferGate {
    /// @notice Whether the account may send shares of the asset.
    function canSend(bytes32 assetId, address account) external view returns (bool);

    /// @notice Whether the account may receive shares of the asset, or votes.
    function canReceive(bytes32 assetId, address account) external view returns (bool);

    /// @notice Whether this transfer of shares of the asset may happen.
    function canTransfer(bytes32 assetId, address from, address to, uint256 amount) external view returns (bool);
}
