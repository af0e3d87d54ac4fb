"""Orders of passes from a rank of each pass, at true costs and within memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.pipelining.problem import PipelineObjective
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from solvers import _native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem

KINDS = (PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT)
_NO_LIMIT = 1 << 60


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
    weight_delay, overtaking_delay : int
        In percent of its own time: how far a pass in a gap may delay the pass that is waited for.
    longest_stage : int
        A device that a gap would make longer than these ticks fills it with a gradient of the
        weights, whatever the delay.
    """

    reach_at_start: int = 0
    reach_between: int = 0
    reach_at_end: int = 0
    lazy_weights: bool = True
    weight_delay: int = 0
    overtaking_delay: int = 0
    longest_stage: int = _NO_LIMIT


class RankedOrder(NamedTuple):
    """An order, and what it costs with earliest starts.

    Attributes
    ----------
    codes : numpy.ndarray
        Device by device, ``kind * stages + stage`` of each pass; the kinds are ``KINDS``, and the
        microbatches of each kind and stage count up.
    longest_stage, makespan : int
    """

    codes: NDArray[np.int32]
    longest_stage: int
    makespan: int


class RankedOrders:
    """Orders for one problem: on every device, the ready pass of least rank that fits goes first.

    A forward pass starts only if it leaves room for every later stage on its device that no
    microbatch is in. All orders keep the problem's limits.
    """

    def __init__(self, problem: PipelineProblem) -> None:
        def column(numbers: object) -> NDArray[np.int64]:
            return np.array(numbers, dtype=np.int64)

        stages = problem.stages
        self.problem = problem
        self._model = _native.pipeline_order_model(
            device_of=column(problem.device_of),
            forward=column([stage.forward for stage in stages]),
            backward=column([stage.backward for stage in stages]),
            weight=column([stage.weight for stage in stages]),
            hop=column([*problem.hops, 0]),
            activation=column([stage.activation_bytes for stage in stages]),
            kept=column([stage.kept_bytes for stage in stages]),
            limit=column([_NO_LIMIT if limit is None else limit for limit in problem.limits]),
            microbatches=problem.microbatches,
        )

    def order(
        self,
        rank: NDArray[np.int64],
        policy: OrderPolicy,
        *,
        time_limit_s: float = 60.0,
        cancel: _native.CancelFlag | None = None,
    ) -> RankedOrder | None:
        """Return the order by ``rank[kind, stage, microbatch]``.

        None if a device has no room for one microbatch of each of its stages.
        """
        found = _native.pipeline_order_by_rank(
            self._model,
            np.ascontiguousarray(rank, dtype=np.int64).ravel(),
            reach_at_start=policy.reach_at_start,
            reach_between=policy.reach_between,
            reach_at_end=policy.reach_at_end,
            lazy_weights=policy.lazy_weights,
            weight_delay=policy.weight_delay,
            overtaking_delay=policy.overtaking_delay,
            longest_stage=policy.longest_stage,
            time_limit_s=time_limit_s,
            cancel=cancel,
        )
        return None if found is None else RankedOrder(*found)

    def cost(self, order: RankedOrder) -> int:
        """Ticks of an order under the problem's objective."""
        if self.problem.objective is PipelineObjective.MAKESPAN:
            return order.makespan
        return order.longest_stage

    def schedule(self, name: str, order: RankedOrder) -> PipelineSchedule:
        """Return the order as a schedule."""
        problem = self.problem
        stages, codes = len(problem.stages), iter(order.codes.tolist())
        done = [0] * (len(KINDS) * stages)
        passes: list[tuple[Pass, ...]] = []
        for own in problem.stages_of:
            row = []
            for _ in range(len(KINDS) * len(own) * problem.microbatches):
                code = next(codes)
                row.append(Pass(KINDS[code // stages], code % stages, done[code]))
                done[code] += 1
            passes.append(tuple(row))
        return PipelineSchedule(name, problem.device_of, tuple(passes))
