// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {EscrowStorage} from "./EscrowStorage.sol";
import {EscrowViews} from "./EscrowViews.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IMandates} from "./interfaces/IMandates.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "./interfaces/IUsageEscrow.sol";
import {IVouchers} from "./interfaces/IVouchers.sol";
import {BatchTree} from "./libraries/BatchTree.sol";
import {Delayed} from "./libraries/Delayed.sol";
import {DepositBook} from "./libraries/DepositBook.sol";
import {DisputeBook} from "./libraries/DisputeBook.sol";
import {GroupLog} from "./libraries/GroupLog.sol";
import {MandateBook} from "./libraries/MandateBook.sol";
import {Mandates} from "./libraries/Mandates.sol";
import {Names} from "./libraries/Names.sol";
import {OperatorBook} from "./libraries/OperatorBook.sol";
import {SumTree} from "./libraries/SumTree.sol";
import {VoucherBook} from "./libraries/VoucherBook.sol";

/// @title Deposits for metered use, and their settlement
contract UsageEscrow is EscrowViews {
    using BatchTree for Line;
    using BatchTree for bytes32[];
    using GroupLog for bytes;
    using Delayed for Delayed.Number;
    using DepositBook for DepositBook.Book;
    using DisputeBook for DisputeBook.Book;
    using MandateBook for MandateBook.Book;
    using OperatorBook for OperatorBook.Cap;
    using OperatorBook for OperatorBook.Operator;
    using SafeERC20 for IERC20;
    using VoucherBook for VoucherBook.Book;

    /// @notice Shortest exit delay; only development chains are given less than the default of 72 hours.
    uint64 public constant MIN_EXIT_DELAY = 10 seconds;
    /// @notice Longest exit delay.
    uint64 public constant MAX_EXIT_DELAY = 14 days;
    /// @notice Exits of a deposit that are not withdrawn.
    uint256 public constant MAX_OPEN_EXITS = DepositBook.MAX_OPEN_EXITS;
    /// @notice Shortest dispute time; only development chains are given less than the default of 24 hours.
    uint64 public constant MIN_DISPUTE_TIME = 1 seconds;
    /// @notice Longest dispute time.
    uint64 public constant MAX_DISPUTE_TIME = 14 days;
    /// @notice A deposit holds less, what was drawn from it included.
    uint256 public constant MAX_DEPOSIT = DepositBook.MAX_DEPOSIT;
    /// @notice Items of a batch. As many of one asset fit into a transaction of 2^24 gas (EIP-7825).
    uint256 public constant MAX_ITEMS = 500;
    /// @notice Seconds of a window of the settler cap.
    uint64 public constant SETTLER_WINDOW = OperatorBook.SETTLER_WINDOW;
    /// @notice Shortest window of a mandate.
    uint32 public constant MIN_MANDATE_WINDOW = MandateBook.MIN_WINDOW;
    /// @notice Assets that a mandate lists.
    uint256 public constant MAX_MANDATE_ASSETS = MandateBook.MAX_ASSETS;
    address private immutable _extension;

    /// @dev A batch on its way through `settle`.
    struct Run {
        uint64 batch;
        uint64 releaseAt;
        Line line;
        uint256 due;
        uint256 paid;
        bytes32[] nodes;
    }

    constructor(address manager, IDirectory directory, address extension) EscrowStorage(manager, directory) {
        _extension = extension;
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
    function setSettlerCap(address, uint128) external {
        _extend();
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
        _book.credit(depositId, DepositBook.Party(msg.sender, operator, token), amount);
    }

    /// @inheritdoc IUsageEscrow
    function setDirectDraws(address, address, bool) external {
        _extend();
    }

    /// @inheritdoc IUsageEscrow
    function requestExit(bytes32, uint128) external returns (uint256) {
        _extend();
    }

    /// @inheritdoc IUsageEscrow
    function withdraw(uint256) external returns (uint128) {
        _extend();
    }

    /// @inheritdoc IMandates
    function openMandate(Mandates.Mandate calldata, bytes calldata) external returns (bytes32) {
        _extend();
    }

    /// @inheritdoc IMandates
    function revokeMandate(bytes32) external {
        _extend();
    }

    /// @inheritdoc IMandates
    function cancelMandateNonce(uint256) external {
        _extend();
    }

    /// @inheritdoc IVouchers
    function presentVoucher(Voucher calldata, bytes calldata) external {
        _extend();
    }

    /// @inheritdoc IUsageEscrow
    function settle(uint64 batch, bytes32 root, string calldata dataUri, Group[] calldata groups)
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
        uint64 expected = operator.lastBatch + 1;
        if (batch != expected) revert UsageEscrow_BatchGap(msg.sender, expected, batch);
        IRevenueRouter router = _routerForSettlement();
        operator.lastBatch = batch;
        operator.roots[batch] = root;
        Run memory run = Run({
            batch: batch,
            releaseAt: uint64(block.timestamp) + disputeTime(),
            line: Line(0, 0, address(0), address(0), 0, 0, 0, 0, 0),
            due: 0,
            paid: 0,
            nodes: BatchTree.nodesFor(_countItems(groups))
        });
        for (uint256 i = 0; i < groups.length; ++i) {
            _settleGroup(operator, router, groups[i], run);
        }
        bytes32 computed = run.nodes.rootOf();
        if (computed != root) revert UsageEscrow_RootMismatch(root, computed);
        emit BatchSettled(msg.sender, batch, root, dataUri, run.line.index, run.due, run.paid);
    }

    /// @inheritdoc IDisputes
    function release(HoldName calldata) external returns (uint128) {
        _extend();
    }

    /// @inheritdoc IDisputes
    function challenge(SettledLine calldata, uint32) external returns (bytes32) {
        _extend();
    }

    /// @inheritdoc IDisputes
    function answer(SettledLine calldata, ChargeProof calldata, SignedReceipt calldata) external {
        _extend();
    }

    /// @inheritdoc IDisputes
    function refund(SettledLine calldata) external returns (uint128) {
        _extend();
    }

    /// @inheritdoc IDisputes
    function contradict(SettledLine calldata, ChargeProof calldata, SettledLine calldata, ChargeProof calldata)
        external
        returns (uint128)
    {
        _extend();
    }

    /// @inheritdoc IUsageEscrow
    function setExitDelay(uint64 newDelay) external restricted {
        if (newDelay < MIN_EXIT_DELAY || newDelay > MAX_EXIT_DELAY) revert UsageEscrow_InvalidExitDelay(newDelay);
        uint64 wait = _exitDelay.isSet() ? exitDelay() : 0;
        emit ExitDelaySet(newDelay, _exitDelay.set(newDelay, wait));
    }

    /// @inheritdoc IUsageEscrow
    function setDisputeTime(uint64 newTime) external restricted {
        if (newTime < MIN_DISPUTE_TIME || newTime > MAX_DISPUTE_TIME) revert UsageEscrow_InvalidDisputeTime(newTime);
        uint64 wait = _disputeTime.isSet() ? exitDelay() : 0;
        emit DisputeTimeSet(newTime, _disputeTime.set(newTime, wait));
    }

    /// @dev A retired escrow settles no more, and without a router nobody would say who earns what.
    function _routerForSettlement() private returns (IRevenueRouter router) {
        if (_directory.statusOf(address(this)) == IDirectory.Status.Retired) revert UsageEscrow_Retired();
        router = IRevenueRouter(_directory.activeOf(Names.REVENUE_ROUTER));
        if (address(router) == address(0)) revert UsageEscrow_NoRouter();
        _useRouter(router);
    }

    function _countItems(Group[] calldata groups) private pure returns (uint256 count) {
        for (uint256 i = 0; i < groups.length; ++i) {
            uint256 items = groups[i].items.length;
            if (items == 0) revert UsageEscrow_InvalidBatchSize(0);
            count += items;
        }
        if (count == 0 || count > MAX_ITEMS) revert UsageEscrow_InvalidBatchSize(count);
    }

    function _settleGroup(
        OperatorBook.Operator storage operator,
        IRevenueRouter router,
        Group calldata group,
        Run memory run
    ) private {
        IRevenueRouter.Terms memory terms = router.termsOf(group.assetId);
        Line memory line = run.line;
        line.begin(group);
        GroupLog.Head memory head = GroupLog.Head(run.batch, run.releaseAt, line.index, 0, 0);
        bytes memory data = GroupLog.allocate(group.items.length);
        (head.due, head.paid) = _settleItems(run, group.items, terms.payee != address(0), data);
        run.due += head.due;
        run.paid += head.paid;
        if (head.paid != 0) {
            operator.countDraw(line.token, head.paid);
            bytes32 holdId = DisputeBook.holdIdOf(msg.sender, run.batch, line.assetId, line.token);
            _disputes.hold(holdId, head.paid, run.releaseAt, terms);
        }
        data.emitEvent(head, line);
    }

    function _settleItems(Run memory run, Item[] calldata items, bool isKnown, bytes memory data)
        private
        returns (uint256 due, uint128 paid)
    {
        Line memory line = run.line;
        // Neither 500 amounts of 128 bits nor what deposits hold together overflow.
        unchecked {
            for (uint256 i = 0; i < items.length; ++i) {
                line.take(items, i);
                bytes32 depositId = DepositBook.idOf(line.payer, msg.sender, line.token);
                // Of a line without charges nobody could ask for one.
                uint128 itemPaid = isKnown && line.records != 0 ? _draw(depositId, line) : 0;
                data.set(i, depositId, line, itemPaid);
                _note(run, line, line.amount - itemPaid);
                ++line.index;
                due += line.amount;
                paid += itemPaid;
            }
        }
    }

    /// @dev Sets the line's leaf, and keeps what it did not pay.
    function _note(Run memory run, Line memory line, uint128 shortfall) private {
        bytes32 leaf = line.leafOfPlain();
        run.nodes.set(line.index, leaf);
        if (shortfall != 0) _disputes.shortfalls[DisputeBook.lineIdOf(msg.sender, run.batch, leaf)] = shortfall;
    }

    /// @dev Draws what can be drawn for a line, 0 where that is nothing.
    function _draw(bytes32 depositId, Line memory line) private returns (uint128) {
        if (line.authority != 0) {
            (bool isMandate, uint128 paid) = _mandates.draw(_book, depositId, line);
            return isMandate ? paid : _vouchers.draw(_book, depositId, line);
        }
        return line.window != 0 ? 0 : _book.draw(depositId, line.amount, true);
    }

    /// @dev Runs the extension's function of the same name with the same arguments, and ends as it ends.
    function _extend() private {
        address extension = _extension;
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, 0, calldatasize())
            let ok := delegatecall(gas(), extension, free, calldatasize(), 0, 0)
            returndatacopy(free, 0, returndatasize())
            if iszero(ok) { revert(free, returndatasize()) }
            return(free, returndatasize())
        }
    }
}
