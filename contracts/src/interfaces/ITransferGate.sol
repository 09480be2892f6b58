// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Who may hold the shares of an asset, move them, vote with them, and be paid what they earned
/// @notice Shares ask the gate that was named at their creation; without a gate everyone may hold them, and nobody may
/// freeze or move another's. `from` is the zero address when the supply is created. What a gate refuses to pay stays
/// the holder's: no answer of a gate lowers what an account can claim.
interface ITransferGate {
    /// @notice Whether the account may send shares of the asset.
    function canSend(bytes32 assetId, address account) external view returns (bool);

    /// @notice Whether the account may receive shares of the asset.
    function canReceive(bytes32 assetId, address account) external view returns (bool);

    /// @notice Whether votes of the asset's shares may be delegated to the account.
    function canVote(bytes32 assetId, address account) external view returns (bool);

    /// @notice Whether revenue that `holder` has earned with shares of the asset may be paid to `to`, which the holder
    /// names and which may be the holder itself.
    function canBePaid(bytes32 assetId, address holder, address to) external view returns (bool);

    /// @notice Whether this transfer of shares of the asset may happen.
    function canTransfer(bytes32 assetId, address from, address to, uint256 amount) external view returns (bool);
}
