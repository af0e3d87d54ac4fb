"""The methods that the latency suite compares, by name; those that are not there are missing.

A method is a function ``method(problem, *, decodes, seconds, seed, **arguments)``. It stops at
whichever of ``decodes`` and ``seconds`` comes first, either may be None, and hands back a solution
of the mapping problem with the number of decodes that it took. The same decodes and seed give the
same solution.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.mapping_problem import Residency

REFERENCE = "xla"
BEST_STATIC = "static-24"
KEY_SEARCH = "key-search"
GAME = "malloc-game"
PROGRAM_ORDER = "program-order"
EXACT = "cp"
# At equal time, the others get the CPU time that the first of these that is there took.
TIMEKEEPERS = (GAME, KEY_SEARCH)


class Mapped(NamedTuple):
    """What a method hands back.

    Attributes
    ----------
    residencies : sequence of Residency
    latency : int
        Ticks.
    decodes_used : int
    lower_bound : int or None
        Ticks that no mapping is below, where the method proves that.
    """

    residencies: Sequence[Residency]
    latency: int
    decodes_used: int
    lower_bound: int | None = None


class Bound(NamedTuple):
    """Ticks that no mapping is below; ``is_complete`` unless the time was up before."""

    ticks: int
    is_complete: bool


class Method(NamedTuple):
    """One method: where it is (``module:function``), and what it is, in one line.

    One without a budget runs once, with neither decodes nor seed, up to the time limit.
    """

    path: str
    purpose: str
    arguments: Mapping[str, Any] = MappingProxyType({})
    has_budget: bool = True

    def load(self) -> Callable[..., Any] | None:
        """Return the function, or None where it is not there."""
        module, _, name = self.path.partition(":")
        try:
            return getattr(import_module(module), name, None)
        except ModuleNotFoundError as error:
            # What the module itself lacks is another matter.
            if error.name is not None and (module + ".").startswith(error.name + "."):
                return None
            raise


_SOLVERS = "planner.bench.latency_solvers"


def _static(which: str, purpose: str) -> Method:
    return Method(f"{_SOLVERS}:static", purpose, {"which": which}, has_budget=False)


def _game_without(part: str, purpose: str) -> Method:
    return Method(f"{_SOLVERS}:malloc_game", f"the agent {purpose}", {part: False})


METHODS: Mapping[str, Method] = {
    "all-slow": Method(f"{_SOLVERS}:all_slow", "nothing in the fast memory", has_budget=False),
    REFERENCE: _static(
        "xla", "XLA-style: benefit by the root of the size, window of 24 rows, one decode"
    ),
    "static-best-of-4": _static("best-of-4", "four static keys, the same decoder and window"),
    "static-8": _static("8", "two decoders, four keys, window of 24 rows"),
    BEST_STATIC: _static("24", "two decoders, four keys, three windows"),
    KEY_SEARCH: Method(f"{_SOLVERS}:key_search", "(1+1) evolution on keys"),
    GAME: Method(f"{_SOLVERS}:malloc_game", "the agent"),
    "malloc-game no learning": _game_without("evolution", "without learning on the program"),
    "malloc-game no refine": _game_without("refinement", "without ruin and recreate"),
    "malloc-game no search": _game_without("search", "without any search: static decodes"),
    "malloc-game no offline start": _game_without("offline_start", "from the static keys"),
    "malloc-game no repack": _game_without("repacking", "with addresses from the decoder"),
    "malloc-game one window": _game_without("windows", "with a window of 24 rows alone"),
    "malloc-game one decoder": _game_without("marginal", "with the decoder of whole buffers"),
    PROGRAM_ORDER: Method(f"{_SOLVERS}:program_order", "tree search in program order"),
    "program-order greedy": Method(
        f"{_SOLVERS}:program_order",
        "one game of the same policy, no simulations",
        {"search": False},
        has_budget=False,
    ),
    EXACT: Method(f"{_SOLVERS}:exact", "CP-SAT, from the best of 24 decodes", has_budget=False),
}
# Proves a bound: ``bound(problem, *, seconds) -> Bound``.
BOUND = Method(f"{_SOLVERS}:bound", "no mapping is faster", has_budget=False)


class Part(NamedTuple):
    """A part of the agent, or of the player in program order, and the method without it."""

    name: str
    with_it: str
    without_it: str


PARTS: tuple[Part, ...] = (
    Part("windows", GAME, "malloc-game one window"),
    Part("decoder", GAME, "malloc-game one decoder"),
    Part("online learning", GAME, "malloc-game no learning"),
    Part("offline start", GAME, "malloc-game no offline start"),
    Part("repacking", GAME, "malloc-game no repack"),
    Part("ruin and recreate", GAME, "malloc-game no refine"),
    Part("all search", GAME, "malloc-game no search"),
    Part("tree search", PROGRAM_ORDER, "program-order greedy"),
    Part("any order", GAME, PROGRAM_ORDER),
)


def chosen_methods(
    names: Sequence[str] | None, *, exact: bool
) -> tuple[dict[str, Method], list[str]]:
    """Return the methods to compare, the reference among them, and the names of missing ones.

    Parameters
    ----------
    names : sequence of str or None
        All if None.
    exact : bool
        Whether all of them are to include the exact solver.

    Raises
    ------
    UsageError
        If a name is unknown, or there is none.
    """
    for name in names or ():
        if name not in METHODS:
            raise UsageError(f"no method {name!r}. There are: {', '.join(METHODS)}.")
    if names is not None and not names:
        raise UsageError(f"no method is named. There are: {', '.join(METHODS)}.")
    if names is None:
        wanted = [name for name in METHODS if exact or name != EXACT]
    else:
        wanted = [name for name in METHODS if name in names or name == REFERENCE]
    missing = [name for name in wanted if METHODS[name].load() is None]
    return {name: METHODS[name] for name in wanted if name not in missing}, missing
