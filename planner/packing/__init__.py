"""Buffers with known lifetimes: the problem, the checker, the race for the best packing, files."""
