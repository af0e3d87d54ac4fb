"""Who competes for the plan of a training step, and where the method comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Contender(NamedTuple):
    """A contender of the race.

    Attributes
    ----------
    name : str
    source : str
        What it does, and the paper, where there is one.
    most_operators : int or None
        Larger problems are not given to it unless it is asked for by name.
    """

    name: str
    source: str
    most_operators: int | None = None


CONTENDERS = (
    Contender("greedy", "drops the saved storage of most bytes for the least recomputation"),
    Contender(
        "block-dp",
        "identical blocks solved once, rotor's dynamic program across them "
        "(arXiv 1911.13214, 2307.01236)",
    ),
    Contender(
        "moments",
        "what the memory at single moments allows, in whole numbers; with proof where that fits",
    ),
    Contender(
        "ladder", "local search on the exact peak, down a ladder of budgets; starts from all others"
    ),
    Contender("checkmate", "Checkmate's integer program through PuLP (arXiv 1910.02653)", 40),
    Contender("moccasin", "Moccasin's retention intervals by CP-SAT (arXiv 2304.14463)", 80),
    Contender("offload", "saved storages by way of the host, timed by events"),
)


def chosen_contenders(operators: int, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return who takes part in the race for a step of so many operators.

    Parameters
    ----------
    names : sequence of str or None
        Who was asked for; None for all that the size allows.

    Raises
    ------
    UsageError
        If a name is unknown.
    """
    if names is None:
        return tuple(
            one.name
            for one in CONTENDERS
            if one.most_operators is None or operators <= one.most_operators
        )
    refuse_unknown(names)
    return tuple(names)


def refuse_unknown(names: Sequence[str]) -> None:
    """Refuse names of no contender.

    Raises
    ------
    UsageError
        With the names that there are.
    """
    known = [one.name for one in CONTENDERS]
    for name in names:
        if name not in known:
            raise UsageError(f"no training solver {name!r}. There are: {', '.join(known)}.")
