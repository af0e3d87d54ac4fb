"""Orders of passes from a rank of each pass, at true costs and within memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.pipelining.problem import PipelineObjective
from solvers._native import PIPELINE_NO_LIMIT, pipeline_order_by_rank
from solvers.pipeline.native_orders import native_model, schedule_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Deadline


class OrderPolicy(NamedTuple):
    """What a device does while the pass of least rank is not ready.

    Attributes
    ----------
    reach_at_start, reach_between, reach_at_end : int
        How much greater the rank may be of a ready forward or backward pass that it runs instead:
        before its first backward pass, after its last forward pass, and in between.
    lazy_weights : bool
        Gradients of weights wait for a gap, or until their memory is needed; otherwise they have
        their rank as well.
    weight_delay : int
        In percent of its own time: how far a gradient of the weights in a gap may delay the pass
        that is waited for.
    longest_stage : int
        A device that a gap would make longer than these ticks fills it with a gradient of the
        weights, whatever the delay.
    """

    reach_at_start: int = 0
    reach_between: int = 0
    reach_at_end: int = 0
    lazy_weights: bool = True
    weight_delay: int = 0
    longest_stage: int = PIPELINE_NO_LIMIT


class RankedOrder(NamedTuple):
    """An order, and what it costs with earliest starts.

    Attributes
    ----------
    passes : numpy.ndarray
        As ``solvers.pipeline.native_orders`` numbers them, device by device.
    longest_stage, makespan : int
    """

    passes: NDArray[np.int32]
    longest_stage: int
    makespan: int


class RankedOrders:
    """Orders for one problem: on every device, the ready pass of least rank that fits goes first.

    A forward pass starts only if it leaves room for every later stage on its device that no
    microbatch is in. All orders keep the problem's limits.
    """

    def __init__(self, problem: PipelineProblem) -> None:
        self.problem = problem
        self._model = native_model(problem)

    def order(
        self, rank: NDArray[np.int64], policy: OrderPolicy, deadline: Deadline
    ) -> RankedOrder | None:
        """Return the order by ``rank[kind, stage, microbatch]``; kinds F, B, W.

        None if a device has no room for one microbatch of each of its stages, or out of time.
        """
        found = pipeline_order_by_rank(
            self._model,
            np.ascontiguousarray(rank.transpose(1, 0, 2), dtype=np.int64).ravel(),
            **policy._asdict(),
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
        )
        return None if found is None else RankedOrder(*found)

    def cost(self, order: RankedOrder) -> int:
        """Ticks of an order under the problem's objective."""
        if self.problem.objective is PipelineObjective.MAKESPAN:
            return order.makespan
        return order.longest_stage

    def schedule(self, name: str, order: RankedOrder) -> PipelineSchedule:
        """Return the order as a schedule."""
        return schedule_of(self.problem, order.passes, name)
