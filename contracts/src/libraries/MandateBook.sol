// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
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
/// A draw for the newest window reads one word and writes it, so that has all that such a draw needs; any other draw reads
/// the terms as well. Both are found under the hash of mandate and deposit: a mandate that is named with another's deposit
/// is unknown there.
library MandateBook {
    /// @notice Shortest window: many blocks of any chain, so that an item can be in time.
    uint32 internal constant MIN_WINDOW = 60 seconds;
    /// @notice Assets that a mandate lists; bounds what opening one writes.
    uint256 internal constant MAX_ASSETS = 16;

    /// @notice Latest end of a mandate, in the year 2105: with its grace, the word of its use can hold it.
    uint256 internal constant MAX_END = 2 ** 32 - 2 ** 24;

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

    /// @dev What is left in all and of the newest window that was drawn for, NO_WINDOW before the first, and until when
    /// that one is settled. Kept as one word, from its lowest bits on: 88 totalLeft, 87 windowLeft, 1 anyAsset,
    /// 24 recordsLeft, 24 window, 32 settleUntil.
    struct Use {
        uint256 totalLeft;
        uint256 windowLeft;
        bool anyAsset;
        uint256 recordsLeft;
        uint256 window;
        uint256 settleUntil;
    }

    /// @dev One word that only draws of other windows, and revocations, touch.
    struct Rest {
        uint88 previousAmount;
        uint24 previousRecords;
        uint88 inFlightCap;
    }

    struct Entry {
        uint256 use;
        Terms terms;
        Rest rest;
        mapping(bytes32 assetId => bool) assets;
    }

    uint256 private constant NO_WINDOW = type(uint24).max;
    /// @dev Most that a window may be drawn for.
    uint256 internal constant WINDOW_MOST = 2 ** 87 - 1;
    // Where the parts of the word begin, in bits.
    uint256 private constant WINDOW_LEFT = 88;
    uint256 private constant ANY_ASSET = 175;
    uint256 private constant RECORDS_LEFT = 176;
    uint256 private constant WINDOW = 200;
    uint256 private constant SETTLE_UNTIL = 224;

    struct Book {
        mapping(bytes32 mandateId => bytes32 depositId) deposits;
        mapping(bytes32 key => Entry) entries;
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
        self.deposits[id] = depositId;
        Entry storage entry = _entryOf(self, id, depositId);
        entry.terms = _termsOf(m);
        entry.use = pack(Use(_amount(m.totalAmount), 0, m.assets.length == 0, 0, NO_WINDOW, 0));
        entry.rest.inFlightCap = _amount(m.inFlightCap);
        for (uint256 i = 0; i < m.assets.length; ++i) {
            entry.assets[m.assets[i]] = true;
        }
        emit IMandates.MandateOpened(id, m.payer, m.operator, depositId, m);
    }

    /// @notice Ends the caller's mandate now and leaves at most its in-flight cap to be drawn.
    function revoke(Book storage self, DepositBook.Book storage book, bytes32 id) internal {
        bytes32 depositId = self.deposits[id];
        if (depositId == 0) revert IMandates.UsageEscrow_UnknownMandate(id);
        DepositBook.Party memory party = book.parties[depositId];
        if (party.payer != msg.sender) revert IMandates.UsageEscrow_NotMandatePayer(id, msg.sender);
        Entry storage entry = _entryOf(self, id, depositId);
        Terms storage terms = entry.terms;
        if (terms.revoked) revert IMandates.UsageEscrow_MandateIsRevoked(id);
        uint64 present = uint64(block.timestamp);
        terms.revoked = true;
        // casting to 'uint40' is safe because the present is before the end
        // forge-lint: disable-next-line(unsafe-typecast)
        if (present < terms.validUntil) terms.validUntil = uint40(present);
        Use memory use = unpack(entry.use);
        use.totalLeft = Math.min(use.totalLeft, entry.rest.inFlightCap);
        if (use.window != NO_WINDOW) use.settleUntil = settleUntil(terms, use.window);
        entry.use = pack(use);
        emit IMandates.MandateRevoked(
            id,
            party.payer,
            party.operator,
            party.token,
            present,
            uint64(terms.validUntil) + terms.grace,
            uint128(use.totalLeft)
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
        Entry storage entry = _entryOf(self, id, depositId);
        Terms memory terms = entry.terms;
        return IMandates.MandateState({
            depositId: depositId,
            windowAmount: terms.windowAmount,
            remaining: uint128(unpack(entry.use).totalLeft),
            validFrom: terms.validFrom,
            validUntil: terms.validUntil,
            windowLength: terms.windowLength,
            windowRecords: terms.windowRecords,
            grace: terms.grace,
            anyAsset: terms.anyAsset,
            revoked: terms.revoked,
            inFlightCap: entry.rest.inFlightCap
        });
    }

    /// @notice What was drawn for the newest window and for the one before it.
    function usesOf(Book storage self, bytes32 id) internal view returns (IMandates.WindowUse[2] memory uses) {
        Entry storage entry = _entryOf(self, id, self.deposits[id]);
        Use memory use = unpack(entry.use);
        if (entry.use == 0 || use.window == NO_WINDOW) return uses;
        Terms memory terms = entry.terms;
        uses[0] = _windowUse(use.window, terms.windowRecords - use.recordsLeft, terms.windowAmount - use.windowLeft);
        if (use.window == 0) return uses;
        uses[1] = _windowUse(use.window - 1, entry.rest.previousRecords, entry.rest.previousAmount);
    }

    /// @notice Draws what the mandate and its deposit let be drawn for an item; 0 where that is nothing.
    /// @return isOpened Whether this mandate was opened for this deposit.
    function draw(Book storage self, DepositBook.Book storage book, bytes32 depositId, IUsageEscrow.Line memory line)
        internal
        returns (bool isOpened, uint128 paid)
    {
        Entry storage entry = _entryOf(self, line.authority, depositId);
        uint256 use = entry.use;
        // A mandate that was opened has something left, or a window, or the end of one.
        if (use == 0) return (false, 0);
        if ((use >> ANY_ASSET) & 1 == 0 && !entry.assets[line.assetId]) return (true, 0);
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            bool isNewest = line.window == uint24(use >> WINDOW) && block.timestamp < use >> SETTLE_UNTIL;
            if (!isNewest) return (true, _drawOther(entry, book, depositId, line));
            // forge-lint: disable-next-line(unsafe-typecast)
            if (line.records == 0 || line.records > uint24(use >> RECORDS_LEFT)) return (true, 0);
            // casting takes the lowest part of the word
            // forge-lint: disable-next-line(unsafe-typecast)
            paid = _least(line.amount, (use >> WINDOW_LEFT) & WINDOW_MOST, uint88(use));
            paid = DepositBook.draw(book, depositId, paid, false);
            // Each part has at least what is taken from it, so that none runs over into the next.
            if (paid != 0) {
                entry.use = use - paid - (uint256(paid) << WINDOW_LEFT) - (uint256(line.records) << RECORDS_LEFT);
            }
        }
        return (true, paid);
    }

    /// @notice Whether the mandate lets the asset be used.
    function covers(Book storage self, bytes32 id, bytes32 assetId) internal view returns (bool) {
        Entry storage entry = _entryOf(self, id, self.deposits[id]);
        return entry.terms.anyAsset || entry.assets[assetId];
    }

    /// @notice Id of a mandate of this escrow.
    function digest(Mandates.Mandate calldata m) internal view returns (bytes32) {
        return Mandates.digest(address(this), m);
    }

    /// @dev Draws for another window than the newest one: a later one, which becomes it, or the one before it.
    function _drawOther(
        Entry storage entry,
        DepositBook.Book storage book,
        bytes32 depositId,
        IUsageEscrow.Line memory line
    ) private returns (uint128 paid) {
        Terms memory terms = entry.terms;
        if (line.window >= NO_WINDOW || block.timestamp < _startOf(terms, line.window)) return 0;
        if (block.timestamp >= settleUntil(terms, line.window)) return 0;
        Use memory use = unpack(entry.use);
        bool isLate = use.window != NO_WINDOW && line.window < use.window;
        uint256 counted = isLate ? entry.rest.previousRecords : 0;
        if (line.records == 0 || counted + line.records > terms.windowRecords) return 0;
        uint256 left = terms.windowAmount - (isLate ? entry.rest.previousAmount : 0);
        paid = DepositBook.draw(book, depositId, _least(line.amount, left, use.totalLeft), false);
        if (paid == 0) return 0;
        use.totalLeft -= paid;
        if (isLate) {
            // casting is safe because both are within the window's amount and calls
            // forge-lint: disable-next-item(unsafe-typecast)
            (entry.rest.previousAmount, entry.rest.previousRecords) =
            (entry.rest.previousAmount + uint88(paid), uint24(counted + line.records));
        } else {
            _advance(entry, terms, use, line.window);
            (use.windowLeft, use.recordsLeft) = (left - paid, terms.windowRecords - line.records);
        }
        entry.use = pack(use);
    }

    /// @dev Begins a newer window. What is older than the one before it can never be settled again.
    function _advance(Entry storage entry, Terms memory terms, Use memory use, uint32 window) private {
        bool follows = use.window != NO_WINDOW && window == use.window + 1;
        // casting is safe because both are within the window's amount and calls
        // forge-lint: disable-next-item(unsafe-typecast)
        (uint88 amount, uint24 records) = follows
            ? (uint88(terms.windowAmount - use.windowLeft), uint24(terms.windowRecords - use.recordsLeft))
            : (0, 0);
        Rest memory rest = entry.rest;
        if (rest.previousAmount != amount || rest.previousRecords != records) {
            (rest.previousAmount, rest.previousRecords) = (amount, records);
            entry.rest = rest;
        }
        (use.window, use.settleUntil) = (window, settleUntil(terms, window));
    }

    /// @notice The word of these parts.
    function pack(Use memory use) internal pure returns (uint256) {
        return use.totalLeft | (use.windowLeft << WINDOW_LEFT) | (uint256(use.anyAsset ? 1 : 0) << ANY_ASSET)
            | (use.recordsLeft << RECORDS_LEFT) | (use.window << WINDOW) | (use.settleUntil << SETTLE_UNTIL);
    }

    /// @notice The parts of the word.
    /// @dev Casts take the lowest part of what was moved down.
    // forge-lint: disable-next-item(unsafe-typecast)
    function unpack(uint256 word) internal pure returns (Use memory use) {
        use.totalLeft = uint88(word);
        use.windowLeft = (word >> WINDOW_LEFT) & WINDOW_MOST;
        use.anyAsset = (word >> ANY_ASSET) & 1 != 0;
        use.recordsLeft = uint24(word >> RECORDS_LEFT);
        use.window = uint24(word >> WINDOW);
        use.settleUntil = word >> SETTLE_UNTIL;
    }

    function _windowUse(uint256 window, uint256 records, uint256 amount)
        private
        pure
        returns (IMandates.WindowUse memory)
    {
        // casting is safe because the parts of a word have no more bits
        // forge-lint: disable-next-item(unsafe-typecast)
        return IMandates.WindowUse(uint32(window), uint32(records), uint128(amount));
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
        if (m.windowAmount > WINDOW_MOST) revert IMandates.UsageEscrow_MandateTooLarge(m.windowAmount);
        if (m.validFrom >= m.validUntil || m.validUntil <= block.timestamp || m.validUntil > MAX_END) {
            revert IMandates.UsageEscrow_InvalidMandateTime(m.validFrom, m.validUntil);
        }
        if ((m.validUntil - m.validFrom) / m.windowLength >= NO_WINDOW - 1) {
            revert IMandates.UsageEscrow_InvalidMandateWindow(m.windowLength, m.grace);
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

    /// @dev When a window begins.
    function _startOf(Terms memory terms, uint256 window) private pure returns (uint256) {
        return terms.validFrom + window * terms.windowLength;
    }

    /// @notice Until when use of a window is settled: the end of its grace; 0 where it does not begin. In 32 bits, which
    /// last until the year 2106.
    function settleUntil(Terms memory terms, uint256 window) internal pure returns (uint256) {
        uint256 start = _startOf(terms, window);
        uint256 end = Math.min(start + terms.windowLength, terms.validUntil);
        return start < end ? Math.min(end + terms.grace, type(uint32).max) : 0;
    }

    function _least(uint256 a, uint256 b, uint256 c) private pure returns (uint128) {
        uint256 least = a < b ? a : b;
        if (c < least) least = c;
        // casting to 'uint128' is safe because `a` came with 128 bits
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint128(least);
    }

    function _entryOf(Book storage self, bytes32 id, bytes32 depositId) private view returns (Entry storage entry) {
        // As `self.entries[keccak256(abi.encode(id, depositId))]`.
        mapping(bytes32 key => Entry) storage entries = self.entries;
        assembly ("memory-safe") {
            mstore(0x00, id)
            mstore(0x20, depositId)
            mstore(0x00, keccak256(0x00, 0x40))
            mstore(0x20, entries.slot)
            entry.slot := keccak256(0x00, 0x40)
        }
    }
}
