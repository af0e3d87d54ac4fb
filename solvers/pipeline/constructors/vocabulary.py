"""Vocabulary passes on 1F1B, on a zero-bubble order and on ZB-V (arXiv 2411.05288)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from planner.pipelining.delayed_starts import cost_ticks
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline
from solvers.pipeline.constructors.catalogue import OUT_OF_TIME, InapplicableError
from solvers.pipeline.constructors.words import expect_within_kernels
from solvers.pipeline.constructors.zb_v import zb_v
from solvers.pipeline.policy_search import cheapest
from solvers.pipeline.ranked_order import OrderPolicy, RankedOrders
from solvers.pipeline.vocabulary_passes import Urgency, with_vocabulary_passes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.pipelining.problem import PipelineProblem, VocabularyLayer
    from solvers.protocol import Deadline

FORWARD, BACKWARD, WEIGHT = range(3)
_URGENCIES = [Urgency(*waiting) for waiting in product((0, 1), (0, 1, 2))]


def vocabulary_1f1b(problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    """Return 1F1B whose warm-up is a microbatch deeper for each barrier.

    So every device has that many microbatches more to compute while the barriers of one are waited
    for: at equal costs the first device holds ``p + 1`` microbatches with one barrier, ``p + 2``
    with two.

    Raises
    ------
    InapplicableError
        If the costs have no vocabulary layer.
    """
    barriers = _layer(problem).barriers
    passes = []
    for device in range(problem.devices):
        warm_up = min(problem.microbatches, problem.devices - 1 - device + barriers)
        order = [Pass(PassKind.FORWARD, device, done) for done in range(warm_up)]
        for done in range(problem.microbatches):
            if warm_up + done < problem.microbatches:
                order.append(Pass(PassKind.FORWARD, device, warm_up + done))
            order.append(Pass(PassKind.BACKWARD, device, done))
            order.append(Pass(PassKind.WEIGHT, device, done))
        passes.append(tuple(order))
    plain = PipelineSchedule("vocabulary-1f1b", problem.device_of, tuple(passes))
    return _cheapest_insertion(problem, [plain], deadline)


def vocabulary_zero_bubble(problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    """Return vocabulary passes on 1F1B with gradients of the weights in the gaps.

    Where a device has no limit it holds as many microbatches as the first device in
    ``vocabulary_1f1b``.

    Raises
    ------
    InapplicableError
        If the costs have no vocabulary layer, or the limits leave no room.
    """
    layer = _layer(problem)
    expect_within_kernels(problem)
    devices, microbatches = problem.devices, problem.microbatches
    most = devices + layer.barriers
    stand_in = _with_wider_passes(problem, most)
    orders = RankedOrders(stand_in)
    plain = []
    for more in sorted({0, 1, 2, devices // 2, devices - 1}):
        rank = np.zeros((3, devices, microbatches), dtype=np.int64)
        turns = 2 * np.arange(microbatches)
        for device in range(devices):
            ahead = devices - 1 - device + layer.barriers + min(more, devices - 1 - device)
            rank[FORWARD, device] = turns - 2 * ahead
            rank[BACKWARD:, device] = turns + 1
        found = cheapest(orders, rank, (OrderPolicy(reach_at_end=1 << 30),), deadline)
        if found is None and deadline.expired():
            break
        if found is None:
            raise InapplicableError("the limits leave no room for a microbatch on every stage")
        plain.append(orders.schedule("vocabulary-zb", found.order))
    return _cheapest_insertion(problem, plain, deadline)


def vocabulary_zb_v(problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    """Return vocabulary passes on ZB-V.

    Raises
    ------
    InapplicableError
        If the costs have no vocabulary layer, or the limits leave no room.
    """
    layer = _layer(problem)
    plain = zb_v(_with_wider_passes(problem, problem.devices + layer.barriers), deadline)
    return _cheapest_insertion(problem, [replace(plain, name="vocabulary-zb-v")], deadline)


def _layer(problem: PipelineProblem) -> VocabularyLayer:
    if problem.vocabulary is None:
        raise InapplicableError("the costs have no vocabulary layer")
    return problem.vocabulary


def _with_wider_passes(problem: PipelineProblem, most: int) -> PipelineProblem:
    """Return a problem without vocabulary layer whose passes take its time and memory.

    Each device's S is part of its first stage's F, and T of its B; what the layer holds is taken
    off the limits for as many microbatches as its barriers keep waiting. A device without a limit
    gets room for ``most`` microbatches.
    """
    layer = _layer(problem)
    stages = list(problem.stages)
    limits = []
    for limit, own in zip(problem.limits, problem.stages_of, strict=True):
        first = stages[own[0]]
        stages[own[0]] = replace(
            first, forward=first.forward + layer.forward, backward=first.backward + layer.backward
        )
        full = sum(stages[stage].activation_bytes for stage in own)
        waiting = (layer.barriers + 1) * layer.activation_bytes
        limits.append(most * full if limit is None else max(0, limit - waiting))
    return replace(problem, stages=tuple(stages), limits=tuple(limits), vocabulary=None)


def _cheapest_insertion(
    problem: PipelineProblem, schedules: Iterable[PipelineSchedule], deadline: Deadline
) -> PipelineSchedule:
    best: tuple[int, PipelineSchedule] | None = None
    for schedule, urgency in product(schedules, _URGENCIES):
        if deadline.expired():
            break
        found = with_vocabulary_passes(problem, schedule, urgency)
        cost = cost_ticks(problem, simulate_pipeline(problem, found))
        if best is None or cost < best[0]:
            best = (cost, found)
    if best is None:
        raise InapplicableError(OUT_OF_TIME)
    return best[1]
