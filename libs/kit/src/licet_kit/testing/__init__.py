"""Test fixtures on real servers; `plugin` is loaded by the repository's pytest configuration."""
