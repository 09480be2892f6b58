// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {IVouchers} from "../src/interfaces/IVouchers.sol";
import {Base} from "./Base.sol";

contract VouchersTest is Base {
    Vm.Wallet private agent = vm.createWallet("agent");
    bytes32 private depositId;

    function setUp() public override {
        super.setUp();
        depositId = _deposit(agent.addr, 1000);
    }

    function _voucher(uint128 cumulative) private view returns (IVouchers.Voucher memory) {
        return IVouchers.Voucher(agent.addr, operator, address(usd), "session", cumulative);
    }

    function _sign(IVouchers.Voucher memory voucher) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(agent.privateKey, escrow.voucherDigest(voucher));
        return abi.encodePacked(r, s, v);
    }

    function _present(uint128 cumulative) private {
        IVouchers.Voucher memory voucher = _voucher(cumulative);
        bytes memory signature = _sign(voucher);
        escrow.presentVoucher(voucher, signature);
    }

    function _draw(uint128 amount) private returns (uint128) {
        IUsageEscrow.Item memory item = _item(depositId, amount);
        item.authority = "session";
        _settle(_one(item));
        return _paidLast();
    }

    function test_settle_PaysAtMostWhatWasSigned() external {
        assertEq(_draw(1), 0);
        vm.expectEmit(address(escrow));
        emit IVouchers.VoucherPresented(depositId, "session", agent.addr, operator, address(usd), 300);
        _present(300);
        assertEq(_draw(200), 200);
        assertEq(_draw(200), 100);
        assertEq(_draw(1), 0);
        _present(301);
        assertEq(_draw(50), 1);
        assertEq(escrow.channelOf(depositId, "session").drawn, 301);
        assertEq(escrow.depositOf(depositId).spendable, 699);
    }

    function test_settle_PaysNothingForALineWithoutCharges() external {
        _present(300);
        IUsageEscrow.Item memory item = _item(depositId, 100);
        (item.authority, item.records) = ("session", 0);
        _settle(_one(item));
        assertEq(_paidLast(), 0);
        assertEq(escrow.channelOf(depositId, "session").drawn, 0);
    }

    function testFuzz_settle_NeverExceedsVoucherOrDeposit(uint128[4] calldata signed, uint128[4] calldata due)
        external
    {
        uint256 most;
        for (uint256 i = 0; i < 4; ++i) {
            uint128 cumulative = uint128(bound(signed[i], 1, 2000));
            if (cumulative > most) _present(cumulative);
            if (cumulative > most) most = cumulative;
            _draw(due[i]);
            uint256 drawn = escrow.channelOf(depositId, "session").drawn;
            assertLe(drawn, most);
            assertEq(drawn, escrow.depositOf(depositId).drawn);
        }
    }

    function test_settle_PaysOnlyByVouchersWhereDirectDrawsAreForbidden() external {
        vm.prank(agent.addr);
        escrow.setDirectDraws(operator, address(usd), false);
        skip(EXIT_DELAY);
        _present(40);
        _settleOne(depositId, 100);
        assertEq(_paidLast(), 0);
        assertEq(_draw(100), 40);
    }

    function test_presentVoucher_RevertWhen_ItIsNotAbove() external {
        _present(300);
        for (uint128 cumulative = 299; cumulative <= 300; ++cumulative) {
            IVouchers.Voucher memory voucher = _voucher(cumulative);
            bytes memory signature = _sign(voucher);
            vm.expectRevert(abi.encodeWithSelector(IVouchers.UsageEscrow_StaleVoucher.selector, cumulative, 300));
            escrow.presentVoucher(voucher, signature);
        }
        IVouchers.Voucher memory wide = _voucher(type(uint128).max);
        bytes memory widely = _sign(wide);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.UsageEscrow_VoucherTooLarge.selector, type(uint128).max));
        escrow.presentVoucher(wide, widely);
    }

    function testFuzz_presentVoucher_RevertWhen_AnyFieldIsAnother(uint8 field) external {
        IVouchers.Voucher memory voucher = _voucher(300);
        bytes memory signature = _sign(voucher);
        field = uint8(bound(field, 0, 5));
        if (field == 0) voucher.payer = stranger;
        if (field == 1) voucher.operator = stranger;
        if (field == 2) voucher.token = stranger;
        if (field == 3) voucher.channel = "another";
        if (field == 4) voucher.cumulative = 301;
        if (field == 5) vm.chainId(1);
        bytes32 digest = escrow.voucherDigest(voucher);
        vm.expectRevert(
            abi.encodeWithSelector(IVouchers.UsageEscrow_InvalidVoucherSignature.selector, digest, voucher.payer)
        );
        escrow.presentVoucher(voucher, signature);
    }
}
