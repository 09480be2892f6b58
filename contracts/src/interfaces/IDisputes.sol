// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Receipts} from "../libraries/Receipts.sol";
import {SumTree} from "../libraries/SumTree.sol";
import {IRevenueRouter} from "./IRevenueRouter.sol";
import {IUsageEscrow} from "./IUsageEscrow.sol";

/// @title What was settled and may still be disputed
/// @notice What a group of a batch paid is held for the dispute time, for the payee of the block of its settlement and
/// under the fee and split of that block. In that time a payer challenges one charge of each line that drew from them:
/// the operator shows the charge at that place and the signed receipt behind it within the dispute time, or the whole
/// draw of the line goes back to the payer. Two charges for one receipt give the draw back at once.
interface IDisputes {
    /// @notice Life of the dispute about a line.
    enum DisputeStatus {
        None,
        Open,
        Answered,
        Refunded
    }

    /// @notice What is held for one asset in one token of one batch.
    /// @param amount What is left of it.
    /// @param disputed Part of it that open challenges keep.
    /// @param releaseAt From when on the rest goes to the router, Unix seconds.
    /// @param terms Of the block of the settlement.
    struct Hold {
        uint128 amount;
        uint128 disputed;
        uint64 releaseAt;
        IRevenueRouter.Terms terms;
    }

    /// @notice What names a hold.
    struct HoldName {
        address operator;
        uint64 batch;
        bytes32 assetId;
        address token;
    }

    /// @notice A dispute about a line.
    /// @param position Place of the challenged charge among the line's charges, counted from 0.
    /// @param deadline Until when it is answered, Unix seconds.
    /// @param amount What the line drew.
    struct Dispute {
        DisputeStatus status;
        uint32 position;
        uint64 deadline;
        uint128 amount;
    }

    /// @notice A line of a settled batch, with its proof under the batch's root.
    struct SettledLine {
        address operator;
        uint64 batch;
        IUsageEscrow.Line line;
        bytes32[] proof;
    }

    /// @notice A charge with its proof under its line's root.
    struct ChargeProof {
        SumTree.Charge charge;
        SumTree.Step[] steps;
    }

    /// @notice A receipt, and why it is the operator's: the replica that signed its segment is certified by a receipt
    /// key of the operator. Signatures are ECDSA, 65 bytes.
    struct SignedReceipt {
        Receipts.Receipt receipt;
        bytes32[] receiptProof;
        Receipts.Segment segment;
        bytes segmentSignature;
        Receipts.ReplicaCertificate certificate;
        bytes certificateSignature;
    }

    /// @notice What was held went to the router.
    event HoldReleased(
        address indexed operator, uint64 indexed batch, bytes32 indexed assetId, address token, uint128 amount
    );
    /// @notice A payer asks for the charge at `position` of a line that drew `amount`.
    event ChargeChallenged(
        bytes32 indexed lineId,
        address indexed payer,
        address indexed operator,
        uint64 batch,
        uint32 index,
        uint32 position,
        uint128 amount,
        uint64 deadline
    );
    /// @notice The operator has shown the charge and its receipt.
    event ChallengeAnswered(bytes32 indexed lineId, bytes32 receiptHash);
    /// @notice What a line drew went back to its payer.
    event DrawRefunded(
        bytes32 indexed lineId,
        address indexed payer,
        address indexed operator,
        uint64 batch,
        uint32 index,
        bytes32 assetId,
        address token,
        uint128 amount
    );

    /// @notice The line is not under the root of that batch of that operator.
    error UsageEscrow_LineNotSettled(bytes32 lineId);
    /// @notice Only the line's payer challenges it.
    error UsageEscrow_NotLinePayer(bytes32 lineId, address caller);
    /// @notice The line has no charge at this place.
    error UsageEscrow_InvalidPosition(uint32 position, uint32 records);
    /// @notice The line drew nothing.
    error UsageEscrow_NothingDrawn(bytes32 lineId);
    /// @notice The dispute is not in a state that allows this.
    error UsageEscrow_WrongDisputeStatus(bytes32 lineId, DisputeStatus status);
    /// @notice The dispute time of the line, or the time to answer, is over; or it is not over yet.
    error UsageEscrow_WrongDisputeTime(bytes32 lineId, uint64 limit);
    /// @notice Nothing is held that could be released now.
    error UsageEscrow_NothingToRelease(bytes32 holdId);
    /// @notice What the line drew is not held any more.
    error UsageEscrow_NotHeld(bytes32 lineId);
    /// @notice The charge is not what was challenged: another place, payer or currency, or not under the line's root.
    error UsageEscrow_InvalidCharge(bytes32 lineId);
    /// @notice The receipt is not the charge's, or not of this asset, or its segment or certificate does not hold.
    error UsageEscrow_InvalidReceipt(bytes32 lineId);
    /// @notice The two charges are one, or are of different receipts.
    error UsageEscrow_NoContradiction(bytes32 lineId);

    /// @notice Brings to the router what is held and not disputed, once its dispute time is over. Anyone may call.
    /// Exit: open in every state.
    function release(HoldName calldata name) external returns (uint128 amount);

    /// @notice Asks for the charge at `position` of a line, within the dispute time of its settlement. Its payer calls,
    /// once for each line. Exit: open in every state.
    function challenge(SettledLine calldata settled, uint32 position) external returns (bytes32 lineId);

    /// @notice Shows the challenged charge and its receipt. Anyone may call, within the time to answer.
    function answer(SettledLine calldata settled, ChargeProof calldata shown, SignedReceipt calldata signed) external;

    /// @notice Gives a draw back whose challenge nobody has answered. Anyone may call. Exit: open in every state.
    function refund(SettledLine calldata settled) external returns (uint128 amount);

    /// @notice Gives the draw of the first line back, because it and the second one charge the same receipt; the lines
    /// may be one, with the receipt at two places. Anyone may call while the draw is held. Exit: open in every state.
    function contradict(
        SettledLine calldata settled,
        ChargeProof calldata charged,
        SettledLine calldata other,
        ChargeProof calldata otherCharged
    ) external returns (uint128 amount);

    /// @notice Id of a line of an operator's batch.
    function lineIdOf(address operator, uint64 batch, IUsageEscrow.Line calldata line) external pure returns (bytes32);

    /// @notice What is held; all zero when nothing ever was.
    function holdOf(HoldName calldata name) external view returns (Hold memory);

    /// @notice The dispute about a line; all zero when there is none.
    function disputeOf(bytes32 lineId) external view returns (Dispute memory);
}
