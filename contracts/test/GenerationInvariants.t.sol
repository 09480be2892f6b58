// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {License} from "../src/License.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {Base} from "./Base.sol";
import {GenerationHandler} from "./GenerationHandler.sol";

/// @notice The numbers are those of contracts/README.md.
contract GenerationInvariantsTest is Base {
    GenerationHandler private handler;
    License private next;

    function setUp() public override {
        super.setUp();
        uint256 planId = _createPlan(_terms());
        uint256[] memory ids = new uint256[](6);
        for (uint256 i = 0; i < 6; ++i) {
            ids[i] = _buy(planId, makeAddr(string.concat("holder ", vm.toString(i % 3))));
        }
        next = new License(directory);
        LicenseSale nextSale = new LicenseSale(directory, planBook, next);
        _advance(address(license), IDirectory.Status.Retiring);
        _advance(address(sale), IDirectory.Status.Retiring);
        directory.list("License", address(next));
        directory.list("LicenseSale", address(nextSale));
        handler = new GenerationHandler(license, next, nextSale, usd, ids);
        targetContract(address(handler));
    }

    function _exists(License where, uint256 tokenId) private view returns (bool) {
        try where.ownerOf(tokenId) returns (address) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev 20
    function invariant_aLicenseIsInOneGenerationAndKeepsItsTerms() external view {
        for (uint256 i = 0; i < handler.count(); ++i) {
            uint256 tokenId = handler.ids(i);
            address holder = handler.holderOf(tokenId);
            bool isHere = _exists(license, tokenId);
            bool isThere = _exists(next, tokenId);
            assertFalse(isHere && isThere);
            assertEq(isHere || isThere, holder != address(0));
            if (holder == address(0)) continue;
            License where = isThere ? next : license;
            assertEq(where.ownerOf(tokenId), holder);
            ILicense.Terms memory terms = handler.termsOf(tokenId);
            assertEq(abi.encode(where.licenseOf(tokenId)), abi.encode(terms));
        }
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.lock(0, 0, false);
        handler.migrate(0, 0);
        assertEq(handler.migrated(), 0);
        handler.lock(0, 0, true);
        handler.migrate(0, 0);
        handler.migrate(1, 0);
        assertEq(handler.migrated(), 2);
        handler.move(0, 1, 2);
        handler.renew(0, 0);
        handler.buy(1);
        handler.burn(1, 1);
        handler.wait(1 days);
        assertEq(handler.holderOf(1), handler.people(2));
        assertEq(next.licenseOf(1).ordinal, 1);
        assertEq(handler.holderOf(2), address(0));
    }
}
