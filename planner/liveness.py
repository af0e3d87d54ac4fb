"""Lifetimes of storages under an order, and the bytes live at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.graph import StorageKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from planner.graph import Graph
    from planner.plans import InPlace


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Half-open lifetimes in steps, per storage.

    Attributes
    ----------
    start, end : int64 array of shape [storages]
        Equal (empty) for constants and for storages no operator uses.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]


def storage_lifetimes(
    graph: Graph,
    order: Sequence[int],
    *,
    inputs_resident: bool = True,
    outputs_resident: bool = True,
) -> Lifetimes:
    """Lifetimes of all storages, without spills.

    Parameters
    ----------
    order : sequence of int
        Operator indices, topological.
    inputs_resident : bool
        Graph inputs live from step 0; else from their first use (fetched from a farther memory).
    outputs_resident : bool
        Graph outputs live to the end; else to their last use (stored to a farther memory).
    """
    steps = len(order)
    position = np.empty(steps, dtype=np.int64)
    position[np.asarray(order, dtype=np.int64)] = np.arange(steps)
    users = graph.storage_users
    start = np.zeros(len(graph.storages), dtype=np.int64)
    end = np.zeros(len(graph.storages), dtype=np.int64)
    used = np.diff(users.offsets) > 0
    if used.any():
        at = position[users.values]
        start[used] = np.minimum.reduceat(at, users.offsets[:-1][used])
        end[used] = np.maximum.reduceat(at, users.offsets[:-1][used]) + 1
    if inputs_resident:
        inputs = [storage.kind is StorageKind.INPUT for storage in graph.storages]
        start[np.array(inputs, dtype=bool)] = 0
    if outputs_resident:
        outputs = [storage.is_output for storage in graph.storages]
        end[used & np.array(outputs, dtype=bool)] = steps
    return Lifetimes(start, end)


def live_bytes(
    graph: Graph,
    order: Sequence[int],
    lifetimes: Lifetimes,
    in_place: Iterable[InPlace] = (),
) -> NDArray[np.int64]:
    """Bytes live while each step runs, less what is written in place.

    Returns
    -------
    int64 array of shape [steps]
    """
    steps = len(order)
    sizes = np.array([s.size_bytes for s in graph.storages], dtype=np.int64)
    delta = np.zeros(steps + 1, dtype=np.int64)
    np.add.at(delta, lifetimes.start, sizes)
    np.add.at(delta, lifetimes.end, -sizes)
    live = np.cumsum(delta[:steps])
    position = {operator: step for step, operator in enumerate(order)}
    for pair in in_place:
        live[position[pair.operator]] -= sizes[pair.output]
    return live
