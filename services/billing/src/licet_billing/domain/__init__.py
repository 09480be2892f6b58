"""Rules of money, without input or output."""
