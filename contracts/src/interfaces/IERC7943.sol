// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title ERC-7943: fungible tokens with rules of transfer
/// @dev https://eips.ethereum.org/EIPS/eip-7943, interface id 0x3edbb4c4
interface IERC7943Fungible is IERC165 {
    /// @notice Tokens were moved by the authority over transfers, not by their holder.
    event ForcedTransfer(address indexed from, address indexed to, uint256 amount);
    /// @notice `amount` of the account's tokens are frozen from now on, absolute.
    event Frozen(address indexed account, uint256 amount);

    /// @notice The account may not send tokens.
    error ERC7943CannotSend(address account);
    /// @notice The account may not receive tokens.
    error ERC7943CannotReceive(address account);
    /// @notice The rules refuse this transfer.
    error ERC7943CannotTransfer(address from, address to, uint256 amount);
    /// @notice The account has more than `amount`, but not of it that is not frozen.
    error ERC7943InsufficientUnfrozenBalance(address account, uint256 amount, uint256 unfrozen);

    /// @notice Moves tokens whatever their holder says, frozen ones too.
    function forcedTransfer(address from, address to, uint256 amount) external returns (bool result);

    /// @notice Freezes this many of the account's tokens, absolute; it may be more than there are.
    function setFrozenTokens(address account, uint256 amount) external returns (bool result);

    /// @notice Whether the account may send tokens.
    function canSend(address account) external view returns (bool allowed);

    /// @notice Whether the account may receive tokens.
    function canReceive(address account) external view returns (bool allowed);

    /// @notice How many of the account's tokens are frozen.
    function getFrozenTokens(address account) external view returns (uint256 amount);

    /// @notice Whether the transfer would go through now, allowances aside.
    function canTransfer(address from, address to, uint256 amount) external view returns (bool allowed);
}
