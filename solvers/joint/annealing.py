"""Solver ``annealing``: orders of little traffic by simulated annealing. Proves nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.joint_problem import JointSolution
from planner.problem import Outcome, Status
from solvers import _native
from solvers.joint.model import native_model
from solvers.order.heuristics import LIST_ORDERS
from solvers.order.model import native_model as native_order_model
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.joint_problem import JointProblem
    from solvers.protocol import Deadline


@dataclass(frozen=True, slots=True)
class Annealing:
    """Simulated annealing over orders, each valued as in `solvers.joint.eviction`.

    Moves take a few neighbouring operators elsewhere, or take one operator forward with all that it
    needs in between, or back with all that needs it. Some of the latter bring together two uses
    between which something is absent. Rounds of growing length start from the best order so far.

    Attributes
    ----------
    most_evaluations : int or None
        Orders to value at most. With it, and a deadline that does not cut in, the same problem and
        seed give the same answer.
    goal_bytes : int
        Traffic at which to stop: a proven lower bound, if there is one.
    """

    most_evaluations: int | None = None
    goal_bytes: int = 0

    name = "annealing"

    def available(self) -> Availability:
        """Always."""
        return Availability(True)

    def solve(
        self,
        problem: JointProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: JointSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[JointSolution]:
        """Start from the incumbent, or else from the list orders; never worse than the incumbent.

        The status is unknown if no order was found that fits. Statistics: ``evaluations``,
        ``accepted`` and ``rounds`` counted; ``cpu_s``.

        Raises
        ------
        ValueError
            If the problem is malformed, or the incumbent not an order of its operators.
        """
        started_s = time.thread_time()
        order, traffic, statistics = _native.joint_annealing(
            native_model(problem),
            starting_orders(problem, incumbent),
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
            seed=seed % 2**64,
            most_evaluations=self.most_evaluations or 0,
            goal=self.goal_bytes,
        )
        return better_outcome(
            self.name,
            incumbent,
            None if traffic is None else JointSolution(order, traffic),
            {**statistics, "cpu_s": time.thread_time() - started_s},
            on_progress,
        )


def starting_orders(
    problem: JointProblem, incumbent: JointSolution | None
) -> list[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """Return the incumbent's order, or else those of the list rules."""
    if incumbent is not None:
        return [np.ascontiguousarray(incumbent.order, dtype=np.int32)]
    ordering = native_order_model(problem.ordering())
    return [_native.list_order(ordering, rule.name)[0] for rule in LIST_ORDERS]


def better_outcome(
    name: str,
    incumbent: JointSolution | None,
    found: JointSolution | None,
    statistics: dict[str, object],
    on_progress: Callable[[str], None] | None,
) -> Outcome[JointSolution]:
    """State the better of the two: the incumbent if what was found is no better."""
    best = found
    if incumbent is not None and (found is None or found.traffic_bytes >= incumbent.traffic_bytes):
        best = incumbent
    if on_progress is not None and best is not None:
        on_progress(f"{name}: traffic {best.traffic_bytes:,} bytes")
    status = Status.UNKNOWN if best is None else Status.FEASIBLE
    return Outcome(status, best, statistics=statistics)
