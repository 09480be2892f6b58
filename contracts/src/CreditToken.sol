// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {ERC1155Supply} from "@openzeppelin/contracts/token/ERC1155/extensions/ERC1155Supply.sol";
import {ICreditToken} from "./interfaces/ICreditToken.sol";
import {ICredits} from "./interfaces/ICredits.sol";

/// @title One series of credits as an ERC-20
/// @notice A clone for each series. It keeps allowances alone: balances, supply and rules are those of `Credits`, so
/// that whatever moves by one of the two standards has moved by the other.
contract CreditToken is IERC20Metadata, IERC20Errors, ICreditToken {
    /// @inheritdoc ICreditToken
    address public immutable credits;

    mapping(address owner => mapping(address spender => uint256)) private _allowances;

    /// @dev The code that is cloned; `Credits` makes it, and so each clone knows it.
    constructor() {
        credits = msg.sender;
    }

    /// @inheritdoc IERC20
    function transfer(address to, uint256 units) external returns (bool) {
        _move(msg.sender, msg.sender, to, units);
        return true;
    }

    /// @inheritdoc IERC20
    function approve(address spender, uint256 units) external returns (bool) {
        if (spender == address(0)) revert ERC20InvalidSpender(spender);
        _allowances[msg.sender][spender] = units;
        emit Approval(msg.sender, spender, units);
        return true;
    }

    /// @inheritdoc IERC20
    function transferFrom(address from, address to, uint256 units) external returns (bool) {
        uint256 allowed = _allowances[from][msg.sender];
        if (allowed != type(uint256).max) {
            if (allowed < units) revert ERC20InsufficientAllowance(msg.sender, allowed, units);
            _allowances[from][msg.sender] = allowed - units;
        }
        _move(msg.sender, from, to, units);
        return true;
    }

    /// @inheritdoc ICreditToken
    function tell(address from, address to, uint256 units) external {
        if (msg.sender != credits) revert CreditToken_NotCredits(msg.sender);
        emit Transfer(from, to, units);
    }

    /// @inheritdoc IERC20Metadata
    function name() external pure returns (string memory) {
        return "Licet credits";
    }

    /// @inheritdoc IERC20Metadata
    function symbol() external pure returns (string memory) {
        return "CREDIT";
    }

    /// @inheritdoc IERC20Metadata
    function decimals() external pure returns (uint8) {
        return 0;
    }

    /// @inheritdoc IERC20
    function totalSupply() external view returns (uint256) {
        return ERC1155Supply(credits).totalSupply(uint160(address(this)));
    }

    /// @inheritdoc IERC20
    function balanceOf(address account) external view returns (uint256) {
        return account == address(0) ? 0 : IERC1155(credits).balanceOf(account, uint160(address(this)));
    }

    /// @inheritdoc IERC20
    function allowance(address owner, address spender) external view returns (uint256) {
        return _allowances[owner][spender];
    }

    function _move(address mover, address from, address to, uint256 units) private {
        if (from == address(0)) revert ERC20InvalidSender(from);
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        ICredits(credits).moveFor(mover, from, to, units);
    }
}
