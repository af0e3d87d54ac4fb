"""One integer program of COSMA, solved and read back in exact integers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from solvers.cosma.model import traffic_model
from solvers.cosma.schedule import Residency, read_residency, schedule_of

if TYPE_CHECKING:
    from planner.joint_problem import JointProblem
    from solvers.cosma.backends import Backend
    from solvers.cosma.model import Boundary
    from solvers.cosma.schedule import Schedule
    from solvers.cosma.windows import Windows
    from solvers.milp.program import Answer
    from solvers.protocol import Deadline

# Up to so many units of memory a proof in floating point is trusted. Solvers take a binary that is
# off by 1e-6 for an integer and a row that is off by as much for satisfied, which only relaxes the
# rows without addresses: there it is digits that must not get lost. With addresses it moves them.
TRUSTED_UNITS = 2**30
TRUSTED_ADDRESSES = 2**20
BOUND_TOLERANCE = 1e-9


class Solved(NamedTuple):
    """What one program has given.

    Attributes
    ----------
    residency : Residency or None
        Of the best point found.
    cost : float
        Of that point, in the program's own terms; infinite if there is none.
    lower_bound : int
        Proven, in bytes; 0 where nothing is.
    optimal, infeasible : bool
        Whether the solver has proved that, and its arithmetic can be trusted.
    statistics : dict
        ``rows``, ``columns``, ``entries``, ``cpu_s`` and those of the back end.
    """

    residency: Residency | None
    cost: float
    lower_bound: int
    optimal: bool
    infeasible: bool
    statistics: dict[str, Any]


def solve_program(
    problem: JointProblem,
    windows: Windows,
    backend: Backend,
    *,
    addresses: bool,
    deadline: Deadline,
    seed: int,
    boundary: Boundary | None = None,
) -> Solved:
    """Build the program of least traffic and solve it."""
    model = traffic_model(problem, windows, addresses=addresses, boundary=boundary)
    answer = backend.solve(model.program, deadline=deadline, seed=seed)
    most = TRUSTED_ADDRESSES if addresses else TRUSTED_UNITS
    trusted = problem.capacity // model.unit <= most
    residency = None if answer.values is None else read_residency(model, answer.values)
    statistics = {
        "rows": len(model.program.row_names),
        "columns": len(model.program.names),
        "entries": len(model.program.value),
        **answer.statistics,
    }
    if not answer.optimal and not answer.infeasible:
        statistics.setdefault("stopped", "stopped at its time limit")
    return Solved(
        residency=residency,
        cost=math.inf if answer.values is None else float(model.program.cost @ answer.values),
        lower_bound=proven_bytes(answer, model.traffic_unit) if trusted else 0,
        optimal=answer.optimal and trusted,
        infeasible=answer.infeasible and trusted,
        statistics=statistics,
    )


def read_schedule(problem: JointProblem, solved: Solved, *, addresses: bool) -> Schedule | None:
    """Return the schedule of a solution, None if there is none or it is none in exact integers."""
    if solved.residency is None:
        return None
    return schedule_of(problem, solved.residency, addresses=addresses)


def proven_bytes(answer: Answer, unit: int) -> int:
    """Round a bound in floating point up to a multiple of the unit that every value is."""
    bound = answer.bound
    if not math.isfinite(bound) or bound <= 0.0:
        return 0
    return math.ceil(bound - max(1e-6, BOUND_TOLERANCE * bound)) * unit
