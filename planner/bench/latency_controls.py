"""What the agent is compared with: everything slow, and static decodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.latency_methods import Mapped

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem

_ALL_DAY_S = 86_400.0


def all_slow(
    problem: MappingProblem, *, decodes: int | None, seconds: float | None, seed: int
) -> Mapped:
    """Map nothing."""
    del decodes, seconds, seed
    return Mapped((), problem.all_slow, 0)


def static(
    problem: MappingProblem,
    *,
    decodes: int | None,
    seconds: float | None,
    seed: int,
    which: str,
) -> Mapped:
    """Return the best of some static decodes: ``xla``, ``best-of-4``, ``8`` or ``24``."""
    from solvers.mapping.decoders import STATIC_DECODES, XLA_STYLE, StaticDecodes
    from solvers.protocol import Deadline

    del decodes, seed
    window = [decode for decode in STATIC_DECODES if decode.window == XLA_STYLE.window]
    chosen = {
        "xla": [XLA_STYLE],
        "best-of-4": [decode for decode in window if decode.decoder is XLA_STYLE.decoder],
        "8": window,
        "24": list(STATIC_DECODES),
    }[which]
    deadline = Deadline(_ALL_DAY_S if seconds is None else seconds)
    solution = StaticDecodes(chosen).solve(problem, deadline=deadline).solution
    if solution is None:
        return Mapped((), problem.all_slow, 0)
    return Mapped(solution.residencies, solution.latency, len(chosen))
