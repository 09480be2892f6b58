"""Fuzzers of what the gateway reads from strangers."""
