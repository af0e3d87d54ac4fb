"""Offset assignment: where buffers with known lifetimes lie in one address range."""

from __future__ import annotations

from solvers.offsets.bound import lower_bound
from solvers.offsets.exact import ExactOffsets, pack
from solvers.offsets.greedy import GreedyOffsets

__all__ = ["ExactOffsets", "GreedyOffsets", "lower_bound", "pack"]
