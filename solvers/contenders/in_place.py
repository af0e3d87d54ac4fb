"""Which dying operands are overwritten, for a given order.

Which operand of an operator is overwritten, and whether an optional overwrite is used at all, does
not change the peak but does change what offsets can achieve: a pair becomes one long buffer.
Neither all pairs nor only those the peak needs is always best, so there are several choices; and
the choice can be left to the offset solver, which places the two at the same address or apart.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from planner.liveness import live_bytes
from planner.plans import InPlace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.liveness import Lifetimes


class InPlaceChoice(StrEnum):
    """Which of the possible overwrites a plan uses."""

    YOUNGEST = "youngest operand"
    OLDEST = "oldest operand"
    REQUIRED = "where the peak needs it"
    NONE = "none"


def in_place_pairs(
    graph: Graph, order: Sequence[int], lifetimes: Lifetimes, choice: InPlaceChoice
) -> tuple[InPlace, ...]:
    """Choose at most one overwrite per operator, of operands that nobody reads afterwards.

    Parameters
    ----------
    order : sequence of int
        Operator indices.
    lifetimes : Lifetimes
        Of the graph under this order.
    """
    if choice is InPlaceChoice.NONE:
        return ()
    age = -1 if choice is InPlaceChoice.OLDEST else 1
    pairs = [
        max(options, key=lambda pair: (age * int(lifetimes.start[pair.input]), *pair))
        for _, options in groupby(
            possible_overwrites(graph, order, lifetimes), key=lambda pair: pair.operator
        )
    ]
    if choice is InPlaceChoice.REQUIRED:
        return _required(graph, order, lifetimes, pairs)
    return tuple(pairs)


def possible_overwrites(
    graph: Graph, order: Sequence[int], lifetimes: Lifetimes
) -> tuple[InPlace, ...]:
    """Return all overwrites of operands that nobody reads afterwards, in the order of their steps.

    Parameters
    ----------
    order, lifetimes
        As for `in_place_pairs`.
    """
    # Operands may be views of one storage.
    possible = dict.fromkeys(
        InPlace(int(operator), output, source)
        for step, operator in enumerate(order)
        for option in graph.operators[operator].in_place
        for output, source in (
            (graph.tensors[option.output].storage, graph.tensors[option.input].storage),
        )
        if lifetimes.end[source] == step + 1
        and lifetimes.start[output] == step
        and graph.storages[output].size_bytes > 0
    )
    return tuple(possible)


def _required(
    graph: Graph, order: Sequence[int], lifetimes: Lifetimes, pairs: Sequence[InPlace]
) -> tuple[InPlace, ...]:
    """Keep the pairs without which the peak would be higher."""
    peak = int(np.max(live_bytes(graph, order, lifetimes, pairs)))
    separate = live_bytes(graph, order, lifetimes)
    step_of = {operator: step for step, operator in enumerate(order)}
    return tuple(pair for pair in pairs if separate[step_of[pair.operator]] > peak)
