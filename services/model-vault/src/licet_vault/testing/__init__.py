"""What the tests stand on: a vault without its servers, and one as a process of its own."""
