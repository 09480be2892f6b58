// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Test} from "forge-std/Test.sol";
import {AssetGovernor} from "../src/AssetGovernor.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {AssetTimelock} from "../src/AssetTimelock.sol";
import {BreachBook} from "../src/BreachBook.sol";
import {ComplianceGate} from "../src/ComplianceGate.sol";
import {Credits} from "../src/Credits.sol";
import {Directory} from "../src/Directory.sol";
import {License} from "../src/License.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {MirrorBook} from "../src/MirrorBook.sol";
import {Market} from "../src/Market.sol";
import {PlanBook} from "../src/PlanBook.sol";
import {RevenueRouter} from "../src/RevenueRouter.sol";
import {Shares} from "../src/Shares.sol";
import {SharesFactory} from "../src/SharesFactory.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {EscrowExtension} from "../src/EscrowExtension.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {UsageEscrow} from "../src/UsageEscrow.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Roles} from "../src/libraries/Roles.sol";
import {BatchRoots} from "./BatchRoots.sol";

/// @notice A deployment as the script leaves it, one asset with a plan, and the people of the story.
abstract contract Base is Test {
    uint64 internal constant EXIT_DELAY = 72 hours;
    uint64 internal constant DISPUTE_TIME = 1 hours;
    uint128 internal constant PRICE = 5_000_000;
    uint128 internal constant UNIT_PRICE = 100;
    uint64 internal constant PERIOD = 30 days;

    address internal publisher = makeAddr("publisher");
    address internal buyer = makeAddr("buyer");
    address internal payer = makeAddr("payer");
    address internal operator = makeAddr("operator");
    address internal receiptKey = makeAddr("receiptKey");
    address internal stranger = makeAddr("stranger");

    AccessManager internal manager;
    TimelockController internal timelock;
    Directory internal directory;
    AssetRegistry internal registry;
    PlanBook internal planBook;
    License internal license;
    LicenseSale internal sale;
    RevenueRouter internal router;
    EscrowExtension internal extension;
    UsageEscrow internal escrow;
    Market internal market;
    SharesFactory internal sharesFactory;
    BreachBook internal breachBook;
    ComplianceGate internal complianceGate;
    Credits internal credits;
    MirrorBook internal mirrorBook;
    TestUSD internal usd;

    BatchRoots internal batchRoots;
    bytes32 internal assetId;

    function setUp() public virtual {
        vm.warp(1_760_000_000);
        _deploy();
        _configure();
        batchRoots = new BatchRoots();
        vm.prank(publisher);
        assetId = registry.assetIdOf(registry.register("acme/risk", IAssetRegistry.Kind.Model, publisher));
        vm.prank(operator);
        escrow.registerOperator(receiptKey, uint64(block.timestamp), uint64(block.timestamp) + 365 days);
        _setCap(address(usd), type(uint128).max);
    }

    function _deploy() private {
        address[] memory proposers = new address[](1);
        proposers[0] = address(this);
        address[] memory executors = new address[](1);
        manager = new AccessManager(address(this));
        timelock = new TimelockController(EXIT_DELAY, proposers, executors, address(0));
        directory = new Directory(address(manager));
        mirrorBook = new MirrorBook(address(manager), directory);
        registry = new AssetRegistry(directory, mirrorBook);
        planBook = new PlanBook(directory, registry);
        license = new License(directory);
        sale = new LicenseSale(directory, planBook, license);
        router = new RevenueRouter(address(manager), directory, registry, address(timelock));
        extension = new EscrowExtension(address(manager), directory);
        escrow = new UsageEscrow(address(manager), directory, address(extension));
        market = new Market(directory);
        address sharesCode = address(new Shares(directory));
        address timelockCode = address(new AssetTimelock(directory, registry));
        address governorCode = address(new AssetGovernor(directory));
        complianceGate = new ComplianceGate(address(manager), directory, registry);
        sharesFactory = new SharesFactory(directory, registry, sharesCode, timelockCode, governorCode, complianceGate);
        breachBook = new BreachBook(directory, registry, planBook, license);
        credits = new Credits(directory, registry, planBook);
        usd = new TestUSD();
    }

    /// @dev The test keeps the roles that the timelock would have; what they cannot do is what the tests show.
    function _configure() private {
        _needRole(address(directory), IDirectory.list.selector, Roles.DIRECTORY);
        _needRole(address(directory), IDirectory.advance.selector, Roles.DIRECTORY);
        _needRole(address(escrow), IUsageEscrow.setExitDelay.selector, Roles.PARAMETER);
        _needRole(address(router), RevenueRouter.setFee.selector, Roles.PROTOCOL);
        _needRole(address(directory), IDirectory.pauseEntry.selector, Roles.PROTOCOL);
        _needRole(address(mirrorBook), MirrorBook.report.selector, Roles.REPORTER);
        _needRole(address(mirrorBook), MirrorBook.correct.selector, Roles.PARAMETER);
        _needRole(address(escrow), IUsageEscrow.setDisputeTime.selector, Roles.PARAMETER);
        _needRole(address(complianceGate), ComplianceGate.setLongestTerm.selector, Roles.PROTOCOL);
        manager.grantRole(Roles.DIRECTORY, address(this), 0);
        manager.grantRole(Roles.PARAMETER, address(this), 0);
        manager.grantRole(Roles.PROTOCOL, address(this), 0);
        directory.list("AssetRegistry", address(registry));
        directory.list("PlanBook", address(planBook));
        directory.list("License", address(license));
        directory.list("LicenseSale", address(sale));
        directory.list("RevenueRouter", address(router));
        directory.list("UsageEscrow", address(escrow));
        directory.list("Market", address(market));
        directory.list("SharesFactory", address(sharesFactory));
        directory.list("BreachBook", address(breachBook));
        directory.list("ComplianceGate", address(complianceGate));
        directory.list("MirrorBook", address(mirrorBook));
        directory.list("Credits", address(credits));
        escrow.setExitDelay(EXIT_DELAY);
        escrow.setDisputeTime(DISPUTE_TIME);
    }

    function _needRole(address target, bytes4 selector, uint64 role) private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = selector;
        manager.setTargetFunctionRole(target, selectors, role);
    }

    function _setCap(address token, uint128 cap) internal {
        vm.prank(operator);
        escrow.setSettlerCap(token, cap);
    }

    function _terms() internal view returns (IPlanBook.PlanTerms memory) {
        return IPlanBook.PlanTerms({
            assetId: assetId,
            currency: address(usd),
            supply: 0,
            perRecipient: 0,
            price: PRICE,
            period: PERIOD,
            includedUnits: 1000,
            unitPrice: UNIT_PRICE,
            trialPeriod: 0,
            trialUnits: 0,
            meteringRule: "rows:INPUT__0",
            requestsPerSecond: 50,
            transferable: true,
            commercial: true,
            optimisticUnits: 10,
            optimisticAmount: 1000,
            server: operator,
            breachNotice: 7 days,
            seats: 0,
            termsDigest: keccak256("terms"),
            breachGrounds: keccak256("grounds")
        });
    }

    function _createPlan(IPlanBook.PlanTerms memory terms) internal returns (uint256 planId) {
        vm.prank(publisher);
        planId = planBook.createPlan(terms);
    }

    function _fund(address account, address spender, uint256 amount) internal {
        usd.mint(account, amount);
        vm.prank(account);
        usd.approve(spender, amount);
    }

    function _buy(uint256 planId, address recipient) internal returns (uint256 tokenId) {
        _fund(buyer, address(sale), PRICE);
        vm.prank(buyer);
        tokenId = sale.purchase(planId, recipient, PRICE);
    }

    function _deposit(address from, uint128 amount) internal returns (bytes32 depositId) {
        _fund(from, address(escrow), amount);
        vm.prank(from);
        depositId = escrow.deposit(operator, address(usd), amount);
    }

    function _depositToken(IERC20 token, uint128 amount) internal returns (bytes32 depositId) {
        vm.startPrank(payer);
        token.approve(address(escrow), amount);
        depositId = escrow.deposit(operator, address(token), amount);
        vm.stopPrank();
        _setCap(address(token), type(uint128).max);
    }

    /// @dev An item that draws from a deposit, by its id, or through a mandate, by that one's id.
    function _item(bytes32 source, uint128 amount) internal view returns (IUsageEscrow.Item memory item) {
        bytes32 depositId = escrow.mandateOf(source).depositId;
        if (depositId != 0) item.authority = source;
        else depositId = source;
        item.payer = escrow.depositOf(depositId).payer;
        item.amount = amount;
        item.payerRoot = keccak256(abi.encode(source, amount));
        item.records = 1;
    }

    function _group(bytes32 asset, address token, IUsageEscrow.Item[] memory items)
        internal
        pure
        returns (IUsageEscrow.Group[] memory groups)
    {
        groups = new IUsageEscrow.Group[](1);
        groups[0] = IUsageEscrow.Group(asset, token, items);
    }

    /// @dev Items for the fixture's asset, in its currency.
    function _groups(IUsageEscrow.Item[] memory items) internal view returns (IUsageEscrow.Group[] memory) {
        return _group(assetId, address(usd), items);
    }

    function _one(IUsageEscrow.Item memory item) internal pure returns (IUsageEscrow.Item[] memory items) {
        items = new IUsageEscrow.Item[](1);
        items[0] = item;
    }

    function _settleAs(address who, uint64 batch, IUsageEscrow.Group[] memory groups) internal {
        bytes32 root = batchRoots.rootOf(groups);
        vm.prank(who);
        escrow.settle(batch, root, "data:leaves", groups);
    }

    function _settle(IUsageEscrow.Item[] memory items) internal {
        _settleAs(operator, escrow.lastBatchOf(operator) + 1, _groups(items));
    }

    function _settleOne(bytes32 source, uint128 amount) internal {
        _settle(_one(_item(source, amount)));
    }

    /// @dev Settles an item of a deposit in its own token.
    function _settleToken(bytes32 source, uint128 amount) internal {
        address token = escrow.depositOf(source).token;
        IUsageEscrow.Group[] memory groups = _group(assetId, token, _one(_item(source, amount)));
        _settleAs(operator, escrow.lastBatchOf(operator) + 1, groups);
    }

    /// @dev Brings what the newest batch holds in a token to the router.
    function _releaseToken(address token) internal returns (uint128) {
        IDisputes.HoldName memory name = _held(escrow.lastBatchOf(operator));
        name.token = token;
        if (block.timestamp < escrow.holdOf(name).releaseAt) vm.warp(escrow.holdOf(name).releaseAt);
        return escrow.release(name);
    }

    /// @dev Brings what the newest batch holds for the fixture's asset to the router.
    function _release() internal returns (uint128) {
        return _releaseToken(address(usd));
    }

    /// @dev What the newest batch has paid for the fixture's asset.
    function _paidLast() internal view returns (uint128) {
        return escrow.holdOf(_held(escrow.lastBatchOf(operator))).amount;
    }

    function _held(uint64 batch) internal view returns (IDisputes.HoldName memory) {
        return IDisputes.HoldName(operator, batch, assetId, address(usd));
    }

    function _advance(address target, IDirectory.Status to) internal {
        directory.advance(target, to);
    }
}
