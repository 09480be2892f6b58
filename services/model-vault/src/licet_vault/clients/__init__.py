"""Outbound adapters: Triton's repository API and licensing's introspection."""
