// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SumTree} from "../libraries/SumTree.sol";

/// @title Deposits for metered use, and their settlement
/// @notice A deposit belongs to one payer, names one operator and one token, and can be charged by that operator
/// alone. Leaving takes a request, a wait and a withdrawal; nobody can prevent it.
///
/// `total` in events is absolute: what the deposit has been able to pay in its life, that is, its spendable balance
/// plus everything that settlements have drawn from it. A deposit raises it, an exit request lowers it, a settlement
/// from the spendable balance leaves it as it is, a settlement from a waiting exit raises it by what it took.
interface IUsageEscrow {
    /// @notice A deposit. Its id is `keccak256(abi.encode(payer, operator, token))`.
    /// @param spendable Balance that is in no exit.
    /// @param drawn Everything that settlements have drawn.
    struct Deposit {
        address payer;
        address operator;
        address token;
        uint128 spendable;
        uint128 drawn;
    }

    /// @notice An exit: settlements of earlier use may draw from it before `unlockTime`, nothing may from then on.
    struct Exit {
        bytes32 depositId;
        uint128 amount;
        uint64 unlockTime;
    }

    /// @notice What one payer owes in a group of a settlement.
    /// @param authority What lets the operator draw: zero for the deposit itself, or the id of a mandate, or of a
    /// channel of vouchers.
    /// @param window Window of the mandate in which it was used; 0 without a mandate.
    /// @param amount Due, in the group's token; the sum of the leaves under `payerRoot`.
    /// @param payerRoot Root of the Merkle sum tree of the charges of this item.
    /// @param records Number of those charges.
    struct Item {
        address payer;
        bytes32 authority;
        uint32 window;
        uint128 amount;
        bytes32 payerRoot;
        uint32 records;
    }

    /// @notice Items that are paid in one token to one asset.
    struct Group {
        bytes32 assetId;
        address token;
        Item[] items;
    }

    /// @notice Leaf of a batch: an item with what it takes over from its group.
    /// @param index Place of the item in the batch, counted from 0 over all groups.
    struct Line {
        uint32 index;
        bytes32 assetId;
        address token;
        address payer;
        bytes32 authority;
        uint32 window;
        uint128 amount;
        bytes32 payerRoot;
        uint32 records;
    }

    /// @notice What became of an item. `paid < due` is the operator's shortfall.
    struct Settled {
        bytes32 depositId;
        bytes32 authority;
        uint128 due;
        uint128 paid;
        uint32 window;
        uint32 records;
    }

    /// @notice Validity of a receipt key: `validFrom <= t < validUntil`, Unix seconds.
    struct KeyInterval {
        uint64 validFrom;
        uint64 validUntil;
    }

    /// @notice An account became an operator.
    event OperatorRegistered(address indexed operator);
    /// @notice A receipt key of an operator is valid in this interval.
    event OperatorKeySet(address indexed operator, address indexed receiptKey, uint64 validFrom, uint64 validUntil);
    /// @notice An operator may draw at most `cap` of a token per window from `effectiveAt` on.
    event SettlerCapSet(address indexed operator, address indexed token, uint128 cap, uint64 effectiveAt);
    /// @notice Money came in.
    event Deposited(
        bytes32 indexed depositId,
        address indexed payer,
        address indexed operator,
        address token,
        uint128 amount,
        uint128 spendable,
        uint128 total
    );
    /// @notice Money left the spendable balance and waits until `unlockTime`.
    event ExitRequested(
        bytes32 indexed depositId,
        address indexed payer,
        uint256 indexed exitId,
        address operator,
        address token,
        uint128 amount,
        uint64 unlockTime,
        uint128 spendable,
        uint128 total
    );
    /// @notice A settlement took `amount` from a waiting exit; `remaining` is still to be withdrawn from it.
    event ExitDrawn(
        bytes32 indexed depositId,
        address indexed payer,
        uint256 indexed exitId,
        address operator,
        address token,
        uint128 amount,
        uint128 remaining,
        uint128 total
    );
    /// @notice An exit was paid out; 0 when settlements had drawn all of it.
    event Withdrawn(
        bytes32 indexed depositId,
        address indexed payer,
        uint256 indexed exitId,
        address operator,
        address token,
        uint128 amount
    );
    /// @notice A group was settled, and `paid` is held for its asset until `releaseAt`. `first` is the place of its
    /// first item in the batch; `lines` are in the order of the items.
    event GroupSettled(
        address indexed operator,
        uint64 indexed batch,
        bytes32 indexed assetId,
        address token,
        uint32 first,
        uint256 due,
        uint128 paid,
        uint64 releaseAt,
        Settled[] lines
    );
    /// @notice A batch was settled. `due` and `paid` are sums over its items.
    event BatchSettled(
        address indexed operator,
        uint64 indexed batch,
        bytes32 root,
        string dataUri,
        uint32 items,
        uint256 due,
        uint256 paid
    );
    /// @notice A batch number that was settled before was sent again, and nothing happened. `root` is the one that was
    /// settled; `sameRoot` says whether the repeated call had it too.
    event BatchRepeated(address indexed operator, uint64 indexed batch, bytes32 root, bool sameRoot);
    /// @notice Exits that are requested from `effectiveAt` on wait `exitDelay` seconds.
    event ExitDelaySet(uint64 exitDelay, uint64 effectiveAt);
    /// @notice What is settled from `effectiveAt` on is held for `disputeTime` seconds.
    event DisputeTimeSet(uint64 disputeTime, uint64 effectiveAt);
    /// @notice Without a mandate or a voucher the operator draws nothing from the deposit from `until` on; 0: it does.
    event DirectDrawsSet(
        bytes32 indexed depositId, address indexed payer, address indexed operator, address token, uint64 until
    );

    /// @notice The account is not an operator.
    error UsageEscrow_UnknownOperator(address operator);
    /// @notice The account is an operator already.
    error UsageEscrow_OperatorExists(address operator);
    /// @notice The key is zero, the interval is empty, it ends in the past, or it would rewrite the past of a key.
    error UsageEscrow_InvalidKeyInterval(address receiptKey, uint64 validFrom, uint64 validUntil);
    /// @notice Amounts are above 0.
    error UsageEscrow_ZeroAmount();
    /// @notice The token delivered another amount than asked for (a fee on transfer, for one).
    error UsageEscrow_AmountMismatch(address token, uint256 expected, uint256 received);
    /// @notice Only the deposit's payer asks for its exit.
    error UsageEscrow_NotPayer(bytes32 depositId, address caller);
    /// @notice The exit asks for more than is spendable.
    error UsageEscrow_InsufficientSpendable(bytes32 depositId, uint128 asked, uint128 spendable);
    /// @notice The deposit has `MAX_OPEN_EXITS` exits that are not withdrawn.
    error UsageEscrow_TooManyExits(bytes32 depositId, uint256 open);
    /// @notice No open exit has this id.
    error UsageEscrow_UnknownExit(uint256 exitId);
    /// @notice The exit still waits.
    error UsageEscrow_ExitLocked(uint256 exitId, uint64 unlockTime);
    /// @notice The exit delay is outside `MIN_EXIT_DELAY` and `MAX_EXIT_DELAY`.
    error UsageEscrow_InvalidExitDelay(uint64 exitDelay);
    /// @notice Batch numbers of an operator rise by one.
    error UsageEscrow_BatchGap(address operator, uint64 expected, uint64 given);
    /// @notice The dispute time is outside `MIN_DISPUTE_TIME` and `MAX_DISPUTE_TIME`.
    error UsageEscrow_InvalidDisputeTime(uint64 disputeTime);
    /// @notice A deposit holds less than `MAX_DEPOSIT`, what was drawn from it included; or the escrow would hold more
    /// of the token than 112 bits count.
    error UsageEscrow_DepositTooLarge(bytes32 depositId, uint256 total);
    /// @notice A batch has between 1 and `MAX_ITEMS` items, and each of its groups has one.
    error UsageEscrow_InvalidBatchSize(uint256 items);
    /// @notice The root is not the root of the items.
    error UsageEscrow_RootMismatch(bytes32 given, bytes32 computed);
    /// @notice The batch draws more of a token than the operator's cap leaves in this window.
    error UsageEscrow_CapExceeded(address operator, address token, uint128 cap, uint256 wouldBe);
    /// @notice The escrow is retired: it settles no more, exits stay open.
    error UsageEscrow_Retired();
    /// @notice No RevenueRouter is active.
    error UsageEscrow_NoRouter();

    /// @notice Makes the caller an operator, with its first receipt key. Entry: needs the escrow active in the
    /// Directory.
    function registerOperator(address receiptKey, uint64 validFrom, uint64 validUntil) external;

    /// @notice Adds a receipt key of the calling operator, or moves the end of one. The past of a key cannot be
    /// rewritten: once it has begun, its begin stays and its end is not before now, and once it has ended, it stays so.
    function setReceiptKey(address receiptKey, uint64 validFrom, uint64 validUntil) external;

    /// @notice Sets how much of a token the calling operator may draw in one window of `SETTLER_WINDOW` seconds.
    /// The first value and a lower one hold at once, a higher one after the exit delay. Without one, nothing is drawn.
    function setSettlerCap(address token, uint128 cap) external;

    /// @notice Deposits `amount` of `token` for use with `operator`, from the caller. Entry: needs the escrow active
    /// in the Directory and the operator registered.
    function deposit(address operator, address token, uint128 amount) external returns (bytes32 depositId);

    /// @notice Takes `amount` out of the spendable balance at once; it can be withdrawn after the exit delay.
    /// Exit: open in every state.
    function requestExit(bytes32 depositId, uint128 amount) external returns (uint256 exitId);

    /// @notice Pays an unlocked exit to its payer. Anyone may call. Exit: open in every state.
    function withdraw(uint256 exitId) external returns (uint128 amount);

    /// @notice Says whether the operator may draw from the caller's deposit without a mandate or a voucher, which is
    /// so at first. Forbidding it holds from the exit delay on, so that earlier use is settled; at once where nothing
    /// was ever deposited. Exit: open in every state.
    function setDirectDraws(address operator, address token, bool allowed) external;

    /// @notice Settles a batch of the calling operator. Nothing moves but balances in the books: what a group paid is
    /// held for its asset for the dispute time (`IDisputes`), and goes to the RevenueRouter afterwards.
    /// An item never fails the batch: it pays `min(due, drawable)`, where the spendable balance and then the waiting
    /// exits, newest first, are drawable; through a mandate at most what is left of that window and in all, through a
    /// channel at most what vouchers were signed for. An item of an unknown deposit or of an unknown asset pays 0; so
    /// does one without charges, which nobody could challenge, one without a mandate whose window is not 0 or whose
    /// payer forbids it, and one that its mandate does not cover: a window that has not begun or whose grace is over,
    /// another asset, more records than are left of that window. The next batch number is `lastBatchOf(operator) + 1`, counted from 1; a number that was used is a
    /// no-op (`BatchRepeated`), a gap reverts.
    /// @param root Root over the items of all groups: OpenZeppelin's standard Merkle tree with unsorted leaves
    /// `keccak256(keccak256(abi.encode(line)))`; a root that does not match reverts.
    /// @param dataUri Where the leaves are kept.
    function settle(uint64 batch, bytes32 root, string calldata dataUri, Group[] calldata groups) external;

    /// @notice Sets the wait of later exits. The first call, at deployment, holds at once; each later one after the
    /// delay that holds then. Restricted.
    function setExitDelay(uint64 newDelay) external;

    /// @notice Sets how long later settlements are held. The first call, at deployment, holds at once; each later one
    /// after the exit delay. Restricted.
    function setDisputeTime(uint64 newTime) external;

    /// @notice How long is held what is settled now, in seconds.
    function disputeTime() external view returns (uint64);

    /// @notice Wait of an exit that is requested now, in seconds.
    function exitDelay() external view returns (uint64);

    /// @notice Id of the deposit of a payer with an operator in a token.
    function depositIdOf(address payer, address operator, address token) external pure returns (bytes32);

    /// @notice A deposit; all zero when it is unknown.
    function depositOf(bytes32 depositId) external view returns (Deposit memory);

    /// @notice Ids of the exits of a deposit that are not withdrawn, oldest first.
    function openExitsOf(bytes32 depositId) external view returns (uint256[] memory);

    /// @notice An exit; all zero when it is unknown or withdrawn.
    function exitOf(uint256 exitId) external view returns (Exit memory);

    /// @notice Until when the operator may draw from the deposit without a mandate or a voucher, Unix seconds; 0:
    /// without end.
    function directUntilOf(bytes32 depositId) external view returns (uint64);

    /// @notice What a settlement could draw from a deposit now.
    function drawableOf(bytes32 depositId) external view returns (uint128);

    /// @notice Everything that the escrow holds of a token; never above the balance.
    function heldOf(address token) external view returns (uint256);

    /// @notice Whether the account is an operator.
    function isOperator(address account) external view returns (bool);

    /// @notice Validity of a receipt key of an operator; all zero when it is unknown.
    function receiptKeyOf(address operator, address receiptKey) external view returns (KeyInterval memory);

    /// @notice Whether a receipt key of an operator is valid at a time (Unix seconds).
    function isReceiptKeyValid(address operator, address receiptKey, uint64 at) external view returns (bool);

    /// @notice The cap of an operator in a token that holds now, and what this window has drawn of it.
    function settlerCapOf(address operator, address token) external view returns (uint128 cap, uint128 drawn);

    /// @notice Number of the newest settled batch of an operator, 0 before the first.
    function lastBatchOf(address operator) external view returns (uint64);

    /// @notice Root of a settled batch, zero when it is not settled.
    function batchRootOf(address operator, uint64 batch) external view returns (bytes32);

    /// @notice Whether a charge was settled: the charge is a leaf under the line's payer root, the leaves' sum is the
    /// line's amount, payer and currency are the line's, and the line is under the root of that batch.
    function verifyCharge(
        address operator,
        uint64 batch,
        SumTree.Charge calldata charge,
        SumTree.Step[] calldata steps,
        Line calldata line,
        bytes32[] calldata lineProof
    ) external view returns (bool);
}
