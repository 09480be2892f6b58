"""What a worker process does with bytes: parsers, leases, the log and the connections on both sides."""
