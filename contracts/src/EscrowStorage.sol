// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "./interfaces/IUsageEscrow.sol";
import {Delayed} from "./libraries/Delayed.sol";
import {DepositBook} from "./libraries/DepositBook.sol";
import {DisputeBook} from "./libraries/DisputeBook.sol";
import {MandateBook} from "./libraries/MandateBook.sol";
import {OperatorBook} from "./libraries/OperatorBook.sol";
import {VoucherBook} from "./libraries/VoucherBook.sol";

/// @title What the two halves of the escrow share
/// @dev One contract would be too large. `UsageEscrow` has the storage and the money; it runs `EscrowExtension`, whose
/// address is fixed in its code, by delegatecall. Both inherit this, so that they lay out the storage alike.
abstract contract EscrowStorage is AccessManaged, ReentrancyGuardTransient {
    using Delayed for Delayed.Number;

    uint64 private constant INITIAL_EXIT_DELAY = 72 hours;
    uint64 private constant INITIAL_DISPUTE_TIME = 24 hours;

    IDirectory internal immutable _directory;

    DepositBook.Book internal _book;
    mapping(address account => OperatorBook.Operator) internal _operators;
    Delayed.Number internal _exitDelay;
    MandateBook.Book internal _mandates;
    VoucherBook.Book internal _vouchers;
    DisputeBook.Book internal _disputes;
    Delayed.Number internal _disputeTime;
    /// @dev Of the newest settlement: brings out what is held, should no router be active any more.
    IRevenueRouter internal _router;

    constructor(address manager, IDirectory directory) AccessManaged(manager) {
        _directory = directory;
    }

    modifier onlyOperator() {
        if (!_operators[msg.sender].registered) revert IUsageEscrow.UsageEscrow_UnknownOperator(msg.sender);
        _;
    }

    /// @dev Wait of an exit that is requested now.
    function _currentExitDelay() internal view returns (uint64) {
        return _exitDelay.isSet() ? uint64(_exitDelay.value()) : INITIAL_EXIT_DELAY;
    }

    /// @dev How long is held what is settled now.
    function _currentDisputeTime() internal view returns (uint64) {
        return _disputeTime.isSet() ? uint64(_disputeTime.value()) : INITIAL_DISPUTE_TIME;
    }

    /// @dev Keeps the router of the newest settlement, for what is released once the escrow is retired.
    function _useRouter(IRevenueRouter router) internal {
        if (_router != router) _router = router;
    }
}
