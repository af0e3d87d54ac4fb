"""Other orders that keep given levels: what the residency costs differs from order to order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.graph import RaggedArray
from planner.joint_problem import JointSolution
from solvers import _native
from solvers.joint.model import native_model
from solvers.joint.spill_set import DEFAULT_MEMORY_BYTES, EXPANSIONS, MAX_NODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from planner.joint_problem import JointProblem
    from solvers.protocol import Deadline


def another_order(
    problem: JointProblem,
    levels: Iterable[tuple[int, int]],
    *,
    deadline: Deadline,
    seed: int,
    limited: bool = True,
) -> JointSolution | None:
    """Find an order that keeps the levels, ties broken by the seed.

    The search takes operators in the order of their numbers where it has no reason to do
    otherwise, so they are numbered anew, at random.

    Parameters
    ----------
    levels : iterable of (storage, level)
        How often it may be absent; other storages stay. What `SpillSet` calls ``levels``.
    deadline : Deadline
    seed : int
    limited : bool
        False: storages with a level may be absent whenever nobody uses them.

    Returns
    -------
    JointSolution or None
        None if there is no such order, or none that fits, or the limits stop the search.
    """
    rng = np.random.default_rng(seed % 2**64)
    numbering = _random_order(problem, rng)  # old numbers in their new order
    oracle = _native.SpillOracle(
        native_model(_renumbered(problem, numbering)), memory_bytes=DEFAULT_MEMORY_BYTES
    )
    most = oracle.most_absences()
    allowed = np.zeros(len(most), dtype=np.int32)
    for storage, level in levels:
        allowed[storage] = min(level, most[storage]) if limited else most[storage]
    oracle.decide(
        allowed,
        expansions=EXPANSIONS,
        max_nodes=MAX_NODES,
        time_limit_s=deadline.remaining_s(),
        cancel=deadline.cancel,
    )
    met = oracle.best()
    if met is None:
        return None
    order, traffic_bytes, _ = met
    return JointSolution(numbering[order], traffic_bytes)


def _random_order(problem: JointProblem, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return a topological order, drawing the next operator from all that are ready."""
    missing = [len(problem.predecessors.row(v)) for v in range(problem.operators)]
    successors: list[list[int]] = [[] for _ in missing]
    for v in range(problem.operators):
        for p in problem.predecessors.row(v).tolist():
            successors[p].append(v)
    ready = [v for v, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        position = int(rng.integers(len(ready)))
        ready[position], ready[-1] = ready[-1], ready[position]
        order.append(ready.pop())
        for q in successors[order[-1]]:
            missing[q] -= 1
            if missing[q] == 0:
                ready.append(q)
    return np.array(order, dtype=np.int32)


def _renumbered(problem: JointProblem, numbering: NDArray[np.int32]) -> JointProblem:
    new_number = np.empty(problem.operators, dtype=np.int32)
    new_number[numbering] = np.arange(problem.operators, dtype=np.int32)

    def operators_of(rows: RaggedArray) -> RaggedArray:
        return RaggedArray.from_rows(
            [sorted(new_number[rows.row(s)].tolist()) for s in range(len(rows))]
        )

    return replace(
        problem,
        predecessors=RaggedArray.from_rows(
            [sorted(new_number[problem.predecessors.row(v)].tolist()) for v in numbering]
        ),
        starters=operators_of(problem.starters),
        users=operators_of(problem.users),
        writers=operators_of(problem.writers),
        in_place=RaggedArray.from_rows([problem.in_place.row(v).tolist() for v in numbering]),
    )
