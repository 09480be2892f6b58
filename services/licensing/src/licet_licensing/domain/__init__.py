"""Pure rules of licensing: credentials, what the chain says, grants, leases and the one decision."""
