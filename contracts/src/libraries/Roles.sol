// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

// Not used here: the deployment puts these contracts of OpenZeppelin on the chain as they are, and an import is what
// makes forge compile them.
// forge-lint: disable-next-line(unused-import)
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
// forge-lint: disable-next-line(unused-import)
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";

/// @title Roles of the AccessManager
/// @notice The admin is 0. After the deployment, PROTOCOL belongs to the ProtocolGovernor alone, the others to the
/// timelock, and REPORTER to whom the deployment names, too.
library Roles {
    /// @notice Lists contracts in the Directory and retires them.
    uint64 internal constant DIRECTORY = 1;
    /// @notice Schedules the exit delay.
    uint64 internal constant PARAMETER = 2;
    /// @notice What holders of the network token vote on: the fee, a pause of entries, the parameters of gates. Its
    /// member is the ProtocolGovernor, whose every call waits as long as an exit.
    uint64 internal constant PROTOCOL = 3;
    /// @notice Says who owns assets on other chains. Whom the deployment names, or later the timelock.
    uint64 internal constant REPORTER = 4;
}
