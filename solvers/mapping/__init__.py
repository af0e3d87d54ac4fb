"""Solvers that map storages to a small fast memory for the least latency."""
