"""Solver ``bilevel``: MEMO's two levels, repeated layers first, then all that is left."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.problem import OffsetProblem, OffsetSolution, Outcome, Status
from solvers.offsets.arrays import LIMIT
from solvers.offsets.bound import lower_bound
from solvers.offsets.exact import ExactOffsets
from solvers.offsets.greedy import GreedyOffsets
from solvers.offsets.layers import find_layers
from solvers.offsets.pairs import count_overlaps
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from solvers import SharedBest
    from solvers.offsets.layers import LayerKind
    from solvers.protocol import Deadline

# With more binaries CBC seldom proves a packing in seconds.
MOST_MIP_PAIRS = 60
# Its process alone takes some tenths of a second to start.
LEAST_MIP_S = 0.5
# Parts of the time that is left: for finding layers, for level 1, for level 2, for comparing.
DETECTION_SHARE = 0.2
LAYERS_SHARE = 0.3
REST_SHARE = 0.5


class _Level(NamedTuple):
    """Buffers packed together, what packed them, and whether no packing of them is lower."""

    offsets: NDArray[np.int64]
    height: int
    solver: str
    proven: bool


class BilevelOffsets:
    """The bi-level packing of MEMO (arXiv 2407.12117), for traces of networks of equal layers.

    Level 1 packs the transient buffers of one layer of each kind into a block, as low as possible.
    Level 2 packs the blocks, one for each layer, alive as long as the layer's transients, together
    with all other buffers. An address is the block's offset plus the offset inside it. MEMO knows
    the layers; here they are found, see `solvers.offsets.layers.find_layers`.

    A level is packed greedily; where that does not meet its lower bound, by MEMO's MIP if at most
    60 pairs conflict, and by the branch and bound of solver ``exact`` if the MIP proves nothing.

    Two levels can be higher than one: nothing else may use the holes of a block. The lower bound is
    that of the flat problem, so levels proven to be lowest prove nothing of the whole. The
    statistics compare the height with that of a flat packing, searched for from the two-level one.
    """

    name = "bilevel"

    def available(self) -> Availability:
        """Return that it always is: without PuLP, ``exact`` packs the levels."""
        return Availability(True)

    def unsupported(self, problem: OffsetProblem) -> str:
        """Say which constraint it does not know, or nothing."""
        for given, what in (
            (problem.fixed is not None and bool((problem.fixed >= 0).any()), "fixed offsets"),
            (problem.uses is not None, "gaps or colocations"),
            (bool(problem.pair_rules), "pairs with rules of their own"),
        ):
            if given:
                return f"bilevel packs plain lifetimes only: the problem has {what}"
        return ""

    def solve(
        self,
        problem: OffsetProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: OffsetSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
        shared: SharedBest | None = None,
    ) -> Outcome[OffsetSolution]:
        """Solve. The seed is not used; an incumbent only serves for the comparison.

        Without repeated layers all buffers are on the one level.

        Raises
        ------
        ValueError
            As for `solvers.offsets.arrays.checked_arrays`.
        """
        reason = self.unsupported(problem)
        if reason:
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        started_s, cpu_started_s = time.monotonic(), time.thread_time()
        bound = lower_bound(problem)
        until_s = started_s + DETECTION_SHARE * deadline.remaining_s()
        kinds = _that_stack(
            problem,
            find_layers(
                problem, stop=lambda: deadline.cancel.is_set() or time.monotonic() > until_s
            ),
        )
        offsets, height, statistics = _pack_two_levels(problem, kinds, deadline)
        solution = OffsetSolution(offsets, height)
        if shared is not None:
            shared.offer_bound(bound)
            shared.offer(offsets, height)
        if on_progress is not None:
            on_progress(f"height {height:,} bytes")
        if kinds and problem.capacity is None:
            known = [solution] if incumbent is None else [solution, incumbent]
            if shared is not None and (published := shared.offsets()) is not None:
                known.append(OffsetSolution(published, shared.height))
            # Comparing may take as long as what it is compared with, or a second.
            limit_s = max(1.0, time.monotonic() - started_s)
            flat = _flat_height(problem, known, bound, deadline.within(limit_s))
            statistics["flat_height"] = flat
            statistics["price_bytes"] = height - flat
            statistics["price_percent"] = 100 * (height - flat) / flat
        statistics["note"] = _note(statistics)
        statistics["cpu_s"] = time.thread_time() - cpu_started_s
        return _outcome(problem, solution, bound, statistics)


def _that_stack(problem: OffsetProblem, kinds: Sequence[LayerKind]) -> list[LayerKind]:
    """Leave out kinds whose blocks would need an absurd alignment: that of all their buffers."""
    stackable = []
    room = LIMIT - int(problem.size.sum()) - int(problem.alignment.sum())
    for kind in kinds:
        # The block of a level-1 packing is at most all its buffers with their padding.
        layers = len(kind.buffers)
        one = kind.buffers[0]
        size = int(problem.size[one].sum()) + int(problem.alignment[one].sum())
        needed = layers * (_block_alignment(problem, kind) + size)
        if needed < room:
            room -= needed
            stackable.append(kind)
    return stackable


def _block_alignment(problem: OffsetProblem, kind: LayerKind) -> int:
    return math.lcm(*set(problem.alignment[kind.buffers[0]].tolist()))


def _pack_two_levels(
    problem: OffsetProblem, kinds: Sequence[LayerKind], deadline: Deadline
) -> tuple[NDArray[np.int64], int, dict[str, Any]]:
    """Offsets, height and the statistics of the two levels."""
    layers_s = LAYERS_SHARE * deadline.remaining_s()
    blocks = [
        _pack(
            OffsetProblem(
                kind.lower,
                kind.upper,
                problem.size[kind.buffers[0]],
                problem.alignment[kind.buffers[0]],
            ),
            deadline.within(layers_s / len(kinds)),
        )
        for kind in kinds
    ]
    alone = np.ones(len(problem.size), dtype=bool)
    columns = [[problem.lower], [problem.upper], [problem.size], [problem.alignment]]
    for kind, block in zip(kinds, blocks, strict=True):
        alone[kind.buffers.ravel()] = False
        layers = len(kind.buffers)
        columns[0].append(problem.lower[kind.buffers].min(axis=1))
        columns[1].append(problem.upper[kind.buffers].max(axis=1))
        columns[2].append(np.full(layers, block.height))
        columns[3].append(np.full(layers, _block_alignment(problem, kind)))
    others = int(alone.sum())
    joined = [np.concatenate([first[alone], *rest]) for first, *rest in columns]
    top = _pack(
        OffsetProblem(*joined, capacity=problem.capacity),
        deadline.within(REST_SHARE * deadline.remaining_s()),
    )

    offsets = np.empty(len(problem.size), dtype=np.int64)
    offsets[alone] = top.offsets[:others]
    first = others
    for kind, block in zip(kinds, blocks, strict=True):
        base = top.offsets[first : first + len(kind.buffers)]
        offsets[kind.buffers] = base[:, None] + block.offsets[None, :]
        first += len(kind.buffers)
    return (
        offsets,
        top.height,
        {
            "layers": sum(len(kind.buffers) for kind in kinds),
            "kinds": len(kinds),
            "layers_of_kind": [len(kind.buffers) for kind in kinds],
            "transients_of_kind": [kind.buffers.shape[1] for kind in kinds],
            "block_heights": [block.height for block in blocks],
            "level_1_solvers": [block.solver for block in blocks],
            "level_1_proven": all(block.proven for block in blocks),
            "level_2_buffers": len(joined[0]),
            "level_2_solver": top.solver,
            "level_2_proven": top.proven,
            "lowest_height": top.height,
        },
    )


def _pack(problem: OffsetProblem, deadline: Deadline) -> _Level:
    """Pack one level: greedily, by the MIP where it reaches, by branch and bound."""
    free = replace(problem, capacity=None)
    greedy = GreedyOffsets().solve(free, deadline=deadline)
    assert greedy.solution is not None
    best, solver, proven = greedy.solution, "greedy", greedy.status is Status.OPTIMAL
    enough = -1 if problem.capacity is None else problem.capacity
    if not proven and best.height > enough and count_overlaps(problem) <= MOST_MIP_PAIRS:
        share = deadline.within(REST_SHARE * deadline.remaining_s())
        answer = _by_mip(free, share, best) if share.remaining_s() > LEAST_MIP_S else None
        if answer is not None and answer.solution is not None:
            best, solver, proven = answer.solution, "mip", answer.status is Status.OPTIMAL
    if not proven and best.height > enough and not deadline.expired():
        outcome = ExactOffsets().solve(problem, deadline=deadline, incumbent=best)
        if outcome.solution is not None and outcome.solution.height <= best.height:
            best, solver = outcome.solution, "exact"
        proven = problem.capacity is None and outcome.status is Status.OPTIMAL
    return _Level(best.offsets, best.height, solver, proven)


def _by_mip(
    problem: OffsetProblem, deadline: Deadline, incumbent: OffsetSolution
) -> Outcome[OffsetSolution] | None:
    from planner.errors import PlannerError
    from solvers.offsets.mip import PulpOffsets

    mip = PulpOffsets()
    if not mip.available().available or mip.unsupported(problem):
        return None
    try:
        return mip.solve(problem, deadline=deadline, incumbent=incumbent)
    except (PlannerError, RuntimeError):  # PuLP has no solver here, or it has crashed
        return None


def _flat_height(
    problem: OffsetProblem, known: Sequence[OffsetSolution], bound: int, deadline: Deadline
) -> int:
    """The lowest height of a flat packing, known or found in the time."""
    best = min(known, key=lambda solution: solution.height)
    if best.height == bound:
        return bound
    outcome = ExactOffsets().solve(problem, deadline=deadline, incumbent=best)
    assert outcome.solution is not None
    return min(best.height, outcome.solution.height)


def _note(statistics: dict[str, Any]) -> str:
    """Say in one sentence what the two levels cost."""
    kinds = statistics["kinds"]
    if not kinds:
        return "no repeated layers found: everything is packed on one level"
    found = f"{statistics['layers']:,} layers of {kinds:,} kind{'s' * (kinds > 1)}"
    levels = f"{found}; two levels {statistics['lowest_height']:,} B"
    if "flat_height" not in statistics:
        return levels
    flat = f"{levels}, flat {statistics['flat_height']:,} B"
    if not statistics["price_bytes"]:
        return f"{flat}: no more"
    # A price below a twentieth of a per cent must not read as none.
    percent = max(statistics["price_percent"], 0.1)
    return f"{flat}: {statistics['price_bytes']:,} B or {percent:.1f} % more"


def _outcome(
    problem: OffsetProblem, solution: OffsetSolution, bound: int, statistics: dict[str, Any]
) -> Outcome[OffsetSolution]:
    if problem.capacity is not None and bound > problem.capacity:
        return Outcome(Status.INFEASIBLE, None, bound, statistics)
    if problem.capacity is not None and solution.height > problem.capacity:
        return Outcome(Status.UNKNOWN, None, bound, statistics)
    proven = solution.height == bound
    return Outcome(Status.OPTIMAL if proven else Status.FEASIBLE, solution, bound, statistics)
