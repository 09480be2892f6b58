// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IMandates} from "../interfaces/IMandates.sol";
import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";
import {DepositBook} from "./DepositBook.sol";
import {Mandates} from "./Mandates.sol";

/// @title Arithmetic of mandates
/// @notice Nothing is drawn beyond the amount and calls of a window, the amount in all, the time, or, once revoked, the
/// in-flight cap.
/// @dev Two windows are kept, by parity. That is enough: the grace is at most one window long, so that a window is
/// settled until the second one after it begins, and a revocation only ends windows earlier. A slot is therefore
/// written for a newer window only when its older one can never be settled again.
///
/// What is called seldom is external, that is, linked: the escrow alone would not fit into a contract.
library MandateBook {
    /// @notice Shortest window: many blocks of any chain, so that an item can be in time.
    uint32 internal constant MIN_WINDOW = 60 seconds;
    /// @notice Assets that a mandate lists; bounds what opening one writes.
    uint256 internal constant MAX_ASSETS = 16;

    struct Book {
        mapping(bytes32 mandateId => IMandates.MandateState) mandates;
        mapping(bytes32 mandateId => IMandates.WindowUse[2]) uses;
        mapping(bytes32 mandateId => mapping(bytes32 assetId => bool)) assets;
        mapping(address payer => mapping(uint256 nonce => bool)) usedNonces;
    }

    /// @notice Opens a mandate that its payer sends or has signed.
    function open(
        Book storage self,
        DepositBook.Book storage book,
        Mandates.Mandate calldata m,
        bytes calldata signature
    ) external returns (bytes32 id) {
        id = digest(m);
        if (msg.sender != m.payer && !SignatureChecker.isValidSignatureNowCalldata(m.payer, id, signature)) {
            revert IMandates.UsageEscrow_InvalidSignature(id, m.payer);
        }
        bytes32 depositId = DepositBook.idOf(m.payer, m.operator, m.token);
        if (book.deposits[depositId].payer == address(0)) revert IMandates.UsageEscrow_UnknownDeposit(depositId);
        _check(m);
        _useNonce(self, m.payer, m.nonce);
        self.mandates[id] = IMandates.MandateState({
            depositId: depositId,
            windowAmount: m.windowAmount,
            remaining: m.totalAmount,
            validFrom: m.validFrom,
            validUntil: m.validUntil,
            windowLength: m.windowLength,
            windowRecords: m.windowRecords,
            grace: m.grace,
            anyAsset: m.assets.length == 0,
            revoked: false,
            inFlightCap: m.inFlightCap
        });
        for (uint256 i = 0; i < m.assets.length; ++i) {
            self.assets[id][m.assets[i]] = true;
        }
        emit IMandates.MandateOpened(id, m.payer, m.operator, depositId, m);
    }

    /// @notice Ends the caller's mandate now and leaves at most its in-flight cap to be drawn.
    function revoke(Book storage self, DepositBook.Book storage book, bytes32 id) external {
        IMandates.MandateState storage mandate = self.mandates[id];
        if (mandate.depositId == 0) revert IMandates.UsageEscrow_UnknownMandate(id);
        IUsageEscrow.Deposit storage entry = book.deposits[mandate.depositId];
        if (entry.payer != msg.sender) revert IMandates.UsageEscrow_NotMandatePayer(id, msg.sender);
        if (mandate.revoked) revert IMandates.UsageEscrow_MandateIsRevoked(id);
        uint64 present = uint64(block.timestamp);
        mandate.revoked = true;
        if (present < mandate.validUntil) mandate.validUntil = present;
        if (mandate.inFlightCap < mandate.remaining) mandate.remaining = mandate.inFlightCap;
        // Exact wherever use can still be settled; beyond 64 bits of seconds nothing is.
        uint256 end = uint256(mandate.validUntil) + mandate.grace;
        // forge-lint: disable-next-line(unsafe-typecast)
        uint64 settleUntil = end < type(uint64).max ? uint64(end) : type(uint64).max;
        emit IMandates.MandateRevoked(
            id, entry.payer, entry.operator, entry.token, present, settleUntil, mandate.remaining
        );
    }

    /// @notice Uses up a nonce of the caller.
    function cancelNonce(Book storage self, uint256 nonce) external {
        _useNonce(self, msg.sender, nonce);
        emit IMandates.MandateNonceCancelled(msg.sender, nonce);
    }

    /// @notice What an item could draw now, as far as its mandate goes; 0 where it may draw nothing.
    function remainder(Book storage self, IUsageEscrow.Item calldata item) internal view returns (uint128) {
        bytes32 id = item.source;
        IMandates.MandateState storage mandate = self.mandates[id];
        if (item.records == 0 || !_isSettled(mandate, item.window) || !covers(self, id, item.assetId)) return 0;
        IMandates.WindowUse memory use = _useOf(self, id, item.window);
        if (uint256(use.records) + item.records > mandate.windowRecords) return 0;
        uint128 room = mandate.windowAmount - use.amount;
        return room < mandate.remaining ? room : mandate.remaining;
    }

    /// @notice Counts `amount`, which is at most the item's remainder.
    function count(Book storage self, IUsageEscrow.Item calldata item, address operator, uint128 amount) internal {
        bytes32 id = item.source;
        IMandates.MandateState storage mandate = self.mandates[id];
        IMandates.WindowUse memory use = _useOf(self, id, item.window);
        use.amount += amount;
        use.records += item.records;
        self.uses[id][item.window % 2] = use;
        mandate.remaining -= amount;
        emit IMandates.MandateDrawn(
            id, mandate.depositId, operator, use.window, amount, use.amount, use.records, mandate.remaining
        );
    }

    /// @notice Whether the mandate lets the asset be used.
    function covers(Book storage self, bytes32 id, bytes32 assetId) internal view returns (bool) {
        return self.mandates[id].anyAsset || self.assets[id][assetId];
    }

    /// @notice Id of a mandate of this escrow.
    function digest(Mandates.Mandate calldata m) public view returns (bytes32) {
        return Mandates.digest(address(this), m);
    }

    function _useNonce(Book storage self, address payer, uint256 nonce) private {
        if (self.usedNonces[payer][nonce]) revert IMandates.UsageEscrow_NonceUsed(payer, nonce);
        self.usedNonces[payer][nonce] = true;
    }

    function _check(Mandates.Mandate calldata m) private view {
        if (m.windowAmount == 0 || m.totalAmount == 0 || m.windowRecords == 0) {
            revert IUsageEscrow.UsageEscrow_ZeroAmount();
        }
        if (m.windowLength < MIN_WINDOW || m.grace > m.windowLength) {
            revert IMandates.UsageEscrow_InvalidMandateWindow(m.windowLength, m.grace);
        }
        if (m.validFrom >= m.validUntil || m.validUntil <= block.timestamp) {
            revert IMandates.UsageEscrow_InvalidMandateTime(m.validFrom, m.validUntil);
        }
        if (m.assets.length > MAX_ASSETS) revert IMandates.UsageEscrow_TooManyAssets(m.assets.length);
    }

    /// @dev Whether use of the window is settled now: it has begun, and its grace is not over.
    function _isSettled(IMandates.MandateState storage mandate, uint32 window) private view returns (bool) {
        uint256 start = uint256(mandate.validFrom) + uint256(window) * mandate.windowLength;
        uint256 end = start + mandate.windowLength;
        if (end > mandate.validUntil) end = mandate.validUntil;
        return start < end && start <= block.timestamp && block.timestamp < end + mandate.grace;
    }

    function _useOf(Book storage self, bytes32 id, uint32 window)
        private
        view
        returns (IMandates.WindowUse memory use)
    {
        use = self.uses[id][window % 2];
        if (use.window != window) use = IMandates.WindowUse(window, 0, 0);
    }
}
