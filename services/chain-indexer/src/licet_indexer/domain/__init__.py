"""Pure rules of the indexer: decoding, folding, judging what a node shows. No I/O."""
