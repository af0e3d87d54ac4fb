"""Solvers compared with each other on published and generated problems."""
