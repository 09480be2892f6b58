// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

// OpenZeppelin's own contracts that the deployment uses as they are: roles, and the wait before a change.
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
