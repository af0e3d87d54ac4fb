"""The best building blocks of a V placement at true costs and within memory."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import permutations, product
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.pipelining.placements import v_placement
from solvers.pipeline.blocks import VSlots, v_block
from solvers.pipeline.policy_search import ChosenOrder, cheapest, with_shorter_stages
from solvers.pipeline.ranked_order import OrderPolicy, RankedOrder, RankedOrders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.pipeline.blocks import BuildingBlock
    from solvers.protocol import Deadline

_SLOPES = range(1, 6)
_PERIODS = (6, 8, 9, 10)
_ANYWHERE = 1 << 30
_PASSES_TRIED = 6_000_000
"""Passes ordered in all, over all candidates: one or two seconds."""
_FEWEST = 60
_KEPT = 8
_REFINED = 3
_MOST_REMEMBERED = 2
_remembered: dict[PipelineProblem, list[RankedOrder]] = {}


class _Candidate(NamedTuple):
    block: BuildingBlock
    sooner: int
    policy: OrderPolicy

    def rank(self, problem: PipelineProblem) -> NDArray[np.int64]:
        rank = self.block.ranks(problem.microbatches)
        rank[0, : problem.devices] -= self.sooner
        return rank


@lru_cache(maxsize=64)
def v_blocks(devices: int, period: int = 6) -> tuple[BuildingBlock, ...]:
    """Return the feasible blocks whose slots grow evenly from device to device.

    F of the way down and B of the way up take 1 to 5 slots per device each, the others one; the
    first device has every pattern of slots modulo the period.
    """
    here = np.arange(devices)
    found = {}
    for down, up in product(_SLOPES, _SLOPES):
        for pattern in permutations(range(1, period), 3):
            forward_up = _from(down * (devices - 1) + devices, pattern[0], period)
            backward_up = _from(forward_up + 1, pattern[1], period)
            backward_down = _from(backward_up + up * (devices - 1) + devices, pattern[2], period)
            slots = np.stack(
                [down * here, forward_up - here, backward_up + up * here, backward_down - here]
            )
            taken = np.sort(slots % period, axis=0)
            if (taken[1:] != taken[:-1]).all():
                found[slots.tobytes()] = slots
    return tuple(v_block(VSlots(*slots.tolist()), period) for slots in found.values())


def _from(least: int, residue: int, period: int) -> int:
    return least + (residue - least) % period


def block_schedules(
    problem: PipelineProblem, deadline: Deadline, most: int = _KEPT
) -> list[PipelineSchedule]:
    """Return up to ``most``, at most 8, good schedules of different blocks, the cheapest first.

    Every block is repeated and squeezed at true costs, within the limits. Of the best ones, passes
    of the warm-up and of the drain fill gaps, and gradients of the weights move, as several
    policies have it. A pass that the limits forbid waits, so that a block may fit into less memory
    than its own. Empty if no block fits or no time is left, or the placement is no V.
    """
    if problem.device_of != v_placement(problem.devices):
        return []
    orders = RankedOrders(problem)
    # A race asks as a contender first, then for seeds.
    chosen = _remembered.get(problem)
    if chosen is None:
        chosen = _best_orders(problem, orders, deadline)
        if not deadline.expired():
            while len(_remembered) >= _MOST_REMEMBERED:
                _remembered.pop(next(iter(_remembered)))
            _remembered[problem] = chosen
    return [orders.schedule("v-blocks", order) for order in chosen[:most]]


def _best_orders(
    problem: PipelineProblem, orders: RankedOrders, deadline: Deadline
) -> list[RankedOrder]:
    devices = problem.devices
    short = replace(problem, microbatches=min(problem.microbatches, 2 * devices + 8))
    short_orders = RankedOrders(short)
    tries = _PASSES_TRIED // (6 * devices * short.microbatches)
    plain = OrderPolicy(reach_at_start=2, reach_at_end=_ANYWHERE)
    kept: list[BuildingBlock] = []
    for period in _PERIODS:
        if deadline.expired():
            break
        blocks = sorted(
            v_blocks(devices, period), key=lambda block: abs(_share_of_limits(problem, block) - 1)
        )[: max(_FEWEST, tries // (2 * len(_PERIODS)))]
        candidates = (_Candidate(block, 0, plain) for block in blocks)
        found = _best(short_orders, candidates, _KEPT, deadline)
        kept += [candidate.block for candidate in found]
    variants = list(_variants())
    # Any part of them has a bit of everything.
    Random(0).shuffle(variants)
    variants = variants[: max(1, tries // max(1, len(kept)))]
    second = _best(
        short_orders,
        (_Candidate(block, *variant) for block in kept for variant in variants),
        _KEPT,
        deadline,
    )
    chosen = [
        best
        for candidate in second
        if (best := cheapest(orders, candidate.rank(problem), (candidate.policy,), deadline))
    ]
    chosen.sort(key=lambda one: one.cost)
    refined = [with_shorter_stages(orders, one, deadline) for one in chosen[:_REFINED]]
    chosen = sorted(refined + chosen[_REFINED:], key=lambda one: one.cost)
    return [one.order for one in chosen]


def _share_of_limits(problem: PipelineProblem, block: BuildingBlock) -> float:
    """Return the greatest part of a limit that the block holds on average between F and B."""
    held = np.zeros(problem.devices)
    for stage, costs in enumerate(problem.stages):
        slots = block.backward[stage] + 1 - block.forward[stage]
        held[problem.device_of[stage]] += costs.activation_bytes * slots / block.period
    return max(
        share / limit if limit else 0.0
        for share, limit in zip(held.tolist(), problem.limits, strict=True)
    )


def _variants() -> Iterator[tuple[int, OrderPolicy]]:
    for sooner, start, between, delay in product(
        (0, 1, 2), (0, 2, 8, 20), (0, 3), (0, 30, 70, 100)
    ):
        yield sooner, OrderPolicy(start, between, _ANYWHERE, weight_delay=delay)


def _best(
    orders: RankedOrders, candidates: Iterator[_Candidate], most: int, deadline: Deadline
) -> list[_Candidate]:
    """Return the cheapest candidate of each block, the cheapest ``most`` of these."""
    best: dict[BuildingBlock, tuple[int, _Candidate]] = {}
    for candidate in candidates:
        if deadline.expired():
            break
        found: ChosenOrder | None = cheapest(
            orders, candidate.rank(orders.problem), (candidate.policy,), deadline
        )
        if found is None:
            continue
        known = best.get(candidate.block)
        if known is None or found.cost < known[0]:
            best[candidate.block] = (found.cost, candidate)
    return [candidate for _, candidate in sorted(best.values(), key=lambda pair: pair[0])[:most]]
