// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IMandates} from "./interfaces/IMandates.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "./interfaces/IUsageEscrow.sol";
import {BatchTree} from "./libraries/BatchTree.sol";
import {Delayed} from "./libraries/Delayed.sol";
import {DepositBook} from "./libraries/DepositBook.sol";
import {MandateBook} from "./libraries/MandateBook.sol";
import {Mandates} from "./libraries/Mandates.sol";
import {Names} from "./libraries/Names.sol";
import {OperatorBook} from "./libraries/OperatorBook.sol";
import {Receipts} from "./libraries/Receipts.sol";
import {SumTree} from "./libraries/SumTree.sol";

/// @title Deposits for metered use, and their settlement
contract UsageEscrow is IUsageEscrow, IMandates, AccessManaged, ReentrancyGuardTransient {
    using Delayed for Delayed.Number;
    using DepositBook for DepositBook.Book;
    using MandateBook for MandateBook.Book;
    using OperatorBook for OperatorBook.Cap;
    using OperatorBook for OperatorBook.Operator;
    using SafeERC20 for IERC20;

    /// @notice Shortest exit delay; only development chains are given less than the default of 72 hours.
    uint64 public constant MIN_EXIT_DELAY = 10 seconds;
    /// @notice Longest exit delay.
    uint64 public constant MAX_EXIT_DELAY = 14 days;
    /// @notice Exits of a deposit that are not withdrawn.
    uint256 public constant MAX_OPEN_EXITS = DepositBook.MAX_OPEN_EXITS;
    /// @notice Items of a batch; the dearest ones still fit into a transaction of 2^24 gas (EIP-7825).
    uint256 public constant MAX_ITEMS = 64;
    /// @notice Seconds of a window of the settler cap.
    uint64 public constant SETTLER_WINDOW = OperatorBook.SETTLER_WINDOW;
    /// @notice Shortest window of a mandate.
    uint32 public constant MIN_MANDATE_WINDOW = MandateBook.MIN_WINDOW;
    /// @notice Assets that a mandate lists.
    uint256 public constant MAX_MANDATE_ASSETS = MandateBook.MAX_ASSETS;
    /// @notice Gas for paying one item: twice what the dearest one takes with an ordinary token.
    uint256 public constant ITEM_GAS = 600_000;

    uint64 private constant INITIAL_EXIT_DELAY = 72 hours;

    IDirectory private immutable _directory;

    DepositBook.Book private _book;
    mapping(address account => OperatorBook.Operator) private _operators;
    Delayed.Number private _exitDelay;
    MandateBook.Book private _mandates;

    constructor(address manager, IDirectory directory) AccessManaged(manager) {
        _directory = directory;
    }

    modifier onlyOperator() {
        if (!_operators[msg.sender].registered) revert UsageEscrow_UnknownOperator(msg.sender);
        _;
    }

    /// @inheritdoc IUsageEscrow
    function registerOperator(address receiptKey, uint64 validFrom, uint64 validUntil) external {
        _directory.requireActive(address(this));
        OperatorBook.Operator storage operator = _operators[msg.sender];
        if (operator.registered) revert UsageEscrow_OperatorExists(msg.sender);
        operator.registered = true;
        emit OperatorRegistered(msg.sender);
        operator.setKey(receiptKey, validFrom, validUntil);
    }

    /// @inheritdoc IUsageEscrow
    function setReceiptKey(address receiptKey, uint64 validFrom, uint64 validUntil) external onlyOperator {
        _operators[msg.sender].setKey(receiptKey, validFrom, validUntil);
    }

    /// @inheritdoc IUsageEscrow
    function setSettlerCap(address token, uint128 cap) external onlyOperator {
        _operators[msg.sender].setCap(token, cap, exitDelay());
    }

    /// @inheritdoc IUsageEscrow
    function deposit(address operator, address token, uint128 amount)
        external
        nonReentrant
        returns (bytes32 depositId)
    {
        _directory.requireActive(address(this));
        if (!_operators[operator].registered) revert UsageEscrow_UnknownOperator(operator);
        if (amount == 0) revert UsageEscrow_ZeroAmount();
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(token).balanceOf(address(this)) - before;
        if (received != amount) revert UsageEscrow_AmountMismatch(token, amount, received);
        depositId = depositIdOf(msg.sender, operator, token);
        _book.credit(depositId, msg.sender, operator, token, amount);
    }

    /// @inheritdoc IUsageEscrow
    function requestExit(bytes32 depositId, uint128 amount) external nonReentrant returns (uint256 exitId) {
        if (_book.deposits[depositId].payer != msg.sender) revert UsageEscrow_NotPayer(depositId, msg.sender);
        if (amount == 0) revert UsageEscrow_ZeroAmount();
        exitId = _book.requestExit(depositId, amount, uint64(block.timestamp) + exitDelay());
    }

    /// @inheritdoc IUsageEscrow
    function withdraw(uint256 exitId) external nonReentrant returns (uint128 amount) {
        address payer;
        address token;
        (payer, token, amount) = _book.close(exitId);
        if (amount != 0) IERC20(token).safeTransfer(payer, amount);
    }

    /// @inheritdoc IMandates
    function openMandate(Mandates.Mandate calldata mandate, bytes calldata signature)
        external
        nonReentrant
        returns (bytes32 mandateId)
    {
        _directory.requireActive(address(this));
        mandateId = _mandates.open(_book, mandate, signature);
    }

    /// @inheritdoc IMandates
    function revokeMandate(bytes32 mandateId) external nonReentrant {
        _mandates.revoke(_book, mandateId);
    }

    /// @inheritdoc IMandates
    function cancelMandateNonce(uint256 nonce) external {
        _mandates.cancelNonce(nonce);
    }

    /// @inheritdoc IUsageEscrow
    function settle(uint64 batch, bytes32 root, string calldata dataUri, Item[] calldata items)
        external
        nonReentrant
        onlyOperator
    {
        OperatorBook.Operator storage operator = _operators[msg.sender];
        if (batch <= operator.lastBatch) {
            bytes32 settled = operator.roots[batch];
            emit BatchRepeated(msg.sender, batch, settled, settled == root);
            return;
        }
        _checkBatch(operator.lastBatch + 1, batch, root, items);
        operator.lastBatch = batch;
        operator.roots[batch] = root;
        (uint256 due, uint256 paid) = _settleItems(operator, batch, items);
        emit BatchSettled(msg.sender, batch, root, dataUri, uint32(items.length), due, paid);
    }

    /// @notice Pays one item. The contract calls itself, so that a token that fails takes back this item alone.
    function payItem(address router, address operator, uint128 amount, Item calldata item) external {
        if (msg.sender != address(this)) revert UsageEscrow_NotSelf(msg.sender);
        bytes32 depositId = _depositIdOf(item.source);
        address token = _book.deposits[depositId].token;
        if (depositId != item.source) _mandates.count(item, operator, amount);
        _book.draw(depositId, amount);
        IERC20(token).safeTransfer(router, amount);
        IRevenueRouter(router).receiveRevenue(item.assetId, token, amount, item.source);
    }

    /// @inheritdoc IUsageEscrow
    function setExitDelay(uint64 newDelay) external restricted {
        if (newDelay < MIN_EXIT_DELAY || newDelay > MAX_EXIT_DELAY) revert UsageEscrow_InvalidExitDelay(newDelay);
        uint64 wait = _exitDelay.isSet() ? exitDelay() : 0;
        emit ExitDelaySet(newDelay, _exitDelay.set(newDelay, wait));
    }

    /// @inheritdoc IUsageEscrow
    function exitDelay() public view returns (uint64) {
        return _exitDelay.isSet() ? uint64(_exitDelay.value()) : INITIAL_EXIT_DELAY;
    }

    /// @inheritdoc IUsageEscrow
    function depositIdOf(address payer, address operator, address token) public pure returns (bytes32) {
        return DepositBook.idOf(payer, operator, token);
    }

    /// @inheritdoc IUsageEscrow
    function depositOf(bytes32 depositId) external view returns (Deposit memory) {
        return _book.deposits[depositId];
    }

    /// @inheritdoc IUsageEscrow
    function openExitsOf(bytes32 depositId) external view returns (uint256[] memory) {
        return _book.openExits[depositId];
    }

    /// @inheritdoc IUsageEscrow
    function exitOf(uint256 exitId) external view returns (Exit memory) {
        return _book.exits[exitId];
    }

    /// @inheritdoc IUsageEscrow
    function drawableOf(bytes32 depositId) external view returns (uint128) {
        return _book.drawable(depositId);
    }

    /// @inheritdoc IMandates
    function mandateDigest(Mandates.Mandate calldata mandate) external view returns (bytes32) {
        return MandateBook.digest(mandate);
    }

    /// @inheritdoc IMandates
    function mandateOf(bytes32 mandateId) external view returns (MandateState memory) {
        return _mandates.mandates[mandateId];
    }

    /// @inheritdoc IMandates
    function mandateCovers(bytes32 mandateId, bytes32 assetId) external view returns (bool) {
        return _mandates.covers(mandateId, assetId);
    }

    /// @inheritdoc IMandates
    function mandateUseOf(bytes32 mandateId) external view returns (WindowUse[2] memory) {
        return _mandates.uses[mandateId];
    }

    /// @inheritdoc IMandates
    function isMandateNonceUsed(address payer, uint256 nonce) external view returns (bool) {
        return _mandates.usedNonces[payer][nonce];
    }

    /// @inheritdoc IUsageEscrow
    function heldOf(address token) external view returns (uint256) {
        return _book.held[token];
    }

    /// @inheritdoc IUsageEscrow
    function isOperator(address account) external view returns (bool) {
        return _operators[account].registered;
    }

    /// @inheritdoc IUsageEscrow
    function receiptKeyOf(address operator, address receiptKey) external view returns (KeyInterval memory) {
        return _operators[operator].keys[receiptKey];
    }

    /// @inheritdoc IUsageEscrow
    function isReceiptKeyValid(address operator, address receiptKey, uint64 at) external view returns (bool) {
        KeyInterval storage key = _operators[operator].keys[receiptKey];
        return key.validFrom <= at && at < key.validUntil;
    }

    /// @inheritdoc IUsageEscrow
    function settlerCapOf(address operator, address token) external view returns (uint128 cap, uint128 drawn) {
        OperatorBook.Cap storage entry = _operators[operator].caps[token];
        return (entry.limit.value(), entry.drawnInWindow());
    }

    /// @inheritdoc IUsageEscrow
    function lastBatchOf(address operator) external view returns (uint64) {
        return _operators[operator].lastBatch;
    }

    /// @inheritdoc IUsageEscrow
    function batchRootOf(address operator, uint64 batch) external view returns (bytes32) {
        return _operators[operator].roots[batch];
    }

    /// @inheritdoc IUsageEscrow
    function verifyCharge(
        address operator,
        uint64 batch,
        SumTree.Charge calldata charge,
        SumTree.Step[] calldata steps,
        Item calldata item,
        bytes32[] calldata itemProof
    ) external view returns (bool) {
        bytes32 root = _operators[operator].roots[batch];
        Deposit storage entry = _book.deposits[_depositIdOf(item.source)];
        bool named = entry.operator == operator && entry.payer == charge.payer && entry.token == charge.currency;
        return root != 0 && named && MerkleProof.verifyCalldata(itemProof, root, BatchTree.leafOf(item))
            && SumTree.verify(charge, steps, item.payerRoot, item.amount);
    }

    /// @inheritdoc IUsageEscrow
    function receiptDigest(Receipts.Receipt calldata receipt) external view returns (bytes32) {
        return Receipts.digest(address(this), Receipts.hash(receipt));
    }

    /// @inheritdoc IUsageEscrow
    function certificateDigest(Receipts.ReplicaCertificate calldata certificate) external view returns (bytes32) {
        return Receipts.digest(address(this), Receipts.hash(certificate));
    }

    /// @inheritdoc IUsageEscrow
    function segmentDigest(Receipts.Segment calldata segment) external view returns (bytes32) {
        return Receipts.digest(address(this), Receipts.hash(segment));
    }

    function _checkBatch(uint64 expected, uint64 batch, bytes32 root, Item[] calldata items) private view {
        if (batch != expected) revert UsageEscrow_BatchGap(msg.sender, expected, batch);
        if (items.length == 0 || items.length > MAX_ITEMS) revert UsageEscrow_InvalidBatchSize(items.length);
        bytes32 computed = BatchTree.rootOf(items);
        if (computed != root) revert UsageEscrow_RootMismatch(root, computed);
    }

    function _settleItems(OperatorBook.Operator storage operator, uint64 batch, Item[] calldata items)
        private
        returns (uint256 due, uint256 paid)
    {
        address router = _routerForSettlement();
        for (uint32 i = 0; i < items.length; ++i) {
            Item calldata item = items[i];
            bytes32 depositId = _depositIdOf(item.source);
            address token = _book.deposits[depositId].token;
            uint128 itemPaid = _payItem(router, depositId, item);
            if (itemPaid != 0) operator.countDraw(token, itemPaid);
            due += item.amount;
            paid += itemPaid;
            _announceItem(batch, i, token, itemPaid, item);
        }
    }

    /// @dev A retired escrow cannot bring revenue any more; without this check each item would look unpayable.
    function _routerForSettlement() private view returns (address router) {
        if (_directory.statusOf(address(this)) == IDirectory.Status.Retired) revert UsageEscrow_Retired();
        router = _directory.activeOf(Names.REVENUE_ROUTER);
        if (router == address(0)) revert UsageEscrow_NoRouter();
    }

    /// @dev Pays what can be paid, 0 where paying fails.
    function _payItem(address router, bytes32 depositId, Item calldata item) private returns (uint128 paid) {
        paid = _payable(depositId, item);
        if (paid == 0) return 0;
        // A call gets at most 63/64 of what is left (EIP-150). Without this check, a gas limit that is too low, such
        // as the least one that an estimate finds not to revert, would pay 0 and still succeed.
        uint256 needed = ITEM_GAS * 64 / 63 + 10_000;
        if (gasleft() < needed) revert UsageEscrow_GasTooLow(gasleft(), needed);
        try this.payItem{gas: ITEM_GAS}(router, msg.sender, paid, item) {}
        catch {
            paid = 0;
        }
    }

    function _payable(bytes32 depositId, Item calldata item) private view returns (uint128 amount) {
        if (_book.deposits[depositId].operator != msg.sender) return 0;
        // A deposit has one window.
        if (depositId == item.source && item.window != 0) return 0;
        amount = item.amount;
        uint128 limit = _book.drawable(depositId);
        if (limit < amount) amount = limit;
        if (depositId == item.source) return amount;
        limit = _mandates.remainder(item);
        if (limit < amount) amount = limit;
    }

    /// @dev The deposit that pays for a source: that of the mandate, or the source itself.
    function _depositIdOf(bytes32 source) private view returns (bytes32 depositId) {
        depositId = _mandates.mandates[source].depositId;
        if (depositId == 0) depositId = source;
    }

    function _announceItem(uint64 batch, uint32 index, address token, uint128 paid, Item calldata item) private {
        emit ItemSettled(
            msg.sender,
            batch,
            item.source,
            index,
            item.assetId,
            token,
            item.window,
            item.amount,
            paid,
            item.payerRoot,
            item.records
        );
    }
}
