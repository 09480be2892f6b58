// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EscrowStorage} from "./EscrowStorage.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "./interfaces/IUsageEscrow.sol";
import {IVouchers} from "./interfaces/IVouchers.sol";
import {DepositBook} from "./libraries/DepositBook.sol";
import {DisputeBook} from "./libraries/DisputeBook.sol";
import {MandateBook} from "./libraries/MandateBook.sol";
import {Mandates} from "./libraries/Mandates.sol";
import {Names} from "./libraries/Names.sol";
import {OperatorBook} from "./libraries/OperatorBook.sol";
import {VoucherBook} from "./libraries/VoucherBook.sol";

/// @title Second half of the escrow's code: exits, caps, mandates, vouchers and disputes
/// @notice The escrow runs it by delegatecall; called otherwise it does nothing. `UsageEscrow` has the same functions,
/// and their interfaces describe them.
contract EscrowExtension is EscrowStorage {
    using DepositBook for DepositBook.Book;
    using DisputeBook for DisputeBook.Book;
    using MandateBook for MandateBook.Book;
    using OperatorBook for OperatorBook.Cap;
    using OperatorBook for OperatorBook.Operator;
    using SafeERC20 for IERC20;
    using VoucherBook for VoucherBook.Book;

    /// @notice The code runs in the storage of an escrow alone.
    error EscrowExtension_NotDelegated();

    address private immutable _self = address(this);

    constructor(address manager, IDirectory directory) EscrowStorage(manager, directory) {}

    modifier onlyDelegated() {
        if (address(this) == _self) revert EscrowExtension_NotDelegated();
        _;
    }

    /// @notice See `IUsageEscrow`.
    function setDirectDraws(address operator, address token, bool allowed) external onlyDelegated {
        DepositBook.Party memory party = DepositBook.Party(msg.sender, operator, token);
        _book.setDirectDraws(DepositBook.idOf(msg.sender, operator, token), party, allowed, _currentExitDelay());
    }

    /// @notice See `IUsageEscrow`.
    function requestExit(bytes32 depositId, uint128 amount)
        external
        onlyDelegated
        nonReentrant
        returns (uint256 exitId)
    {
        if (_book.parties[depositId].payer != msg.sender) {
            revert IUsageEscrow.UsageEscrow_NotPayer(depositId, msg.sender);
        }
        if (amount == 0) revert IUsageEscrow.UsageEscrow_ZeroAmount();
        exitId = _book.requestExit(depositId, amount, uint64(block.timestamp) + _currentExitDelay());
    }

    /// @notice See `IUsageEscrow`.
    function withdraw(uint256 exitId) external onlyDelegated nonReentrant returns (uint128 amount) {
        address payer;
        address token;
        (payer, token, amount) = _book.close(exitId);
        if (amount != 0) IERC20(token).safeTransfer(payer, amount);
    }

    /// @notice See `IUsageEscrow`.
    function setSettlerCap(address token, uint128 cap) external onlyDelegated onlyOperator {
        _operators[msg.sender].setCap(token, cap, _currentExitDelay());
    }

    /// @notice See `IMandates`.
    function openMandate(Mandates.Mandate calldata mandate, bytes calldata signature)
        external
        onlyDelegated
        nonReentrant
        returns (bytes32 mandateId)
    {
        _directory.requireActive(address(this));
        mandateId = _mandates.open(_book, mandate, signature);
    }

    /// @notice See `IMandates`.
    function revokeMandate(bytes32 mandateId) external onlyDelegated nonReentrant {
        _mandates.revoke(_book, mandateId);
    }

    /// @notice See `IMandates`.
    function cancelMandateNonce(uint256 nonce) external onlyDelegated {
        _mandates.cancelNonce(nonce);
    }

    /// @notice See `IVouchers`.
    function presentVoucher(IVouchers.Voucher calldata voucher, bytes calldata signature)
        external
        onlyDelegated
        nonReentrant
    {
        _vouchers.present(voucher, signature);
    }

    /// @notice See `IDisputes`.
    function release(IDisputes.HoldName calldata name) external onlyDelegated nonReentrant returns (uint128 amount) {
        address router = _directory.activeOf(Names.REVENUE_ROUTER);
        return _disputes.release(_book, router == address(0) ? _router : IRevenueRouter(router), name);
    }

    /// @notice See `IDisputes`.
    function challenge(IDisputes.SettledLine calldata settled, uint32 position)
        external
        onlyDelegated
        nonReentrant
        returns (bytes32 lineId)
    {
        return _disputes.challenge(_operators[settled.operator], settled, position, _currentDisputeTime());
    }

    /// @notice See `IDisputes`.
    function answer(
        IDisputes.SettledLine calldata settled,
        IDisputes.ChargeProof calldata shown,
        IDisputes.SignedReceipt calldata signed
    ) external onlyDelegated nonReentrant {
        _disputes.answer(_operators[settled.operator], settled, shown, signed);
    }

    /// @notice See `IDisputes`.
    function refund(IDisputes.SettledLine calldata settled)
        external
        onlyDelegated
        nonReentrant
        returns (uint128 amount)
    {
        return _disputes.refund(_book, settled);
    }

    /// @notice See `IDisputes`.
    function contradict(
        IDisputes.SettledLine calldata settled,
        IDisputes.ChargeProof calldata charged,
        IDisputes.SettledLine calldata other,
        IDisputes.ChargeProof calldata otherCharged
    ) external onlyDelegated nonReentrant returns (uint128 amount) {
        OperatorBook.Operator storage operator = _operators[settled.operator];
        return _disputes.contradict(_book, operator, settled, charged, other, otherCharged);
    }
}
