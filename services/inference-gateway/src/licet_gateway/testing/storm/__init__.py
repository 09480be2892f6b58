"""Faults at random moments under load, and what must hold of them."""
