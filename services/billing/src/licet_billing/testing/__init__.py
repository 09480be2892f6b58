"""What billing's tests and benchmarks share: the other services' events, and their delivery."""
