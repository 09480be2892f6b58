// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Mandates} from "../src/libraries/Mandates.sol";
import {Base} from "./Base.sol";

/// @notice An agent with a deposit of 10,000 and a mandate of 1,000 an hour.
abstract contract MandateBase is Base {
    uint32 internal constant HOUR = 1 hours;
    uint32 internal constant GRACE = 10 minutes;
    uint32 internal constant CALLS = 10;
    uint128 internal constant WINDOW_AMOUNT = 1000;
    uint128 internal constant TOTAL = 2500;
    uint128 internal constant IN_FLIGHT = 300;

    Vm.Wallet internal agent = vm.createWallet("agent");
    uint64 internal start;
    bytes32 internal depositId;

    function setUp() public virtual override {
        super.setUp();
        depositId = _deposit(agent.addr, 10_000);
        start = uint64(block.timestamp);
    }

    function _mandate() internal view returns (Mandates.Mandate memory m) {
        m.payer = agent.addr;
        m.operator = operator;
        m.token = address(usd);
        m.windowAmount = WINDOW_AMOUNT;
        m.totalAmount = TOTAL;
        m.inFlightCap = IN_FLIGHT;
        m.windowLength = HOUR;
        m.windowRecords = CALLS;
        m.grace = GRACE;
        m.validFrom = start;
        m.validUntil = start + 10 * HOUR;
        m.nonce = 7;
    }

    function _only(bytes32 asset) internal pure returns (bytes32[] memory assets) {
        assets = new bytes32[](1);
        assets[0] = asset;
    }

    function _sign(Mandates.Mandate memory m) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(agent.privateKey, escrow.mandateDigest(m));
        return abi.encodePacked(r, s, v);
    }

    function _open(Mandates.Mandate memory m) internal returns (bytes32 id) {
        bytes memory signature = _sign(m);
        vm.prank(stranger);
        id = escrow.openMandate(m, signature);
    }

    function _use(bytes32 id, uint32 window, uint128 amount, uint32 records)
        internal
        view
        returns (IUsageEscrow.Item memory item)
    {
        item = _item(id, amount);
        (item.window, item.records) = (window, records);
    }

    /// @dev Settles one item and says what it paid.
    function _paid(IUsageEscrow.Item memory item) internal returns (uint256) {
        _settle(_one(item));
        return _paidLast();
    }

    function _draw(bytes32 id, uint32 window, uint128 amount, uint32 records) internal returns (uint256) {
        return _paid(_use(id, window, amount, records));
    }
}
