// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {INetworkToken} from "./interfaces/INetworkToken.sol";

/// @title Votes on the protocol
contract NetworkToken is INetworkToken, ERC20, ERC20Permit, ERC20Votes {
    /// @notice All that there ever is.
    uint256 public constant SUPPLY = 1_000_000_000e18;

    constructor(address[] memory accounts, uint256[] memory amounts)
        ERC20("Licet Network", "LICET")
        ERC20Permit("Licet Network")
    {
        bool isPaired = accounts.length == amounts.length;
        for (uint256 i = 0; isPaired && i < accounts.length; ++i) {
            if (amounts[i] == 0) isPaired = false;
            _mint(accounts[i], amounts[i]);
        }
        if (!isPaired || totalSupply() != SUPPLY) {
            revert NetworkToken_InvalidDistribution(accounts.length, amounts.length, totalSupply());
        }
    }

    /// @notice Votes are counted by time, in Unix seconds (ERC-6372).
    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    /// @notice How `clock` counts (ERC-6372).
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    /// @notice Next nonce of an account, for permits and for delegations by signature.
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }
}
