"""Follows the chains: asks the node, judges, and hands whole blocks to the use cases."""
