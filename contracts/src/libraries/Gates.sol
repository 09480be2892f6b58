// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC7943Fungible} from "../interfaces/IERC7943.sol";
import {ITransferGate} from "../interfaces/ITransferGate.sol";

/// @title What shares ask their gate; without one the answer is yes
library Gates {
    /// @notice What shares are, fixed at their creation but for the number of currencies.
    struct Rules {
        ITransferGate gate;
        uint8 currencies;
        bool votes;
        bytes32 assetId;
    }

    /// @notice Whether there is no gate.
    function isOpen(Rules storage self) internal view returns (bool) {
        return address(self.gate) == address(0);
    }

    /// @notice Whether the account may send shares.
    function allowsSend(Rules storage self, address account) internal view returns (bool) {
        return isOpen(self) || self.gate.canSend(self.assetId, account);
    }

    /// @notice Whether the account may receive shares.
    function allowsReceive(Rules storage self, address account) internal view returns (bool) {
        return isOpen(self) || self.gate.canReceive(self.assetId, account);
    }

    /// @notice Whether the account may have votes; the zero address has none to be refused.
    function allowsVote(Rules storage self, address account) internal view returns (bool) {
        return account == address(0) || isOpen(self) || self.gate.canVote(self.assetId, account);
    }

    /// @notice Whether what the holder has earned may be paid to this account.
    function allowsPayment(Rules storage self, address holder, address to) internal view returns (bool) {
        return isOpen(self) || self.gate.canBePaid(self.assetId, holder, to);
    }

    /// @notice Whether a movement is allowed, accounts and amount; `from` is the zero address at creation.
    function allowsTransfer(Rules storage self, address from, address to, uint256 amount) internal view returns (bool) {
        return isOpen(self) || self.gate.canTransfer(self.assetId, from, to, amount);
    }

    /// @notice Reverts with the reason where a movement is not allowed.
    function requireTransfer(Rules storage self, address from, address to, uint256 amount) internal view {
        if (isOpen(self)) return;
        if (from != address(0) && !allowsSend(self, from)) revert IERC7943Fungible.ERC7943CannotSend(from);
        if (!allowsReceive(self, to)) revert IERC7943Fungible.ERC7943CannotReceive(to);
        if (!allowsTransfer(self, from, to, amount)) {
            revert IERC7943Fungible.ERC7943CannotTransfer(from, to, amount);
        }
    }
}
