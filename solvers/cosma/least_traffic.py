"""COSMA's answer to a problem: the integer program whole, or in parts, and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from planner.problem import Status
from solvers.cosma.divide import solve_in_parts
from solvers.cosma.program_solution import read_schedule, solve_program
from solvers.cosma.schedule import replacement_on
from solvers.cosma.windows import Windows
from solvers.replacement.arena import simulate_arena
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import placed
from solvers.replacement.eviction import Policy
from solvers.replacement.packing import default_packer, place_stays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.joint_problem import JointProblem
    from planner.problem import ReplacementSolution
    from solvers.cosma.backends import Backend
    from solvers.cosma.schedule import Schedule
    from solvers.protocol import Deadline

# Operators of a part, where the whole is too much.
PART_OPERATORS = 24
# Of the time, what the program without addresses may take, parts included; of that, what the whole
# program may take before the parts; and of what is left, what one placement may take.
_RELAXED_SHARE = 0.8
_WHOLE_SHARE = 0.6
_PLACEMENT_SHARE = 0.3


class CosmaResult(NamedTuple):
    """What COSMA finds.

    Attributes
    ----------
    schedule : Schedule or None
        By capacity alone.
    solution : ReplacementSolution or None
        With addresses, on the order of ``order``.
    order : tuple of int
        Of the solution; empty if there is none.
    lower_bound : int
        Proven, of the program without addresses: no storage is written in place or moved in part.
    infeasible : bool
        Proven.
    proven : bool
        Whether the solution is an optimum of the program with addresses.
    statistics : dict
        Of the largest program, or of all parts; ``method`` says which way it went.
    """

    schedule: Schedule | None
    solution: ReplacementSolution | None
    order: tuple[int, ...]
    lower_bound: int
    infeasible: bool
    proven: bool
    statistics: dict[str, Any]


def by_capacity(
    problem: JointProblem,
    backend: Backend,
    *,
    order: Sequence[int] | None = None,
    deadline: Deadline,
    seed: int = 0,
) -> CosmaResult:
    """Solve the program without addresses; a free schedule in parts where the whole takes too long.

    Parameters
    ----------
    order : sequence of int, optional
        A fixed schedule.
    """
    windows = Windows.of(problem, order)
    schedule, bound, infeasible, proven = None, 0, False, False
    statistics: dict[str, Any] = {"columns": windows.columns(addresses=False)}
    reached_s = deadline.remaining_s()
    if not windows.too_large(addresses=False, fixed=order is not None):
        share = 1.0 if order is not None else _WHOLE_SHARE
        solved = solve_program(
            problem, windows, backend, addresses=False,
            deadline=deadline.within(share * reached_s), seed=seed,
        )  # fmt: skip
        statistics = {**solved.statistics, "method": "whole"}
        schedule = read_schedule(problem, solved, addresses=False)
        bound, infeasible = solved.lower_bound, solved.infeasible
        if schedule is not None:
            bound = min(bound, schedule.traffic_bytes)
        proven = schedule is not None and schedule.traffic_bytes == bound
    elif order is not None:
        statistics["stopped"] = "too large"
    if order is None and not proven and not infeasible and not deadline.expired():
        divided = solve_in_parts(
            problem, backend, part_operators=PART_OPERATORS,
            deadline=deadline, seed=seed,
        )  # fmt: skip
        cpu_s = statistics.get("cpu_s", 0.0) + divided.statistics.get("cpu_s", 0.0)
        statistics = {**statistics, **divided.statistics, "cpu_s": cpu_s}
        found = divided.schedule
        if schedule is None or (found and found.traffic_bytes < schedule.traffic_bytes):
            schedule = found
            statistics["method"] = "parts"
        proven = schedule is not None and schedule.traffic_bytes == bound
    return CosmaResult(schedule, None, (), bound, infeasible, proven, statistics)


def with_addresses(
    problem: JointProblem,
    backend: Backend,
    *,
    order: Sequence[int] | None = None,
    deadline: Deadline,
    seed: int = 0,
) -> CosmaResult:
    """Solve the program, addresses included.

    Equations (9)-(11) come in when they are needed: an optimum without them that can be placed is
    an optimum with them. Where it cannot, the whole program follows; where that is too large or has
    no good solution in time, an arena keeps what the schedule keeps as far as addresses allow.
    """
    windows = Windows.of(problem, order)
    relaxed = by_capacity(
        problem,
        backend,
        order=order,
        deadline=deadline.within(_RELAXED_SHARE * deadline.remaining_s()),
        seed=seed,
    )
    schedule = relaxed.schedule
    if relaxed.infeasible:
        return relaxed
    if schedule is not None:
        limit = deadline.within(_PLACEMENT_SHARE * deadline.remaining_s())
        status, solution = place_stays(schedule.demand, schedule.stays, default_packer(), limit)
        relaxed.statistics["placement"] = status.value
        if solution is not None:
            return relaxed._replace(solution=solution, order=schedule.order)
        if status is not Status.INFEASIBLE and relaxed.proven:
            relaxed.statistics["stopped"] = "no placement in the time given"
    result = relaxed._replace(proven=False)
    if schedule is not None:
        arena = _kept_in_an_arena(problem, schedule, deadline)
        result = result._replace(solution=arena, order=schedule.order)
    too_large = windows.too_large(addresses=True, fixed=order is not None)
    if not too_large and not deadline.expired():
        solved = solve_program(
            problem, windows, backend, addresses=True, deadline=deadline, seed=seed
        )
        full = read_schedule(problem, solved, addresses=True)
        if solved.infeasible:
            result.statistics["stopped"] = "the program with addresses has no solution"
        if full is None or full.offsets is None:
            return result
        known = result.solution
        if solved.optimal or known is None or full.traffic_bytes < known.traffic_bytes:
            return result._replace(
                schedule=schedule or full,
                solution=placed(full.demand, full.stays, range(len(full.stays)), full.offsets),
                order=full.order,
                proven=solved.optimal,
                statistics={**solved.statistics, "method": "whole with addresses"},
            )
    return result


def _kept_in_an_arena(
    problem: JointProblem, schedule: Schedule, deadline: Deadline
) -> ReplacementSolution:
    """Run the order through an arena that drops what the schedule drops, and more where it must."""
    demand = Demand.of(replacement_on(problem, schedule.order))
    ends = {(stay.storage, stay.end - 1) for stay in schedule.stays}
    uses = {(s, step) for s, row in enumerate(demand.uses) for step in row[:-1]}
    return simulate_arena(demand, Policy.FURTHEST_NEXT_USE, deadline, ends & uses)
