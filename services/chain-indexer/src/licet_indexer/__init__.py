"""Canonical mirror of the chains: what the contracts say, which of it is final, and a read API over it."""
