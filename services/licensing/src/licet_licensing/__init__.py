"""Licensing: accounts and keys, spendable rights, leases and revocation."""
