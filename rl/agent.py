"""The agent that plays mallocGame in any order: learned starts, search on the program at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Outcome, Status
from solvers._native import MAPPING_STATIC_KEYS, mapping_search
from solvers.mapping.decoders import NO_WINDOW, STATIC_DECODES, decode_static, static_weights
from solvers.mapping.native import Decoded, native_model
from solvers.mapping.packing import with_offsets
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem, MappingSolution
    from solvers._native import MappingModel
    from solvers.protocol import Deadline

DECODES = 100
# Decodes that try other feature weights on the program at hand.
_EVOLUTION = 16
# Decodes kept back for a second search, if what the first one chose cannot be given offsets, and
# the share of the fast memory which that one leaves free.
_REPAIR = 12
_REPAIR_RESERVE = 0.03
# Steps of the exact allocator; some 30 ms at most.
_PACKING_STEPS = 20_000


class Start(NamedTuple):
    """Feature weights of the marginal decoder, and how many rows a copy may take."""

    weights: NDArray[np.float64]
    window: int


STATIC_STARTS = tuple(Start(static_weights(key), NO_WINDOW) for key in range(MAPPING_STATIC_KEYS))


class Abilities(NamedTuple):
    """What the agent may do; benchmarks leave parts out."""

    search: bool = True
    evolution: bool = True
    refinement: bool = True
    repacking: bool = True


class MallocGameAgent:
    """Static decodes, then a search without addresses, whose result the exact allocator places.

    All static decodes are made first, so that nothing is worse than the best of them. The search
    decodes by each start, evolves feature weights on the program, and takes residencies away and
    places others (ruin and recreate), all counting bytes per row alone. A decode is worth as many
    attempts to place a residency as the static decodes need in the mean.

    Parameters
    ----------
    decodes : int
        Budget of the whole, at least 1.
    starts : sequence of Start
        Tried in this order. Default: those that were learned, else the static keys.
    abilities : Abilities
    """

    name = "malloc-game"

    def __init__(
        self,
        decodes: int = DECODES,
        *,
        starts: Sequence[Start] = STATIC_STARTS,
        abilities: Abilities | None = None,
    ) -> None:
        self._decodes = decodes
        self._starts = tuple(starts)
        self._abilities = abilities or Abilities()

    def available(self) -> Availability:
        """Return that it can always run."""
        return Availability(True)

    def solve(
        self,
        problem: MappingProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: MappingSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[MappingSolution]:
        """Play the game; same seed and decodes, same solution, unless the deadline cuts it short.

        Returns
        -------
        Outcome
            ``statistics["decodes"]`` says how many decodes' worth of work it was.
        """
        model = native_model(problem)
        found: list[Decoded] = []
        for decode in STATIC_DECODES[: max(1, self._decodes)]:
            if found and deadline.expired():
                break
            found.append(decode_static(model, decode, deadline))
        best = min(found, key=lambda decoded: decoded.latency).solution()
        if incumbent is not None and incumbent.latency <= best.latency:
            best = incumbent
        attempts = sum(decoded.attempts for decoded in found)
        per_decode = max(1, attempts // len(found))
        left = self._decodes - len(found)
        searched = None
        if self._abilities.search and left > 0 and best.latency > problem.all_fast:
            searched, more = self._search(problem, model, per_decode, left, seed, deadline)
            attempts += more
        if searched is not None and searched.latency < best.latency:
            best = searched
        return Outcome(
            Status.OPTIMAL if best.latency <= problem.all_fast else Status.FEASIBLE,
            best,
            problem.all_fast,
            {"decodes": attempts / per_decode},
        )

    def _search(
        self,
        problem: MappingProblem,
        model: MappingModel,
        per_decode: int,
        decodes: int,
        seed: int,
        deadline: Deadline,
    ) -> tuple[MappingSolution | None, int]:
        """Search without addresses and pack; once more with bytes in reserve if that fails."""
        repacking, evolves = self._abilities.repacking, self._abilities.evolution
        kept_back = min(_REPAIR, decodes // 4) if repacking else 0
        first = decodes - kept_back
        evolution = min(_EVOLUTION, first // 3) if evolves else 0
        total = 0
        for budget, steps, reserve in (
            (first, evolution, 0.0),
            (kept_back, 0, _REPAIR_RESERVE),
        ):
            starts = self._starts[: max(1, budget)]
            found = Decoded(
                *mapping_search(
                    model,
                    weights=np.concatenate([start.weights for start in starts]),
                    windows=np.array([start.window for start in starts], dtype=np.int32),
                    evolution=steps,
                    attempts=budget * per_decode if self._abilities.refinement else 0,
                    fifo=False,
                    addresses=not repacking,
                    reserve=int(problem.capacity * reserve),
                    seed=seed % (1 << 64),
                    time_limit_s=deadline.remaining_s(),
                    cancel=deadline.cancel,
                )
            )
            total += found.attempts
            if not repacking:
                return found.solution(), total
            packed = with_offsets(problem, found.solution(), deadline, call_limit=_PACKING_STEPS)
            if packed is not None or kept_back == 0:
                return packed, total
        return None, total
