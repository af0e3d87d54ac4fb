"""Solver ``beam``: beam search over orders and residency together. Proves nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.joint_problem import JointSolution
from solvers import _native
from solvers.joint.annealing import better_outcome, starting_orders
from solvers.joint.model import native_model
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.joint_problem import JointProblem
    from planner.problem import Outcome
    from solvers.protocol import Deadline


@dataclass(frozen=True, slots=True)
class Beam:
    """Beams over (operators done, storages resident, storages copied), wider and wider.

    Where bytes are missing four eviction rules branch. States are ranked by their traffic, the
    reads they cannot avoid and, weighted differently by each of several beams, their live bytes.
    Of states with the same operators done, one goes if another can imitate it for no more traffic.
    When next uses come is guessed from the best order so far.

    Attributes
    ----------
    first_width, last_width : int
        States per number of operators, of the first and of the last beams; doubled in between.
    goal_bytes : int
        Traffic at which to stop: a proven lower bound, if there is one.
    """

    first_width: int = 16
    last_width: int = 16_384
    goal_bytes: int = 0

    name = "beam"

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
        """Look for an order better than the incumbent and the list orders. The seed is not used.

        The status is unknown if no order was found that fits. Statistics: ``states`` kept,
        ``beams`` carried through, ``last_width`` of them; ``cpu_s``.

        Raises
        ------
        ValueError
            If the problem is malformed, or the incumbent not an order of its operators.
        """
        started_s = time.thread_time()
        order, traffic, statistics = _native.joint_beam(
            native_model(problem),
            starting_orders(problem, incumbent),
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
            first_width=self.first_width,
            last_width=self.last_width,
            goal=self.goal_bytes,
        )
        return better_outcome(
            self.name,
            incumbent,
            None if traffic is None else JointSolution(order, traffic),
            {**statistics, "cpu_s": time.thread_time() - started_s},
            on_progress,
        )
