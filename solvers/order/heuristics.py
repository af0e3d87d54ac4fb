"""List orders: always run the ready operator that a rule likes best. Milliseconds, no search."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from planner.problem import OrderSolution, Outcome, Status
from solvers import _native
from solvers.order.model import native_model
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import OrderProblem
    from solvers.protocol import Deadline


@dataclass(frozen=True, slots=True)
class ListOrder:
    """The operators in the order of a list rule.

    ``default``
        As numbered in the problem.
    ``lpmf``
        Smallest growth of the live bytes first; of those, what became ready last. PyTorch calls
        it LPMF (``torch/_inductor/memory.py``).
    ``depth-first``, ``breadth-first``
        What became ready last, or first.

    The lower bound is the largest footprint of a single operator.
    """

    name: Literal["default", "lpmf", "depth-first", "breadth-first"]

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
        """Order the operators. The seed, the incumbent and the deadline make no difference.

        Raises
        ------
        ValueError
            If the problem is malformed (see `solvers.order.model.native_model`).
        """
        start = time.thread_time()
        order, peak, bound = _native.list_order(native_model(problem), self.name)
        return Outcome(
            status=Status.OPTIMAL if peak == bound else Status.FEASIBLE,
            solution=OrderSolution(order, peak),
            lower_bound=bound,
            statistics={"cpu_s": time.thread_time() - start},
        )


LIST_ORDERS = (
    ListOrder("default"),
    ListOrder("lpmf"),
    ListOrder("depth-first"),
    ListOrder("breadth-first"),
)
