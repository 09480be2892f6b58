// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {MirrorBase} from "./MirrorBase.sol";

/// @notice What mirrors cost, as transactions of their own; kept in snapshots/.
/// forge-config: default.isolate = true
contract MirrorGasTest is MirrorBase {
    // Who is asked: the registry, the book, and in it three words.
    uint256 private constant MIRROR_ASKED = 20_000;

    function _last(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall("mirrors", name);
    }

    function test_gas_bind() external {
        _report();
        _last("MirrorBook.report first");
        _bind(owner, _statement());
        _last("MirrorBook.bind first");
        _bind(owner, _statement());
        _last("MirrorBook.bind again");
        _report();
        _last("MirrorBook.report again");
    }

    function test_gas_purchase() external {
        _open();
        (uint256 here, uint256 there) = (_createPlan(_terms()), _mirrorPlan());
        for (uint256 i = 0; i < 2; ++i) {
            _buy(here, buyer);
        }
        uint256 gasHere = vm.lastCallGas().gasTotalUsed;
        for (uint256 i = 0; i < 2; ++i) {
            _buy(there, buyer);
        }
        assertLt(_last("LicenseSale.purchase again, of a mirror"), gasHere + MIRROR_ASKED);
    }
}
