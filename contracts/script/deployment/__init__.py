"""Deterministic deployment of the contracts: the same addresses on every chain, roles handed to the timelock."""
