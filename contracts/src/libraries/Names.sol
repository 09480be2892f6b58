// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Names under which the Directory lists the contracts that others look up
library Names {
    bytes32 internal constant LICENSE_SALE = "LicenseSale";
    bytes32 internal constant USAGE_ESCROW = "UsageEscrow";
    bytes32 internal constant BREACH_BOOK = "BreachBook";
    bytes32 internal constant REVENUE_ROUTER = "RevenueRouter";
    bytes32 internal constant PLAN_BOOK = "PlanBook";
    bytes32 internal constant LICENSE = "License";
    bytes32 internal constant CREDITS = "Credits";
    bytes32 internal constant SHARES_FACTORY = "SharesFactory";
}
