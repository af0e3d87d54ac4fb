"""Orders of provably least traffic: best-first search over order and residency together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.graph import RaggedArray
from planner.joint_problem import JointSolution
from planner.problem import Outcome, Status
from solvers import _native
from solvers.joint.model import native_model
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.joint_problem import JointProblem
    from solvers.protocol import Deadline

DEFAULT_MEMORY_BYTES = 512 * 1024**2


@dataclass(frozen=True, slots=True)
class JointExact:
    """Best-first search over (operators done, live storages absent, live storages copied).

    The search takes the states by a bound on the traffic of what they can become, so that the next
    one to take bounds the optimum from below. It starts at what is known: at a given lower bound
    all states up to it are on one level, where it dives; cuts say on which paths spills are still
    due; and an incumbent cuts off all that is not strictly better. If the limits stop it, the
    result is the incumbent, with the bound reached. Without a deadline in the way, equal problems
    give equal orders.

    Attributes
    ----------
    cuts : sequence of sequences of int
        Of the storages of each, one at least is absent at least once in every feasible plan.
    lower_bound : int
        No feasible plan has less traffic. Bytes.
    memory_bytes : int
        For the states of the search.
    """

    cuts: Sequence[Sequence[int]] = ()
    lower_bound: int = 0
    memory_bytes: int = DEFAULT_MEMORY_BYTES

    name = "joint-exact"

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
        """Order the operators for the least traffic by capacity alone.

        Statistics: ``parts`` solved one by one, ``root_bound`` in bytes, ``states`` and
        ``expanded`` counted, ``out_of_memory``, ``cpu_s``. If the operands of an operator exceed
        the capacity: ``operator``, ``operator_bytes``, ``capacity_bytes``.

        Parameters
        ----------
        seed : int
            Not used: nothing is left to chance.
        incumbent : JointSolution, optional
            A known order and traffic that it can do with. Handed back unless there is less; as
            optimal if that is proven.

        Raises
        ------
        ValueError
            If the problem is malformed (see `solvers.joint.model.native_model`), or a cut holds
            something that is no storage.
        """
        model = native_model(problem)
        beyond = _native.operator_beyond_capacity(model)
        if beyond is not None:
            operator, needed = beyond
            return Outcome(
                Status.INFEASIBLE,
                None,
                statistics={
                    "operator": operator,
                    "operator_bytes": needed,
                    "capacity_bytes": problem.capacity,
                },
            )
        cuts = RaggedArray.from_rows([list(cut) for cut in self.cuts])
        order, traffic, bound, finished, statistics = _native.joint_exact(
            model,
            cut_offsets=np.ascontiguousarray(cuts.offsets, dtype=np.int64),
            cut_members=np.ascontiguousarray(cuts.values, dtype=np.int32),
            lower_bound=self.lower_bound,
            upper=None if incumbent is None else incumbent.traffic_bytes,
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
            memory_bytes=self.memory_bytes,
        )
        solution = incumbent if order is None else JointSolution(order, traffic)
        if on_progress is not None:
            found = "no order" if solution is None else f"{solution.traffic_bytes:,} bytes"
            on_progress(f"{self.name}: {found}, lower bound {bound:,}")
        if solution is not None:
            status = Status.OPTIMAL if finished else Status.FEASIBLE
        else:
            status = Status.INFEASIBLE if finished else Status.UNKNOWN
        return Outcome(
            status=status,
            solution=solution,
            lower_bound=None if status is Status.INFEASIBLE else bound,
            statistics=statistics,
        )
