"""A small text generator that writes in the words of Python's manual."""
