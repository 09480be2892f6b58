// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {CreditToken} from "../src/CreditToken.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {ICreditToken} from "../src/interfaces/ICreditToken.sol";
import {ICredits} from "../src/interfaces/ICredits.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {CreditsBase} from "./CreditsBase.sol";
import {FeeToken, Impostor} from "./mocks/Tokens.sol";

contract CreditsTest is CreditsBase {
    function _expect(bytes memory error) private {
        vm.expectRevert(error);
    }

    // --- openSeries ---

    function test_openSeries_KeepsItsTerms() external view {
        ICredits.Series memory series = credits.seriesOf(address(units));
        assertEq(
            abi.encode(series),
            abi.encode(ICredits.Series(planId, assetId, address(usd), UNIT_PRICE, SUPPLY, end, true))
        );
        assertEq(credits.seriesCount(), 1);
        assertEq(units.credits(), address(credits));
        assertEq(units.decimals(), 0);
        assertEq(string.concat(units.name(), units.symbol()), "Licet creditsCREDIT");
        assertFalse(credits.isSeries(address(usd)));
    }

    function test_openSeries_RevertWhen_TheCallerSpeaksNotForTheAsset() external {
        _expect(abi.encodeWithSelector(ICredits.Credits_Unauthorized.selector, assetId, stranger));
        vm.prank(stranger);
        credits.openSeries(planId, 1, 1, end, true);
    }

    function test_openSeries_RevertWhen_ItsTermsAreOutOfBounds() external {
        vm.startPrank(publisher);
        _expect(abi.encodeWithSelector(ICredits.Credits_InvalidSupply.selector, 0, 1));
        credits.openSeries(planId, 0, 1, end, true);
        _expect(abi.encodeWithSelector(ICredits.Credits_InvalidSupply.selector, 1, 0));
        credits.openSeries(planId, 1, 0, end, true);
        uint128 dear = type(uint128).max / 2 + 1;
        _expect(abi.encodeWithSelector(ICredits.Credits_InvalidSupply.selector, dear, 2));
        credits.openSeries(planId, dear, 2, end, true);
        uint64 now_ = uint64(block.timestamp);
        _expect(abi.encodeWithSelector(ICredits.Credits_InvalidExpiry.selector, now_));
        credits.openSeries(planId, 1, 1, now_, true);
        uint64 late = now_ + credits.MAX_TERM() + 1;
        _expect(abi.encodeWithSelector(ICredits.Credits_InvalidExpiry.selector, late));
        credits.openSeries(planId, 1, 1, late, true);
        credits.openSeries(planId, 1, 1, late - 1, true);
    }

    function test_openSeries_RevertWhen_ThePlanOrTheEntryIsClosed() external {
        vm.startPrank(publisher);
        planBook.closePlan(planId);
        _expect(abi.encodeWithSelector(IPlanBook.PlanBook_Closed.selector, planId));
        credits.openSeries(planId, 1, 1, end, true);
        vm.stopPrank();
        _advance(address(credits), IDirectory.Status.Retiring);
        _expect(
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(credits), IDirectory.Status.Retiring
            )
        );
        credits.openSeries(planId, 1, 1, end, true);
    }

    // --- issue ---

    function testFuzz_issue_IsPaidInFullAndKeptHere(uint64 amount) external {
        amount = uint64(bound(amount, 1, SUPPLY));
        uint128 price = amount * UNIT_PRICE;
        _fund(buyer, address(credits), price);
        vm.expectEmit(address(credits));
        emit ICredits.CreditsIssued(address(units), assetId, holder, buyer, amount, price);
        vm.expectEmit(address(units));
        emit IERC20.Transfer(address(0), holder, amount);
        vm.prank(buyer);
        assertEq(credits.issue(address(units), holder, amount, price), price);
        assertEq(units.balanceOf(holder), amount);
        assertEq(credits.balanceOf(holder, _id(units)), amount);
        assertEq(units.totalSupply(), amount);
        assertEq(credits.issuedOf(address(units)), amount);
        assertEq(credits.backingOf(address(usd)), price);
        assertEq(_usd(address(credits)), price);
    }

    function test_issue_RevertWhen_NothingIsAskedOrTheSeriesIsUnknownOrSoldOut() external {
        _fund(buyer, address(credits), type(uint128).max);
        vm.startPrank(buyer);
        _expect(abi.encodeWithSelector(ICredits.Credits_ZeroUnits.selector));
        credits.issue(address(units), holder, 0, 0);
        _expect(abi.encodeWithSelector(ICredits.Credits_UnknownSeries.selector, uint160(address(usd))));
        credits.issue(address(usd), holder, 1, UNIT_PRICE);
        _expect(abi.encodeWithSelector(ICredits.Credits_PriceAboveMax.selector, UNIT_PRICE, UNIT_PRICE - 1));
        credits.issue(address(units), holder, 1, UNIT_PRICE - 1);
        credits.issue(address(units), holder, SUPPLY - 1, SUPPLY * UNIT_PRICE);
        _expect(abi.encodeWithSelector(ICredits.Credits_SoldOut.selector, _id(units), 1));
        credits.issue(address(units), holder, 2, SUPPLY * UNIT_PRICE);
        assertEq(credits.issuedOf(address(units)), SUPPLY - 1);
    }

    function test_issue_RevertWhen_ItHasEndedOrIsClosed() external {
        uint256 snapshot = vm.snapshotState();
        vm.warp(end);
        _expect(abi.encodeWithSelector(ICredits.Credits_Expired.selector, _id(units), end));
        credits.issue(address(units), holder, 1, UNIT_PRICE);
        vm.revertToState(snapshot);
        vm.prank(publisher);
        planBook.closePlan(planId);
        _expect(abi.encodeWithSelector(ICredits.Credits_PlanClosed.selector, planId));
        credits.issue(address(units), holder, 1, UNIT_PRICE);
        vm.revertToState(snapshot);
        directory.pauseEntry(address(credits), uint64(block.timestamp) + 1);
        _expect(
            abi.encodeWithSelector(
                IDirectory.Directory_EntryPaused.selector, address(credits), uint64(block.timestamp) + 1
            )
        );
        credits.issue(address(units), holder, 1, UNIT_PRICE);
    }

    function test_issue_RevertWhen_TheCurrencyKeepsAFee() external {
        FeeToken fee = new FeeToken();
        IPlanBook.PlanTerms memory terms = _terms();
        terms.currency = address(fee);
        planId = _createPlan(terms);
        CreditToken token = _open(SUPPLY, true);
        fee.mint(buyer, 100 * UNIT_PRICE);
        vm.startPrank(buyer);
        fee.approve(address(credits), 100 * UNIT_PRICE);
        _expect(
            abi.encodeWithSelector(
                ICredits.Credits_AmountMismatch.selector, address(fee), 100 * UNIT_PRICE, 99 * UNIT_PRICE
            )
        );
        credits.issue(address(token), holder, 100, 100 * UNIT_PRICE);
    }

    function test_issueWithPermit_PaysByASignatureAlsoOneThatWasUsed() external {
        (address signer, uint256 key) = makeAddrAndKey("signer");
        usd.mint(signer, 20 * UNIT_PRICE);
        for (uint256 i = 0; i < 2; ++i) {
            ILicenseSale.PermitSignature memory permit = _permit(signer, key, 10 * UNIT_PRICE);
            if (i == 1) {
                usd.permit(signer, address(credits), 10 * UNIT_PRICE, permit.deadline, permit.v, permit.r, permit.s);
            }
            vm.prank(signer);
            credits.issueWithPermit(address(units), signer, 10, 10 * UNIT_PRICE, permit);
        }
        assertEq(units.balanceOf(signer), 20);
        assertEq(_usd(signer), 0);
    }

    function _permit(address signer, uint256 key, uint256 value)
        private
        view
        returns (ILicenseSale.PermitSignature memory permit)
    {
        permit.deadline = block.timestamp + 1 hours;
        bytes32 hash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                signer,
                address(credits),
                value,
                usd.nonces(signer),
                permit.deadline
            )
        );
        (permit.v, permit.r, permit.s) =
            vm.sign(key, keccak256(abi.encodePacked("\x19\x01", usd.DOMAIN_SEPARATOR(), hash)));
    }

    // --- movement ---

    function test_units_MoveByBothStandards() external {
        _issue(units, holder, 10);
        vm.startPrank(holder);
        vm.expectEmit(address(credits));
        emit IERC1155.TransferSingle(address(units), holder, stranger, _id(units), 3);
        assertTrue(units.transfer(stranger, 3));
        vm.expectEmit(address(units));
        emit IERC20.Transfer(holder, stranger, 2);
        credits.safeTransferFrom(holder, stranger, _id(units), 2, "");
        vm.expectEmit(address(units));
        emit IERC20.Approval(holder, buyer, 4);
        units.approve(buyer, 4);
        vm.stopPrank();
        vm.startPrank(buyer);
        units.transferFrom(holder, stranger, 3);
        _expect(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, buyer, 1, 2));
        units.transferFrom(holder, stranger, 2);
        vm.stopPrank();
        assertEq(units.allowance(holder, buyer), 1);
        assertEq(units.balanceOf(stranger), 8);
        assertEq(units.balanceOf(address(0)), 0);
    }

    function test_units_AnAllowanceWithoutEndStays() external {
        _issue(units, holder, 2);
        vm.prank(holder);
        units.approve(buyer, type(uint256).max);
        vm.prank(buyer);
        units.transferFrom(holder, buyer, 2);
        assertEq(units.allowance(holder, buyer), type(uint256).max);
    }

    function test_units_RevertWhen_TheyWouldGoNowhere() external {
        _issue(units, holder, 10);
        vm.startPrank(holder);
        _expect(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        units.transfer(address(0), 1);
        _expect(abi.encodeWithSelector(IERC20Errors.ERC20InvalidSender.selector, address(0)));
        units.transferFrom(address(0), holder, 0);
        _expect(abi.encodeWithSelector(IERC20Errors.ERC20InvalidSpender.selector, address(0)));
        units.approve(address(0), 1);
        address[2] memory sinks = [address(escrow), address(router)];
        for (uint256 i = 0; i < 2; ++i) {
            _expect(abi.encodeWithSelector(ICredits.Credits_NotByDeposit.selector, _id(units), sinks[i]));
            units.transfer(sinks[i], 1);
            _expect(abi.encodeWithSelector(ICredits.Credits_NotByDeposit.selector, _id(units), sinks[i]));
            credits.safeTransferFrom(holder, sinks[i], _id(units), 1, "");
        }
    }

    function test_units_RevertWhen_TheyMayNotMove() external {
        CreditToken bound = _open(SUPPLY, false);
        _issue(bound, holder, 10);
        vm.startPrank(holder);
        _expect(abi.encodeWithSelector(ICredits.Credits_NotTransferable.selector, _id(bound)));
        bound.transfer(stranger, 1);
        uint256[] memory ids = new uint256[](2);
        uint256[] memory values = new uint256[](2);
        (ids[0], ids[1], values[1]) = (_id(units), _id(bound), 1);
        _expect(abi.encodeWithSelector(ICredits.Credits_NotTransferable.selector, _id(bound)));
        credits.safeBatchTransferFrom(holder, stranger, ids, values, "");
        vm.stopPrank();
        // They are used, and come back, all the same.
        bytes32 depositId = _lock(bound, holder, 10);
        vm.prank(holder);
        uint256 exitId = escrow.requestExit(depositId, 10);
        skip(EXIT_DELAY);
        escrow.withdraw(exitId);
        assertEq(bound.balanceOf(holder), 10);
    }

    function test_units_RevertWhen_TheirSeriesHasEnded() external {
        _issue(units, holder, 10);
        vm.warp(end);
        vm.startPrank(holder);
        _expect(abi.encodeWithSelector(ICredits.Credits_Expired.selector, _id(units), end));
        units.transfer(stranger, 1);
        units.approve(address(escrow), 10);
        _expect(abi.encodeWithSelector(ICredits.Credits_Expired.selector, _id(units), end));
        escrow.deposit(operator, address(units), 10);
    }

    function test_moveFor_RevertWhen_TheCallerIsNoSeries() external {
        _issue(units, holder, 1);
        _expect(abi.encodeWithSelector(ICredits.Credits_NotToken.selector, stranger));
        vm.prank(stranger);
        credits.moveFor(holder, holder, stranger, 1);
        _expect(abi.encodeWithSelector(ICreditToken.CreditToken_NotCredits.selector, stranger));
        vm.prank(stranger);
        units.tell(holder, stranger, 1);
    }

    // --- use ---

    function testFuzz_settlement_RedeemsWhatItDrew(uint64 locked, uint64 used) external {
        locked = uint64(bound(locked, 1, SUPPLY));
        used = uint64(bound(used, 1, locked));
        _issue(units, payer, SUPPLY);
        bytes32 depositId = _lock(units, payer, locked);
        _settleToken(depositId, used);
        // Used units end with what was settled, also beyond the end of their series.
        vm.warp(end + 1);
        vm.expectEmit(address(credits));
        emit ICredits.CreditsRedeemed(address(units), assetId, used, used * UNIT_PRICE);
        escrow.release(_hold(1));
        assertEq(router.pendingOf(assetId, address(usd)).amount, used * UNIT_PRICE);
        assertEq(router.pendingOf(assetId, address(units)).amount, 0);
        assertEq(units.totalSupply(), SUPPLY - used);
        assertEq(credits.backingOf(address(usd)), uint256(SUPPLY - used) * UNIT_PRICE);
        assertEq(_usd(address(credits)), uint256(SUPPLY - used) * UNIT_PRICE);
        assertEq(units.balanceOf(address(escrow)), locked - used);
    }

    function test_settlement_PaysWhoOwnedTheAssetThen() external {
        _issue(units, payer, 10);
        _settleToken(_lock(units, payer, 10), 10);
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, stranger, tokenId);
        skip(DISPUTE_TIME);
        escrow.release(_hold(1));
        assertEq(router.pendingOf(assetId, address(usd)).payee, publisher);
    }

    function test_redeem_RevertWhen_ItIsForAnotherAsset() external {
        vm.prank(publisher);
        bytes32 other = registry.assetIdOf(registry.register("acme/other", IAssetRegistry.Kind.Model, publisher));
        _issue(units, payer, 10);
        _lock(units, payer, 10);
        IUsageEscrow.Item memory item;
        (item.payer, item.amount, item.payerRoot, item.records) = (payer, 10, keccak256("root"), 1);
        _settleAs(operator, 1, _group(other, address(units), _one(item)));
        skip(DISPUTE_TIME);
        IDisputes.HoldName memory name = IDisputes.HoldName(operator, 1, other, address(units));
        // An operator that names another asset brings nobody the money.
        _expect(abi.encodeWithSelector(ICredits.Credits_NotRedeemable.selector, _id(units), address(router), other));
        escrow.release(name);
        assertEq(_usd(address(router)), 0);
    }

    function test_redeem_RevertWhen_TheCallerIsNoRouter() external {
        _issue(units, stranger, 10);
        _expect(abi.encodeWithSelector(ICredits.Credits_NotRedeemable.selector, _id(units), stranger, assetId));
        vm.prank(stranger);
        credits.redeem(address(units), assetId, 10);
    }

    function test_release_LeavesATokenThatOnlyClaimsToBeOfCredits() external {
        Impostor impostor = new Impostor(address(credits));
        impostor.mint(payer, 10);
        bytes32 depositId = _depositToken(impostor, 10);
        _settleToken(depositId, 10);
        assertEq(_releaseToken(address(impostor)), 10);
        assertEq(router.pendingOf(assetId, address(impostor)).amount, 10);
        impostor.pretend(address(directory));
        _settleTokenAgain(impostor);
        assertEq(router.pendingOf(assetId, address(impostor)).amount, 20);
    }

    function _settleTokenAgain(Impostor impostor) private {
        impostor.mint(payer, 10);
        bytes32 depositId = _depositToken(impostor, 10);
        _settleToken(depositId, 10);
        _releaseToken(address(impostor));
    }

    // --- expire ---

    function test_expire_MakesUnusedUnitsRevenue() external {
        _issue(units, holder, 30);
        _issue(units, payer, 20);
        _lock(units, payer, 15);
        address[] memory holders = new address[](4);
        (holders[0], holders[1], holders[2], holders[3]) = (holder, payer, stranger, holder);
        _expect(abi.encodeWithSelector(ICredits.Credits_NotExpired.selector, _id(units), end));
        credits.expire(address(units), holders);
        vm.warp(end);
        vm.expectEmit(address(credits));
        emit ICredits.CreditsExpired(address(units), assetId, holder, 30, 30 * UNIT_PRICE);
        vm.expectEmit(address(router));
        emit IRevenueRouter.RevenueReceived(
            assetId, address(usd), publisher, 35 * UNIT_PRICE, IRevenueRouter.Source.Expiry, bytes32(_id(units))
        );
        vm.prank(stranger);
        credits.expire(address(units), holders);
        assertEq(units.totalSupply(), 15);
        assertEq(credits.backingOf(address(usd)), 15 * UNIT_PRICE);
        _expect(abi.encodeWithSelector(ICredits.Credits_ZeroUnits.selector));
        credits.expire(address(units), holders);
    }

    function test_expire_RevertWhen_TheUnitsAreInAnEscrow() external {
        _issue(units, payer, 20);
        _lock(units, payer, 20);
        vm.warp(end);
        address[] memory holders = new address[](1);
        holders[0] = address(escrow);
        _expect(abi.encodeWithSelector(ICredits.Credits_InEscrow.selector, _id(units), address(escrow)));
        credits.expire(address(units), holders);
        holders[0] = address(router);
        _expect(abi.encodeWithSelector(ICredits.Credits_InEscrow.selector, _id(units), address(router)));
        credits.expire(address(units), holders);
    }

    function test_expire_RevertWhen_NoRouterIsActive() external {
        _issue(units, holder, 20);
        vm.warp(end);
        _advance(address(router), IDirectory.Status.Retiring);
        _expect(abi.encodeWithSelector(ICredits.Credits_NoRouter.selector));
        credits.expire(address(units), new address[](0));
    }

    function test_expire_AlsoOnceRetired() external {
        _issue(units, holder, 20);
        _advance(address(credits), IDirectory.Status.Retiring);
        _advance(address(credits), IDirectory.Status.Retired);
        vm.warp(end);
        address[] memory holders = new address[](1);
        holders[0] = holder;
        credits.expire(address(units), holders);
        assertEq(router.pendingOf(assetId, address(usd)).amount, 20 * UNIT_PRICE);
    }

    function test_seriesOf_RevertWhen_Unknown() external {
        _expect(abi.encodeWithSelector(ICredits.Credits_UnknownSeries.selector, uint160(stranger)));
        credits.seriesOf(stranger);
    }

    function test_aRecipientWithCodeThatTakesNoneGetsNone() external {
        _fund(buyer, address(credits), UNIT_PRICE);
        vm.prank(buyer);
        vm.expectRevert();
        credits.issue(address(units), address(usd), 1, UNIT_PRICE);
    }
}
