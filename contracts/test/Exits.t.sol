// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IERC7432} from "../src/interfaces/IERC7432.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {Base} from "./Base.sol";

/// @notice No role can close an exit.
contract ExitsTest is Base {
    struct Function {
        string name;
        address target;
        string signature;
    }

    /// @dev Every state-changing function of the contracts that the Directory or a role can touch. A new one fails
    /// `test_everyFunctionIsKnown` until it is entered here, and so until somebody has decided what it is.
    string[] private _exits = [
        "UsageEscrow.requestExit(bytes32,uint128)",
        "UsageEscrow.withdraw(uint256)",
        "UsageEscrow.revokeMandate(bytes32)",
        "UsageEscrow.cancelMandateNonce(uint256)",
        "UsageEscrow.setDirectDraws(address,address,bool)",
        "UsageEscrow.release((address,uint64,bytes32,address))",
        "UsageEscrow.challenge((address,uint64,(uint32,bytes32,address,address,bytes32,uint32,uint128,bytes32,uint32),bytes32[]),uint32)",
        "UsageEscrow.refund((address,uint64,(uint32,bytes32,address,address,bytes32,uint32,uint128,bytes32,uint32),bytes32[]))",
        "UsageEscrow.contradict((address,uint64,(uint32,bytes32,address,address,bytes32,uint32,uint128,bytes32,uint32),bytes32[]),((bytes32,uint128,address,address,bytes32),(bytes32,uint128,bool)[]),(address,uint64,(uint32,bytes32,address,address,bytes32,uint32,uint128,bytes32,uint32),bytes32[]),((bytes32,uint128,address,address,bytes32),(bytes32,uint128,bool)[]))",
        "RevenueRouter.distribute(bytes32,address)",
        "RevenueRouter.claim(address)",
        "RevenueRouter.claimBatch(address[])",
        "License.approve(address,uint256)",
        "License.safeTransferFrom(address,address,uint256)",
        "License.safeTransferFrom(address,address,uint256,bytes)",
        "License.setApprovalForAll(address,bool)",
        "License.transferFrom(address,address,uint256)",
        "License.burn(uint256)",
        "License.unlockToken(address,uint256)",
        "License.revokeRole(address,uint256,bytes32)",
        "AssetRegistry.approve(address,uint256)",
        "AssetRegistry.safeTransferFrom(address,address,uint256)",
        "AssetRegistry.safeTransferFrom(address,address,uint256,bytes)",
        "AssetRegistry.setApprovalForAll(address,bool)",
        "AssetRegistry.transferFrom(address,address,uint256)",
        "Market.cancel(uint256[])",
        "Market.cancelAll()",
        "BreachBook.claim(address)",
        "MirrorBook.cancel(bytes32,uint64)",
        "Credits.moveFor(address,address,address,uint256)",
        "Credits.redeem(address,bytes32,uint128)",
        "Credits.expire(address,address[])",
        "Credits.safeTransferFrom(address,address,uint256,uint256,bytes)",
        "Credits.safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
        "Credits.setApprovalForAll(address,bool)",
        "ComplianceGate.setMode(bytes32,uint8)",
        "ComplianceGate.setOfficer(bytes32,address)",
        "ComplianceGate.setIssuer(bytes32,address,bool)",
        "ComplianceGate.setClasses(bytes32,uint256)",
        "ComplianceGate.setJurisdictions(bytes32,uint16[],bool)",
        "ComplianceGate.listContract(bytes32,address,uint8)",
        "ComplianceGate.enrol(bytes32,address,uint8,uint16,uint64)",
        "ComplianceGate.enrolSigned((bytes32,address,uint8,uint16,uint64,uint256),address,bytes)",
        "ComplianceGate.revokeCredential(bytes32,address)",
        "ComplianceGate.freezeAccount(bytes32,address,bool)",
        "ComplianceGate.freezeShares(address,address,uint256)",
        "ComplianceGate.forceTransfer(address,address,address,uint256)"
    ];
    string[] private _entriesAndDuties = [
        "SharesFactory.fractionalise((bytes32,address,address,uint256,(uint48,uint32,uint256,uint256),(string,string,address,bool,address[],address[],(address,uint128,uint40,uint40,uint40)[])))",
        "AssetRegistry.register(string,uint8,address)",
        "AssetRegistry.registerDerived(string,uint8,address,(bytes32,uint16)[])",
        "AssetRegistry.setContributors(bytes32,uint16,(address,uint32)[])",
        "AssetRegistry.setDelegate(bytes32,address,bool)",
        "AssetRegistry.setRoyalty(bytes32,address,uint16)",
        "AssetRegistry.publishVersion(bytes32,bytes32,string)",
        "AssetRegistry.activateVersion(bytes32,bytes32)",
        "PlanBook.createPlan((bytes32,address,uint64,uint32,uint128,uint64,uint64,uint128,uint64,uint64,string,uint32,bool,bool,uint64,uint128,address,uint64,uint32,bytes32,bytes32))",
        "PlanBook.closePlan(uint256)",
        "PlanBook.countSale(uint256,address)",
        "PlanBook.countTrial(uint256,address)",
        "PlanBook.countConversion(uint256)",
        "License.mint(address,uint256,uint64,uint64,bool,bool)",
        "License.renew(uint256,uint64)",
        "License.migrate(uint256)",
        "License.accept(address,uint256,(uint64,uint64,uint64,uint32,bool,bool))",
        "License.hold(uint256,uint64)",
        "License.revoke(uint256)",
        "BreachBook.announce(uint256,bytes32)",
        "BreachBook.retract(uint256)",
        "BreachBook.revoke(uint256,uint256)",
        "License.lock(uint256)",
        "License.grantRole((bytes32,address,uint256,address,uint64,bool,bytes))",
        "License.setRoleApprovalForAll(address,address,bool)",
        "LicenseSale.purchase(uint256,address,uint128)",
        "LicenseSale.renew(uint256,uint128)",
        "LicenseSale.startTrial(uint256)",
        "LicenseSale.purchaseWithPermit(uint256,address,uint128,(uint256,uint8,bytes32,bytes32))",
        "LicenseSale.purchaseWithAuthorization(address,(uint256,address,uint128,uint64,uint256),bytes)",
        "LicenseSale.purchaseWithPermit2(address,(uint256,address,uint128,uint64,uint256),bytes)",
        "LicenseSale.renewWithPermit(uint256,uint128,(uint256,uint8,bytes32,bytes32))",
        "UsageEscrow.registerOperator(address,uint64,uint64)",
        "UsageEscrow.setReceiptKey(address,uint64,uint64)",
        "UsageEscrow.setSettlerCap(address,uint128)",
        "UsageEscrow.deposit(address,address,uint128)",
        "UsageEscrow.settle(uint64,bytes32,string,(bytes32,address,(address,bytes32,uint32,uint128,bytes32,uint32)[])[])",
        "UsageEscrow.answer((address,uint64,(uint32,bytes32,address,address,bytes32,uint32,uint128,bytes32,uint32),bytes32[]),((bytes32,uint128,address,address,bytes32),(bytes32,uint128,bool)[]),((string,string,uint64,uint64,bool,string,bytes32,bytes32,uint256,string,uint64,string,uint8,uint64,uint64,bytes32,bytes32),bytes32[],(bytes32,uint32),bytes,(address,address,uint64,uint64),bytes))",
        "UsageEscrow.presentVoucher((address,address,address,bytes32,uint128),bytes)",
        "UsageEscrow.openMandate((address,address,address,uint128,uint128,uint128,uint32,uint32,uint32,uint64,uint64,bytes32[],uint256),bytes)",
        "UsageEscrow.setAuthority(address)",
        "RevenueRouter.receiveRevenue(bytes32,address,uint128,bytes32)",
        "RevenueRouter.receiveSettled(bytes32,address,uint128,bytes32,(address,uint16,uint32))",
        "RevenueRouter.setAuthority(address)",
        "RevenueRouter.payTo(address)",
        "Directory.setAuthority(address)",
        "Market.fill((address,uint8,uint8,address,uint256,uint128,address,uint128,uint128,uint64,uint64,address,uint256,uint64,bytes32),bytes,uint128,uint256)",
        "MirrorBook.bind((string,uint256,address,address,uint64,address,uint64,uint64),(bytes32,uint16)[],bytes)",
        "MirrorBook.setAuthority(address)",
        "Credits.openSeries(uint256,uint128,uint64,uint64,bool)",
        "Credits.issue(address,address,uint64,uint128)",
        "Credits.issueWithPermit(address,address,uint64,uint128,(uint256,uint8,bytes32,bytes32))",
        "ComplianceGate.admit(bytes32,address,address,address)",
        "ComplianceGate.setAuthority(address)"
    ];
    string[] private _restricted = [
        "Directory.list(bytes32,address)",
        "Directory.advance(address,uint8)",
        "UsageEscrow.setExitDelay(uint64)",
        "UsageEscrow.setDisputeTime(uint64)",
        "RevenueRouter.setFee(uint16)",
        "Directory.pauseEntry(address,uint64)",
        "MirrorBook.report(bytes32,address,uint64,bytes32)",
        "MirrorBook.correct(bytes32,address,uint64,bytes32)",
        "ComplianceGate.setLongestTerm(uint64)"
    ];

    function _target(string memory name) private view returns (address) {
        bytes32 key = keccak256(bytes(name));
        if (key == keccak256("Directory")) return address(directory);
        return directory.activeOf(bytes32(bytes(name)));
    }

    function _contracts() private pure returns (string[13] memory) {
        return [
            "Directory",
            "AssetRegistry",
            "PlanBook",
            "License",
            "LicenseSale",
            "RevenueRouter",
            "UsageEscrow",
            "Market",
            "SharesFactory",
            "BreachBook",
            "MirrorBook",
            "Credits",
            "ComplianceGate"
        ];
    }

    function _isIn(string[] storage list, string memory name) private view returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (keccak256(bytes(list[i])) == keccak256(bytes(name))) return true;
        }
        return false;
    }

    function _functionsOf(string memory name) private view returns (string[] memory signatures) {
        string memory json = vm.readFile(string.concat("out/", name, ".sol/", name, ".json"));
        return vm.parseJsonKeys(json, ".methodIdentifiers");
    }

    /// @dev A function that a static call can run changes no state.
    function _isView(string memory json, string memory signature) private view returns (bool) {
        string memory head = vm.split(signature, "(")[0];
        for (uint256 i = 0; vm.keyExistsJson(json, string.concat("$[", vm.toString(i), "]")); ++i) {
            string memory at = string.concat("$[", vm.toString(i), "]");
            if (!vm.keyExistsJson(json, string.concat(at, ".stateMutability"))) continue;
            if (!vm.keyExistsJson(json, string.concat(at, ".name"))) continue;
            if (keccak256(bytes(vm.parseJsonString(json, string.concat(at, ".name")))) != keccak256(bytes(head))) {
                continue;
            }
            bytes32 mutability = keccak256(bytes(vm.parseJsonString(json, string.concat(at, ".stateMutability"))));
            return mutability == keccak256("view") || mutability == keccak256("pure");
        }
        return false;
    }

    function test_everyFunctionIsKnown() external view {
        uint256 known;
        for (uint256 c = 0; c < 13; ++c) {
            string memory name = _contracts()[c];
            // What `make abi` has written: each look takes the whole text along, and an artifact is far longer.
            string memory json = vm.readFile(string.concat("../libs/schemas/src/licet_schemas/abi/", name, ".json"));
            string[] memory signatures = _functionsOf(name);
            for (uint256 i = 0; i < signatures.length; ++i) {
                if (_isView(json, signatures[i])) continue;
                string memory full = string.concat(name, ".", signatures[i]);
                bool isKnown = _isIn(_exits, full) || _isIn(_entriesAndDuties, full) || _isIn(_restricted, full);
                assertTrue(isKnown, full);
                ++known;
            }
        }
        assertEq(known, _exits.length + _entriesAndDuties.length + _restricted.length);
    }

    /// @dev Calls every function as a stranger with zero arguments on closed targets; those that need a role answer
    /// so before anything else.
    function test_theRestrictedFunctionsAreExactlyNine() external {
        string[13] memory names = _contracts();
        for (uint256 c = 0; c < 13; ++c) {
            address target = _target(names[c]);
            manager.setTargetClosed(target, true);
            string[] memory signatures = _functionsOf(names[c]);
            for (uint256 i = 0; i < signatures.length; ++i) {
                string memory full = string.concat(names[c], ".", signatures[i]);
                bytes memory data = abi.encodePacked(bytes4(keccak256(bytes(signatures[i]))), new bytes(640));
                vm.prank(stranger);
                (bool ok, bytes memory answer) = target.call(data);
                bool refused = !ok && bytes4(answer) == IAccessManaged.AccessManagedUnauthorized.selector;
                // The AccessManager itself may give a contract another authority; nobody else may.
                bool isAuthority = vm.contains(signatures[i], "setAuthority");
                assertEq(refused, _isIn(_restricted, full) || isAuthority, full);
            }
        }
    }

    function _closeEverything() private {
        string[13] memory names = _contracts();
        address[13] memory targets;
        for (uint256 c = 0; c < 13; ++c) {
            targets[c] = _target(names[c]);
        }
        for (uint256 c = 0; c < 13; ++c) {
            if (c != 0) {
                _advance(targets[c], IDirectory.Status.Retiring);
                _advance(targets[c], IDirectory.Status.Retired);
            }
        }
        for (uint256 c = 0; c < 13; ++c) {
            manager.setTargetClosed(targets[c], true);
        }
        // The worst that the parameter role can have done before.
        assertTrue(manager.isTargetClosed(address(escrow)));
    }

    /// @dev Ten units in the escrow, beyond the end of which everything happens.
    function _lockUnits() private returns (address units, bytes32 depositId) {
        uint256 planId = _createPlan(_terms());
        vm.prank(publisher);
        units = credits.openSeries(planId, UNIT_PRICE, 10, uint64(block.timestamp) + 1 days, false);
        _fund(payer, address(credits), 10 * UNIT_PRICE);
        vm.prank(payer);
        credits.issue(units, payer, 10, 10 * UNIT_PRICE);
        depositId = _depositToken(IERC20(units), 10);
    }

    /// @dev Its holder gets unused units back, which have ended meanwhile, and what was used is redeemed.
    function _leaveWithUnits(address units, uint256 exitId) private {
        escrow.withdraw(exitId);
        assertEq(IERC20(units).balanceOf(payer), 7);
        IDisputes.HoldName memory held = _held(2);
        held.token = units;
        assertEq(escrow.release(held), 3);
        assertEq(router.pendingOf(assetId, address(usd)).amount, PRICE + 3 * UNIT_PRICE);
    }

    function test_exitsStayOpenWhenEverythingIsClosed() external {
        bytes32 id = _deposit(payer, 1000);
        (address units, bytes32 unitsId) = _lockUnits();
        uint256 licenseId = _buy(_createPlan(_terms()), buyer);
        _settleOne(id, 100);
        _settleToken(unitsId, 3);
        escrow.setExitDelay(14 days);
        skip(EXIT_DELAY);
        IERC7432.Role memory role = IERC7432.Role(
            license.USER_ROLE(), address(license), licenseId, stranger, uint64(block.timestamp) + 1 days, false, ""
        );
        vm.prank(buyer);
        license.grantRole(role);
        _closeEverything();

        vm.startPrank(payer);
        uint256 exitId = escrow.requestExit(id, 900);
        uint256 unitsExitId = escrow.requestExit(unitsId, 7);
        vm.stopPrank();
        skip(14 days);
        _leaveWithUnits(units, unitsExitId);
        escrow.withdraw(exitId);
        assertEq(usd.balanceOf(payer), 900);

        assertEq(escrow.release(_held(1)), 100);
        router.distribute(assetId, address(usd));
        vm.prank(publisher);
        assertEq(router.claim(address(usd)), PRICE + 100 + 3 * UNIT_PRICE - (PRICE + 100 + 3 * UNIT_PRICE) / 100);
        vm.prank(address(timelock));
        router.claim(address(usd));
        assertEq(usd.balanceOf(address(router)), 0);

        vm.startPrank(buyer);
        license.unlockToken(address(license), licenseId);
        license.safeTransferFrom(buyer, payer, licenseId);
        vm.stopPrank();
        vm.prank(payer);
        license.approve(stranger, licenseId);
        vm.prank(stranger);
        license.transferFrom(payer, stranger, licenseId);
        vm.prank(stranger);
        market.cancelAll();
        assertEq(market.epochOf(stranger), 1);
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.startPrank(publisher);
        registry.setApprovalForAll(stranger, true);
        registry.transferFrom(publisher, stranger, tokenId);
        vm.stopPrank();
        assertEq(license.ownerOf(licenseId), stranger);
        vm.prank(stranger);
        license.burn(licenseId);
        vm.prank(stranger);
        mirrorBook.cancel(assetId, 1);
        assertEq(mirrorBook.nextNonceOf(assetId, stranger), 1);
        assertEq(license.balanceOf(stranger), 0);
        assertEq(registry.ownerOf(tokenId), stranger);
    }

    function test_refundStaysOpenWhenEverythingIsClosed() external {
        uint256 tokenId = _buy(_createPlan(_terms()), buyer);
        _fund(publisher, address(breachBook), PRICE);
        vm.startPrank(publisher);
        breachBook.announce(tokenId, keccak256("evidence"));
        skip(7 days);
        uint256 refund = breachBook.revoke(tokenId, PRICE);
        vm.stopPrank();
        _closeEverything();
        vm.prank(buyer);
        assertEq(breachBook.claim(address(usd)), refund);
    }
}
