"""Contenders: each composes solvers into whole plans and enters them in the race."""
