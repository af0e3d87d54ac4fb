"""The agent that plays mallocGame in any order: learned starts, search on the program at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Outcome, Status
from solvers._native import MAPPING_STATIC_KEYS, mapping_refine, mapping_search
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
# Decodes kept back for repairs, if what was chosen cannot be given offsets.
_REPAIR = 12
_REPAIRS = 4
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
    fifo : bool
        Copies of one direction end in the order in which they start.
    """

    name = "malloc-game"

    def __init__(
        self,
        decodes: int = DECODES,
        *,
        starts: Sequence[Start] = STATIC_STARTS,
        abilities: Abilities | None = None,
        fifo: bool = False,
    ) -> None:
        self._decodes = decodes
        self._fifo = fifo
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
            found.append(decode_static(model, decode, deadline, fifo=self._fifo))
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
        """Search, without addresses if they are packed afterwards."""
        repacking = self._abilities.repacking
        kept_back = min(_REPAIR, decodes // 4) if repacking else 0
        budget = decodes - kept_back
        starts = self._starts[: max(1, budget)]
        found = Decoded(
            *mapping_search(
                model,
                weights=np.concatenate([start.weights for start in starts]),
                windows=np.array([start.window for start in starts], dtype=np.int32),
                evolution=min(_EVOLUTION, budget // 3) if self._abilities.evolution else 0,
                attempts=budget * per_decode if self._abilities.refinement else 0,
                fifo=self._fifo,
                addresses=not repacking,
                reserve=0,
                seed=seed % (1 << 64),
                time_limit_s=deadline.remaining_s(),
                cancel=deadline.cancel,
            )
        )
        if not repacking:
            return found.solution(), found.attempts
        return self._packed(
            problem, model, found, kept_back * per_decode // _REPAIRS, seed, deadline
        )

    def _packed(
        self,
        problem: MappingProblem,
        model: MappingModel,
        found: Decoded,
        attempts: int,
        seed: int,
        deadline: Deadline,
    ) -> tuple[MappingSolution | None, int]:
        """Give offsets; where there are none, give up as many bytes as are missing, and again."""
        total, reserve = found.attempts, 0
        for repair in range(_REPAIRS + 1):
            solution = found.solution()
            packed = with_offsets(problem, solution, deadline, call_limit=_PACKING_STEPS)
            if packed.solution is not None or repair == _REPAIRS or deadline.expired():
                return packed.solution, total
            reserve += max(packed.height - problem.capacity, problem.alignment)
            if reserve >= problem.capacity:
                break
            found = Decoded(
                *mapping_refine(
                    model,
                    residencies=found.residencies,
                    weights=static_weights(0),
                    window=NO_WINDOW,
                    fifo=self._fifo,
                    addresses=False,
                    reserve=reserve,
                    attempts=attempts,
                    seed=seed % (1 << 64),
                    time_limit_s=deadline.remaining_s(),
                    cancel=deadline.cancel,
                )
            )
            total += found.attempts
        return None, total
