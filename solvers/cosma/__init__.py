"""COSMA's integer program (arXiv 2311.18246): schedule, allocation and replacement together."""
