"""Greedy offset assignment by a portfolio of orders."""

from __future__ import annotations

from solvers.offsets.kernel import NativePacker


class GreedyOffsets(NativePacker):
    """Places buffers one by one in several orders, by first and best fit; the lowest packing wins.

    The orders are those of memory planners in use: by size (TensorFlow Lite), by lifetime (XLA), by
    number of conflicts (TVM's unified static memory planner), by area, by start, and others. Free
    bytes are found in a segment tree, without a conflict graph. Fixed buffers are placed before all
    others. What pair rules allow beyond the uses is used for up to a few thousand buffers, and
    overwrites (`solvers.offsets.overwrites`) for any number.
    """

    name = "greedy"
    _search = False
