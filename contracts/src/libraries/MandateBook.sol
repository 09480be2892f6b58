// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IMandates} from "../interfaces/IMandates.sol";
import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";
import {DepositBook} from "./DepositBook.sol";
import {Mandates} from "./Mandates.sol";

/// @title Arithmetic of mandates
/// @notice Nothing is drawn beyond the amount and calls of a window, the amount in all, the time, or, once revoked, the
/// in-flight cap.
/// @dev Two windows are kept: the newest one that was drawn for, and the one before it. That is enough: the grace is at
/// most one window long, so that a window is settled until the second one after it begins, and a revocation only ends
/// windows earlier.
///
/// A draw reads two words and writes one, so they are packed tightly, and found under the hash of mandate and deposit:
/// a mandate that is named with another's deposit is unknown there.
library MandateBook {
    /// @notice Shortest window: many blocks of any chain, so that an item can be in time.
    uint32 internal constant MIN_WINDOW = 60 seconds;
    /// @notice Assets that a mandate lists; bounds what opening one writes.
    uint256 internal constant MAX_ASSETS = 16;

    /// @dev One word.
    struct Terms {
        uint88 windowAmount;
        uint40 validFrom;
        uint40 validUntil;
        uint24 windowLength;
        uint24 windowRecords;
        uint24 grace;
        bool anyAsset;
        bool revoked;
    }

    /// @dev One word: what is left in all, and what was drawn for the newest window.
    struct Use {
        uint88 remaining;
        uint32 window;
        uint88 amount;
        uint24 records;
        uint24 previousRecords;
    }

    /// @dev One word that only late draws and revocations touch.
    struct Rest {
        uint88 previousAmount;
        uint88 inFlightCap;
    }

    // Where the members begin in their words, in bits; windowAmount and remaining are lowest.
    uint256 private constant VALID_FROM = 88;
    uint256 private constant VALID_UNTIL = 128;
    uint256 private constant WINDOW_LENGTH = 168;
    uint256 private constant WINDOW_RECORDS = 192;
    uint256 private constant GRACE = 216;
    uint256 private constant ANY_ASSET = 240;
    uint256 private constant WINDOW = 88;
    uint256 private constant AMOUNT = 120;
    uint256 private constant RECORDS = 208;
    uint256 private constant PREVIOUS_RECORDS = 232;

    struct Book {
        mapping(bytes32 mandateId => bytes32 depositId) deposits;
        mapping(bytes32 key => Terms) terms;
        mapping(bytes32 key => Use) uses;
        mapping(bytes32 key => Rest) rests;
        mapping(bytes32 key => mapping(bytes32 assetId => bool)) assets;
        mapping(address payer => mapping(uint256 nonce => bool)) usedNonces;
    }

    /// @notice Opens a mandate that its payer sends or has signed.
    function open(
        Book storage self,
        DepositBook.Book storage book,
        Mandates.Mandate calldata m,
        bytes calldata signature
    ) internal returns (bytes32 id) {
        id = digest(m);
        if (msg.sender != m.payer && !SignatureChecker.isValidSignatureNowCalldata(m.payer, id, signature)) {
            revert IMandates.UsageEscrow_InvalidSignature(id, m.payer);
        }
        bytes32 depositId = DepositBook.idOf(m.payer, m.operator, m.token);
        if (book.parties[depositId].payer == address(0)) revert IMandates.UsageEscrow_UnknownDeposit(depositId);
        _check(m);
        _useNonce(self, m.payer, m.nonce);
        bytes32 key = _keyOf(id, depositId);
        self.deposits[id] = depositId;
        self.terms[key] = _termsOf(m);
        self.uses[key].remaining = _amount(m.totalAmount);
        self.rests[key].inFlightCap = _amount(m.inFlightCap);
        for (uint256 i = 0; i < m.assets.length; ++i) {
            self.assets[key][m.assets[i]] = true;
        }
        emit IMandates.MandateOpened(id, m.payer, m.operator, depositId, m);
    }

    /// @notice Ends the caller's mandate now and leaves at most its in-flight cap to be drawn.
    function revoke(Book storage self, DepositBook.Book storage book, bytes32 id) internal {
        bytes32 depositId = self.deposits[id];
        if (depositId == 0) revert IMandates.UsageEscrow_UnknownMandate(id);
        DepositBook.Party memory party = book.parties[depositId];
        if (party.payer != msg.sender) revert IMandates.UsageEscrow_NotMandatePayer(id, msg.sender);
        bytes32 key = _keyOf(id, depositId);
        Terms storage terms = self.terms[key];
        if (terms.revoked) revert IMandates.UsageEscrow_MandateIsRevoked(id);
        uint64 present = uint64(block.timestamp);
        terms.revoked = true;
        // casting to 'uint40' is safe because the present is before the end
        // forge-lint: disable-next-line(unsafe-typecast)
        if (present < terms.validUntil) terms.validUntil = uint40(present);
        uint88 cap = self.rests[key].inFlightCap;
        if (cap < self.uses[key].remaining) self.uses[key].remaining = cap;
        emit IMandates.MandateRevoked(
            id,
            party.payer,
            party.operator,
            party.token,
            present,
            uint64(terms.validUntil) + terms.grace,
            self.uses[key].remaining
        );
    }

    /// @notice Uses up a nonce of the caller.
    function cancelNonce(Book storage self, uint256 nonce) internal {
        _useNonce(self, msg.sender, nonce);
        emit IMandates.MandateNonceCancelled(msg.sender, nonce);
    }

    /// @notice A mandate, as `IMandates` shows it.
    function stateOf(Book storage self, bytes32 id) internal view returns (IMandates.MandateState memory) {
        bytes32 depositId = self.deposits[id];
        bytes32 key = _keyOf(id, depositId);
        Terms memory terms = self.terms[key];
        return IMandates.MandateState({
            depositId: depositId,
            windowAmount: terms.windowAmount,
            remaining: self.uses[key].remaining,
            validFrom: terms.validFrom,
            validUntil: terms.validUntil,
            windowLength: terms.windowLength,
            windowRecords: terms.windowRecords,
            grace: terms.grace,
            anyAsset: terms.anyAsset,
            revoked: terms.revoked,
            inFlightCap: self.rests[key].inFlightCap
        });
    }

    /// @notice What was drawn for the newest window and for the one before it.
    function usesOf(Book storage self, bytes32 id) internal view returns (IMandates.WindowUse[2] memory uses) {
        bytes32 key = _keyOf(id, self.deposits[id]);
        Use memory use = self.uses[key];
        uses[0] = IMandates.WindowUse(use.window, use.records, use.amount);
        if (use.window == 0) return uses;
        uses[1] = IMandates.WindowUse(use.window - 1, use.previousRecords, self.rests[key].previousAmount);
    }

    /// @notice Draws what the mandate and its deposit let be drawn for an item; 0 where that is nothing.
    /// @return isOpened Whether this mandate was opened for this deposit.
    function draw(Book storage self, DepositBook.Book storage book, bytes32 depositId, IUsageEscrow.Line memory line)
        internal
        returns (bool isOpened, uint128 paid)
    {
        bytes32 key = _keyOf(line.authority, depositId);
        uint256 terms = _load(self.terms[key]);
        // An amount of 0 is never signed.
        if (terms == 0) return (false, 0);
        bool isCovered = (terms >> ANY_ASSET) & 1 != 0 || self.assets[key][line.assetId];
        if (!isCovered || !_isSettled(terms, line.window)) return (true, 0);
        uint256 use = _load(self.uses[key]);
        (uint256 drawn, uint256 records) = _drawnFor(self, key, use, line.window);
        unchecked {
            records += line.records;
            // forge-lint: disable-next-line(unsafe-typecast)
            if (line.records == 0 || records > uint24(terms >> WINDOW_RECORDS)) return (true, 0);
            // casting to 'uint88' takes the lowest part of each word
            // forge-lint: disable-next-line(unsafe-typecast)
            paid = _least(line.amount, uint88(terms) - drawn, uint88(use));
        }
        paid = DepositBook.draw(book, depositId, paid, false);
        if (paid != 0) _count(self, key, use, line, paid);
        return (true, paid);
    }

    /// @notice Whether the mandate lets the asset be used.
    function covers(Book storage self, bytes32 id, bytes32 assetId) internal view returns (bool) {
        bytes32 key = _keyOf(id, self.deposits[id]);
        return self.terms[key].anyAsset || self.assets[key][assetId];
    }

    /// @notice Id of a mandate of this escrow.
    function digest(Mandates.Mandate calldata m) internal view returns (bytes32) {
        return Mandates.digest(address(this), m);
    }

    /// @dev What was drawn for a window that is not over.
    function _drawnFor(Book storage self, bytes32 key, uint256 use, uint32 window)
        private
        view
        returns (uint256 amount, uint256 records)
    {
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 newest = uint32(use >> WINDOW);
        // forge-lint: disable-next-line(unsafe-typecast)
        if (window == newest) return (uint88(use >> AMOUNT), uint24(use >> RECORDS));
        if (window > newest) return (0, 0);
        // forge-lint: disable-next-line(unsafe-typecast)
        return (self.rests[key].previousAmount, uint24(use >> PREVIOUS_RECORDS));
    }

    /// @dev Counts a draw, which the limits allow, so that no part of the word runs over into the next.
    function _count(Book storage self, bytes32 key, uint256 use, IUsageEscrow.Line memory line, uint128 paid) private {
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 newest = uint32(use >> WINDOW);
        if (line.window < newest) {
            // casting to 'uint88' is safe because the amount is within the window's
            // forge-lint: disable-next-line(unsafe-typecast)
            self.rests[key].previousAmount += uint88(paid);
            use += uint256(line.records) << PREVIOUS_RECORDS;
        } else {
            if (line.window != newest) use = _advance(self, key, use, line.window);
            use += (uint256(paid) << AMOUNT) + (uint256(line.records) << RECORDS);
        }
        Use storage place = self.uses[key];
        assembly ("memory-safe") {
            sstore(place.slot, sub(use, paid))
        }
    }

    /// @dev Begins a newer window. What is older than the one before it can never be settled again.
    function _advance(Book storage self, bytes32 key, uint256 use, uint32 window) private returns (uint256) {
        // forge-lint: disable-next-line(unsafe-typecast)
        bool follows = window == uint32(use >> WINDOW) + 1;
        // forge-lint: disable-next-line(unsafe-typecast)
        uint88 amount = follows ? uint88(use >> AMOUNT) : 0;
        if (self.rests[key].previousAmount != amount) self.rests[key].previousAmount = amount;
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 records = follows ? uint24(use >> RECORDS) : 0;
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint256(uint88(use)) | (uint256(window) << WINDOW) | (records << PREVIOUS_RECORDS);
    }

    function _load(Terms storage terms) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(terms.slot)
        }
    }

    function _load(Use storage use) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(use.slot)
        }
    }

    function _useNonce(Book storage self, address payer, uint256 nonce) private {
        if (self.usedNonces[payer][nonce]) revert IMandates.UsageEscrow_NonceUsed(payer, nonce);
        self.usedNonces[payer][nonce] = true;
    }

    function _check(Mandates.Mandate calldata m) private view {
        if (m.windowAmount == 0 || m.totalAmount == 0 || m.windowRecords == 0) {
            revert IUsageEscrow.UsageEscrow_ZeroAmount();
        }
        if (m.windowLength < MIN_WINDOW || m.windowLength > type(uint24).max || m.grace > m.windowLength) {
            revert IMandates.UsageEscrow_InvalidMandateWindow(m.windowLength, m.grace);
        }
        bool isRepresentable = m.validUntil <= type(uint40).max;
        if (m.validFrom >= m.validUntil || m.validUntil <= block.timestamp || !isRepresentable) {
            revert IMandates.UsageEscrow_InvalidMandateTime(m.validFrom, m.validUntil);
        }
        if (m.windowRecords > type(uint24).max) revert IMandates.UsageEscrow_MandateTooLarge(m.windowRecords);
        if (m.assets.length > MAX_ASSETS) revert IMandates.UsageEscrow_TooManyAssets(m.assets.length);
    }

    /// @dev The mandate was checked, so that all but amounts fit.
    function _termsOf(Mandates.Mandate calldata m) private pure returns (Terms memory terms) {
        terms.windowAmount = _amount(m.windowAmount);
        // forge-lint: disable-next-line(unsafe-typecast)
        (terms.validFrom, terms.validUntil) = (uint40(m.validFrom), uint40(m.validUntil));
        // forge-lint: disable-next-line(unsafe-typecast)
        (terms.windowLength, terms.windowRecords) = (uint24(m.windowLength), uint24(m.windowRecords));
        // forge-lint: disable-next-line(unsafe-typecast)
        (terms.grace, terms.anyAsset) = (uint24(m.grace), m.assets.length == 0);
    }

    function _amount(uint128 value) private pure returns (uint88) {
        if (value > type(uint88).max) revert IMandates.UsageEscrow_MandateTooLarge(value);
        // casting to 'uint88' is safe because a larger value is not cast
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint88(value);
    }

    /// @dev Whether use of the window is settled now: it has begun, and its grace is not over.
    function _isSettled(uint256 terms, uint32 window) private view returns (bool) {
        // No part has more than 40 bits, so that nothing overflows.
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            uint256 length = uint24(terms >> WINDOW_LENGTH);
            // forge-lint: disable-next-line(unsafe-typecast)
            uint256 start = uint40(terms >> VALID_FROM) + window * length;
            uint256 end = start + length;
            // forge-lint: disable-next-line(unsafe-typecast)
            uint256 validUntil = uint40(terms >> VALID_UNTIL);
            if (end > validUntil) end = validUntil;
            // forge-lint: disable-next-line(unsafe-typecast)
            return start < end && start <= block.timestamp && block.timestamp < end + uint24(terms >> GRACE);
        }
    }

    function _least(uint256 a, uint256 b, uint256 c) private pure returns (uint128) {
        uint256 least = a < b ? a : b;
        if (c < least) least = c;
        // casting to 'uint128' is safe because `a` came with 128 bits
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint128(least);
    }

    function _keyOf(bytes32 id, bytes32 depositId) private pure returns (bytes32) {
        return Hashes.efficientKeccak256(id, depositId);
    }
}
