"""What Triton reads: model entries made from platform code and verified data, in memory-backed storage only."""
