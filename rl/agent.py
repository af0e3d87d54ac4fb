"""The agent that plays mallocGame in any order: learned starts, search on the program at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Outcome, Status
from solvers._native import MAPPING_STATIC_KEYS, mapping_refine, mapping_search
from solvers.mapping.decoders import (
    NO_WINDOW,
    STATIC_DECODES,
    XLA_STYLE,
    StaticDecode,
    decode_static,
    static_weights,
)
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
# Decodes kept back for a repair, if what was chosen cannot be given offsets.
_REPAIR = 20
# Share of the time for the search.
_SEARCHING = 0.85
# Steps of the exact allocator; some 30 ms at most.
_PACKING_STEPS = 20_000


class Start(NamedTuple):
    """Feature weights of the marginal decoder, and how many rows a copy may take."""

    weights: NDArray[np.float64]
    window: int


STATIC_STARTS = tuple(Start(static_weights(key), NO_WINDOW) for key in range(MAPPING_STATIC_KEYS))


class Starts(NamedTuple):
    """Where a search starts, and what there is to say about it."""

    starts: tuple[Start, ...]
    note: str = ""


def learned_starts() -> Starts:
    """Return the starts that were learned offline; without them, the static keys and why."""
    from rl.portfolio import load_portfolio
    from rl.weights import WeightsError

    try:
        entries = load_portfolio()
    except WeightsError as error:
        return Starts(STATIC_STARTS, f"static keys instead of learned weights: {error}")
    return Starts(tuple(Start(entry.weights, entry.window) for entry in entries))


class Abilities(NamedTuple):
    """What the agent may do; benchmarks leave parts out.

    Attributes
    ----------
    search : bool
        Anything beyond the static decodes.
    evolution : bool
        Other feature weights, learned on the program at hand.
    refinement : bool
        Ruin and recreate.
    repacking : bool
        Search without addresses, and offsets by the exact allocator.
    windows : bool
        Several prefetch windows; else the fixed one of the XLA-style decode.
    marginal : bool
        The decoder by current marginal gain; else ruin and recreate starts from whole buffers.
    """

    search: bool = True
    evolution: bool = True
    refinement: bool = True
    repacking: bool = True
    windows: bool = True
    marginal: bool = True


class _Play(NamedTuple):
    """What is searched on, and how long; ``per_decode`` are attempts to place a residency."""

    problem: MappingProblem
    model: MappingModel
    per_decode: int
    seed: int
    deadline: Deadline


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
        starts: Sequence[Start] | None = None,
        abilities: Abilities | None = None,
        fifo: bool = False,
    ) -> None:
        self._decodes = decodes
        self._fifo = fifo
        self._starts = learned_starts() if starts is None else Starts(tuple(starts))
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
            ``statistics["decodes"]`` says how many decodes' worth of work it was,
            ``statistics["note"]`` why learned starts are missing.
        """
        model = native_model(problem)
        found: list[Decoded] = []
        for decode in self._static_decodes()[: max(1, self._decodes)]:
            if found and deadline.expired():
                break
            found.append(decode_static(model, decode, deadline, fifo=self._fifo))
        first = min(found, key=lambda decoded: decoded.latency)
        best = first.solution()
        if incumbent is not None and incumbent.latency <= best.latency:
            best = incumbent
        attempts = sum(decoded.attempts for decoded in found)
        per_decode = max(1, attempts // len(found))
        left = self._decodes - len(found)
        searched = None
        if self._abilities.search and left > 0 and best.latency > problem.floor:
            play = _Play(problem, model, per_decode, seed, deadline)
            searched, more = self._search(play, first, left)
            attempts += more
        if searched is not None and searched.latency < best.latency:
            best = searched
        return Outcome(
            Status.OPTIMAL if best.latency <= problem.floor else Status.FEASIBLE,
            best,
            problem.floor,
            {"decodes": attempts / per_decode, "note": self._starts.note},
        )

    def _static_decodes(self) -> list[StaticDecode]:
        able = self._abilities
        return [
            decode
            for decode in STATIC_DECODES
            if (able.windows or decode.window == XLA_STYLE.window)
            and (able.marginal or decode.decoder is XLA_STYLE.decoder)
        ]

    def _search(
        self, play: _Play, first: Decoded, decodes: int
    ) -> tuple[MappingSolution | None, int]:
        """Search from the best static decode; without addresses, if they are packed afterwards."""
        repacking = self._abilities.repacking
        kept_back = min(_REPAIR, decodes // 4) if repacking else 0
        # Offsets need time, too.
        searching = play.deadline.within(_SEARCHING * play.deadline.remaining_s())
        found = self._chosen(play._replace(deadline=searching), first, decodes - kept_back)
        if not repacking:
            return found.solution(), found.attempts
        packed = with_offsets(
            play.problem, found.solution(), play.deadline, call_limit=_PACKING_STEPS
        )
        if packed.fits:
            left = decodes * play.per_decode - found.attempts
            polished, more = self._polished(play, packed.solution, left)
            return polished, found.attempts + more
        known = np.array(packed.solution.residencies, dtype=np.int64).ravel()
        repaired = self._repaired(play, (known, found.residencies), kept_back * play.per_decode)
        return repaired.solution(), found.attempts + repaired.attempts

    def _chosen(self, play: _Play, first: Decoded, decodes: int) -> Decoded:
        """Choose residencies: starts, other weights, ruin and recreate."""
        able = self._abilities
        attempts = decodes * play.per_decode if able.refinement else 0
        addresses = not able.repacking
        if not able.marginal:
            return self._refined(play, first.residencies, attempts, addresses=addresses)
        starts = self._starts.starts[: max(1, decodes)]
        windows = [start.window if able.windows else XLA_STYLE.window for start in starts]
        return Decoded(
            *mapping_search(
                play.model,
                weights=np.concatenate([start.weights for start in starts]),
                windows=np.array(windows, dtype=np.int32),
                evolution=min(_EVOLUTION, decodes // 3) if able.evolution else 0,
                attempts=attempts,
                fifo=self._fifo,
                addresses=addresses,
                seed=play.seed % (1 << 64),
                time_limit_s=play.deadline.remaining_s(),
                cancel=play.deadline.cancel,
            )
        )

    def _polished(
        self, play: _Play, solution: MappingSolution, attempts: int
    ) -> tuple[MappingSolution, int]:
        """Spend what no repair needed on more ruin and recreate, if that can be packed too."""
        if (
            attempts <= 0
            or not self._abilities.refinement
            or solution.latency <= play.problem.floor
        ):
            return solution, 0
        known = np.array(solution.residencies, dtype=np.int64).ravel()
        again = play._replace(seed=play.seed + 1)
        found = self._refined(again, known, attempts, addresses=False)
        if found.latency < solution.latency:
            packed = with_offsets(
                play.problem, found.solution(), play.deadline, call_limit=_PACKING_STEPS
            )
            if packed.fits:
                solution = packed.solution
        return solution, found.attempts

    def _repaired(self, play: _Play, starts: Sequence[NDArray[np.int64]], attempts: int) -> Decoded:
        """Search on with addresses from those residencies that have some, by the better start."""
        tried = [self._refined(play, start, 0, addresses=True) for start in starts]
        best = min(tried, key=lambda found: found.latency)
        return self._refined(play, best.residencies, attempts, addresses=True)

    def _refined(
        self, play: _Play, residencies: NDArray[np.int64], attempts: int, *, addresses: bool
    ) -> Decoded:
        return Decoded(
            *mapping_refine(
                play.model,
                residencies=residencies,
                weights=static_weights(0),
                window=NO_WINDOW if self._abilities.windows else XLA_STYLE.window,
                fifo=self._fifo,
                addresses=addresses,
                attempts=attempts,
                seed=play.seed % (1 << 64),
                time_limit_s=play.deadline.remaining_s(),
                cancel=play.deadline.cancel,
            )
        )
