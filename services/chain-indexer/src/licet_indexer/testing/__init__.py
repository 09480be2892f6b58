"""What the indexer's tests and its benchmark share: a contract that emits any log, and a node that fails on purpose."""
