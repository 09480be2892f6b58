"""Outbound adapters: the chain's node, the operator's key, licensing."""
