"""Billing: usage intake, double-entry ledger, on-chain settlement and reconciliation."""
