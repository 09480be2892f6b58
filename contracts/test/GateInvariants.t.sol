// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {GateBase} from "./GateBase.sol";
import {GateHandler} from "./GateHandler.sol";

/// @notice There is no path around the gate.
contract GateInvariantsTest is GateBase {
    GateHandler private handler;
    bytes32 private _escape;

    function setUp() public override {
        super.setUp();
        (bytes32 asset, address treasury) = (assetId, address(assetTimelock));
        ISharesFactory.Order memory order = _another("acme/escape");
        _escape = assetId;
        _regulate();
        assetId = asset;
        (, uint256 bobKey) = makeAddrAndKey("bob");
        (, uint256 carolKey) = makeAddrAndKey("carol");
        (, uint256 strangerKey) = makeAddrAndKey("stranger");
        handler = new GateHandler(
            GateHandler.Parts({
                gate: complianceGate,
                shares: shares,
                factory: sharesFactory,
                market: market,
                router: router,
                usd: usd,
                sale: address(sale),
                treasury: treasury,
                issuer: issuer,
                officer: officer,
                assetId: asset,
                escape: abi.encodeCall(sharesFactory.fractionalise, (order))
            }),
            [aliceKey, bobKey, carolKey, strangerKey],
            block.timestamp + TERM
        );
        uint256 tokenId = registry.tokenIdOf(_escape);
        vm.prank(publisher);
        registry.transferFrom(publisher, address(handler), tokenId);
        vm.prank(address(handler));
        registry.approve(address(sharesFactory), tokenId);
        targetContract(address(handler));
    }

    /// @dev 19
    function invariant_noPathAroundTheGate() external view {
        assertFalse(handler.leaked());
        assertFalse(handler.escaped());
        assertEq(sharesFactory.countOf(_escape), 0);
    }

    /// @dev 3, for shares with rules
    function invariant_nobodyLowersAnothersClaimable() external view {
        assertFalse(handler.claimableFell());
    }

    function invariant_everythingIsSomebodys() external view {
        uint256 supply;
        for (uint256 i = 0; i < 6; ++i) {
            supply += shares.balanceOf(handler.people(i));
        }
        assertEq(supply, shares.totalSupply());
    }

    /// @dev Shows that the handler does what it is for: each way is gone with credentials and refused without.
    function test_handlerReachesEveryAction() external {
        handler.earn(901);
        for (uint256 round = 0; round < 2; ++round) {
            handler.transfer(0, 2, 1e18);
            handler.transferFrom(0, 2, 1e18);
            handler.permit(0, 2, 1e18);
            handler.fill(0, 2, 1e18);
            handler.grant(2, 1e18);
            handler.force(0, 2, 1e18);
            handler.delegate(0, 2);
            handler.claim(round, 2);
            handler.transfer(0, 5, 1e18);
            handler.escape();
            if (round == 0) handler.enrol(2, 5 days);
            if (round == 0) handler.list(true);
        }
        bytes32[8] memory ways =
            [bytes32("transfer"), "transferFrom", "permit", "fill", "grant", "force", "delegate", "claim"];
        for (uint256 i = 0; i < 8; ++i) {
            assertEq(handler.refused(ways[i]), i == 0 ? 2 : 1, string(abi.encodePacked(ways[i])));
        }
        assertEq(handler.refused("escape"), 2);
        assertEq(shares.balanceOf(carol), 6e18);
        assertEq(shares.balanceOf(handler.people(5)), 1e18);
        assertEq(shares.getVotes(carol), shares.balanceOf(alice));
        assertGt(usd.balanceOf(carol), 0);
        handler.revoke(2);
        handler.endDelegation(0);
        assertEq(shares.getVotes(carol), 0);
        handler.freeze(0, true);
        handler.freezeShares(1, 5e18);
        handler.transfer(0, 1, 1e18);
        handler.wait(5 days);
        assertEq(handler.refused("transfer"), 3);
        assertFalse(handler.leaked() || handler.claimableFell() || handler.escaped());
    }
}
