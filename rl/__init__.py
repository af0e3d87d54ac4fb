"""The mallocGame and its learned agent: memory allocation played as a game."""
