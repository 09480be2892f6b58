"""Tables of the indexer and every query on them."""
