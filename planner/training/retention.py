"""A choice of what is kept: the form in which searches think, and of which schedules are made."""

from __future__ import annotations

from typing import NamedTuple


class Retention(NamedTuple):
    """Which storages cross to the backward half, and which recomputed ones are forgotten at once.

    `planner.training.just_in_time` makes the schedule of it.

    Attributes
    ----------
    saved : frozenset of int
        Storages.
    repeated : frozenset of int
        Forward operators whose recomputed results are forgotten after each burst.
    """

    saved: frozenset[int]
    repeated: frozenset[int] = frozenset()
