"""Weights that move: constants as inputs from the farther memory, under the same budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.graph import StorageKind
from planner.problem import Objective

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.target import Target


def with_parameters(graph: Graph, target: Target | None = None) -> Graph:
    """Return the graph with its constants as inputs, COSMA's "activations and parameters".

    Such a constant has to be in the nearest memory while an operator uses it, unless the target's
    operators take operands elsewhere. It is fetched at its first use there, which is compulsory and
    not charged; it may leave, without being written since a copy exists, and be read back, which is
    charged. Constants of no bytes stay what they are.

    Source: arXiv 2311.18246, where a weight is a tensor that a single operator uses. Here several
    may use it.

    Parameters
    ----------
    graph : Graph
    target : Target, optional
        For which the note says where the parameters lie.
    """
    if graph.model.parameters:
        return graph
    moved = [s for s in graph.storages if s.kind is StorageKind.CONSTANT and s.size_bytes > 0]
    where = "fetched into the nearest memory where they are used, and part of its arena"
    if target is not None and not target.operands_resident:
        near = target.nearest.name
        where = f"used in {target.io_memory}, or fetched into {near} and part of its arena"
    size_bytes = sum(storage.size_bytes for storage in moved)
    note = f"{len(moved):,} constants of {size_bytes:,} bytes are parameters: {where}."
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


def chosen_parameters(parameters: bool | None, objective: Objective, target: Target) -> bool:
    """Return whether parameters move: as asked, else where the least latency depends on it.

    That is where operators take operands from a fast memory of limited size or in place from the
    memory in which the constants, graph inputs and outputs lie: fetching weights ahead of their use
    is most of what can be gained.

    Parameters
    ----------
    parameters : bool or None
        None: not asked.

    Raises
    ------
    UsageError
        If they are asked for and would lie in the nearest memory from the start.
    """
    if parameters:
        require_farther_inputs(target)
    if parameters is not None:
        return parameters
    return (
        objective is Objective.LATENCY
        and target.compute is not None
        and not target.operands_resident
        and target.nearest.capacity_bytes is not None
        and target.constant_memory == target.io_memory != target.nearest.name
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
