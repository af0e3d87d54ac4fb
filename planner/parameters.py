"""Weights that move: constants as inputs from the farther memory, under the same budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.graph import StorageKind

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.target import Target


def with_parameters(graph: Graph) -> Graph:
    """Return the graph with its constants as inputs, COSMA's "activations and parameters".

    Such a constant has to be in the nearest memory while an operator uses it. It is fetched at
    its first use, which is compulsory and not charged; it may leave, without being written since a
    copy exists, and be read back, which is charged. Constants of no bytes stay what they are.

    Source: arXiv 2311.18246, where a weight is a tensor that a single operator uses. Here several
    may use it.
    """
    if graph.model.parameters:
        return graph
    moved = [s for s in graph.storages if s.kind is StorageKind.CONSTANT and s.size_bytes > 0]
    note = (
        f"{len(moved):,} constants of {sum(s.size_bytes for s in moved):,} bytes are parameters: "
        "fetched into the nearest memory where they are used, and part of its arena."
    )
    return replace(
        graph,
        model=replace(graph.model, parameters=True),
        storages=tuple(
            replace(s, kind=StorageKind.INPUT)
            if s.kind is StorageKind.CONSTANT and s.size_bytes > 0
            else s
            for s in graph.storages
        ),
        notes=(*graph.notes, note),
    )


def require_farther_inputs(target: Target) -> None:
    """Refuse a target in which parameters would lie in the nearest memory from the start.

    Raises
    ------
    UsageError
        If the caller leaves inputs in the nearest memory.
    """
    if target.io_memory == target.nearest.name:
        raise UsageError(
            f"--parameters: {target.name} takes its inputs in {target.nearest.name}, its nearest "
            "memory, so all parameters would lie there from the start. Use a target whose "
            "io_memory is a farther one, such as npu-1m, or leave --parameters out: then "
            f"constants are used from {target.constant_memory}."
        )
