"""What the indexer does to its mirror: extend, retract, make final. None of them commits."""
