"""Orders of provably smallest peak: cuts for a bound, best-first search over downsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.problem import OrderSolution, Outcome, Status
from solvers import _native
from solvers.order.model import native_model
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import OrderProblem
    from solvers.protocol import Deadline

DEFAULT_MEMORY_BYTES = 512 * 1024**2


@dataclass(frozen=True, slots=True)
class ExactOrder:
    """Best-first search, with a beam search for what it cannot finish.

    States are the sets of operators that have run; the level of a state is the largest transient
    on the way to it, and the search takes the lowest level first, so what it takes next bounds the
    optimum from below. It starts at a bound from minimum cuts and never branches on operators whose
    place is settled. Where going through all levels takes too long, it decides whether a single
    level can be met, first right below the best peak known: the higher the level, the more is
    settled. If the limits stop it, the result is the best order known, with the bound reached.
    Without a deadline in the way, equal problems and seeds give equal orders.

    Attributes
    ----------
    dominance : bool
        Commit to chains of operators that can only do good. For ablation.
    climbs : bool
        Run operators that only prepare another one right before that one. For ablation.
    decompose : bool
        Solve the parts between operators that are comparable with all others one by one. For
        ablation.
    memory_bytes : int
        For the states of the search; the beam takes over beyond.
    """

    dominance: bool = True
    climbs: bool = True
    decompose: bool = True
    memory_bytes: int = DEFAULT_MEMORY_BYTES

    name = "exact-order"

    def available(self) -> Availability:
        """Always."""
        return Availability(True)

    def solve(
        self,
        problem: OrderProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: OrderSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[OrderSolution]:
        """Order the operators; the status is optimal if and only if that is proven.

        Statistics: ``footprint_bound`` and ``cut_bound`` in bytes; ``parts`` that leave a choice
        and ``searched_parts`` among them; ``states``, ``expanded``, ``cuts``,
        ``decisions``, ``beams`` counted; ``heuristics_cpu_s``, ``bound_cpu_s``, ``search_cpu_s``.

        Parameters
        ----------
        seed : int
            Of the randomised list orders that the search has to beat.
        incumbent : OrderSolution, optional
            A known order. The result is never worse.

        Raises
        ------
        ValueError
            If the problem is malformed (see `solvers.order.model.native_model`), or the incumbent
            not an order of its operators.
        """
        order, peak, bound, statistics = _native.exact_order(
            native_model(problem),
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
            seed=seed % 2**64,
            incumbent=(
                None if incumbent is None else np.ascontiguousarray(incumbent.order, dtype=np.int32)
            ),
            dominance=self.dominance,
            climbs=self.climbs,
            decompose=self.decompose,
            memory_bytes=self.memory_bytes,
        )
        if on_progress is not None:
            on_progress(f"{self.name}: peak {peak:,} bytes, lower bound {bound:,}")
        return Outcome(
            status=Status.OPTIMAL if peak == bound else Status.FEASIBLE,
            solution=OrderSolution(order, peak),
            lower_bound=bound,
            statistics=statistics,
        )
