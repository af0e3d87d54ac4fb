"""Addresses for stays: the packer this package relies on, as a parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from planner.problem import OffsetProblem, OffsetSolution, Outcome, Status
from solvers.protocol import Deadline
from solvers.replacement.episodes import episodes_to_buffers, placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.problem import ReplacementSolution
    from solvers.replacement.demand import Demand
    from solvers.replacement.episodes import Stay

# Fractions of the capacity for which to plan when addresses for all of it cannot be found.
SLACK_FRACTIONS = (0.98, 0.95, 0.92, 0.88, 0.84, 0.8, 0.7)

# With moves everything that fits by capacity can be placed, so no long search is made without.
PACKING_BEFORE_MOVES_S = 1.0

Packer: TypeAlias = Callable[[OffsetProblem, Deadline], Outcome[OffsetSolution]]


def default_packer() -> Packer:
    """The project's own packer, imported only when a solver runs."""
    from solvers.offsets import pack

    return pack


def place_stays(
    demand: Demand, stays: Sequence[Stay], pack: Packer, deadline: Deadline
) -> tuple[Status, ReplacementSolution | None]:
    """Pack stays into the capacity: the packer's status, and the solution if it found one."""
    if demand.relocation:
        deadline = deadline.within(PACKING_BEFORE_MOVES_S)
    buffers = episodes_to_buffers(demand, stays)
    if not stays:
        return Status.OPTIMAL, placed(demand, (), (), ())
    outcome = pack(buffers.problem, deadline)
    if outcome.solution is None or outcome.solution.height > demand.capacity:
        return outcome.status, None
    return outcome.status, placed(demand, stays, buffers.of_stay, outcome.solution.offsets.tolist())
