"""COSMA's baselines: a linear arena under two orders, with two rules of eviction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.bench.cpu_time import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.plans import Plan
    from planner.problem import PlanningProblem
    from solvers.contenders.fixed_order import FixedOrder
    from solvers.protocol import Deadline

RULES = ("belady", "greedy")
ORDERS = ("default", "least peak")
BASELINES = tuple(f"{order}, {rule}" for order in ORDERS for rule in RULES)
READING = (
    "The baselines are our reading of an underspecified text: a linear arena with best fit in "
    "which storages are allocated online, in execution order, each in the smallest hole that fits, "
    "and keep their address until they leave. Without a hole, residents that the running operator "
    "does not need are evicted: belady takes the furthest next use until there is a hole, greedy "
    "the set with the fewest off-chip bytes whose removal makes one. If the running operator's "
    "operands leave no hole, the baseline fails by fragmentation. The paper has figures for its "
    "baselines, so in place of these failures stand bytes marked *: those of an arena that then "
    "moves operands, by writing them out and reading them back to another address."
)


class BaselineRun(NamedTuple):
    """One baseline at one budget.

    Attributes
    ----------
    name : str
        One of `BASELINES`.
    traffic_bytes : int or None
        Not compulsory; None if the arena failed.
    moving_bytes : int or None
        The same for an arena that moves operands instead of failing; None if that one has no plan
        either.
    cpu_s : float
        Of both.
    note : str
        How it failed.
    """

    name: str
    traffic_bytes: int | None
    moving_bytes: int | None
    cpu_s: float = 0.0
    note: str = ""


def run_baselines(
    problem: PlanningProblem, least_peak_order: Sequence[int], deadline: Deadline
) -> tuple[BaselineRun, ...]:
    """Run all four, each plan checked.

    Raises
    ------
    InvalidPlanError
        If a plan is illegal.
    """
    from solvers.contenders.fixed_order import fix_order
    from solvers.contenders.in_place import InPlaceChoice

    runs = []
    names = iter(BASELINES)
    for order in (range(len(problem.graph.operators)), least_peak_order):
        fixed = fix_order(problem, order, InPlaceChoice.NONE)
        runs += [_run(problem, fixed, next(names), rule, deadline) for rule in RULES]
    return tuple(runs)


def _run(
    problem: PlanningProblem, fixed: FixedOrder, name: str, rule: str, deadline: Deadline
) -> BaselineRun:
    started = cpu_seconds()
    traffic, note = _traffic(problem, fixed, rule, deadline, moving=False)
    moving = traffic
    if moving is None:
        moving, _ = _traffic(problem, fixed, rule, deadline, moving=True)
    return BaselineRun(name, traffic, moving, cpu_seconds() - started, note)


def _traffic(
    problem: PlanningProblem, fixed: FixedOrder, rule: str, deadline: Deadline, *, moving: bool
) -> tuple[int | None, str]:
    """Bytes of a checked plan, or why there is none."""
    from solvers.contenders.assemble import assemble
    from solvers.replacement.linear_arena import LinearArena

    solver = LinearArena(rule, moving=moving)
    outcome = solver.solve(fixed.replacement, deadline=deadline)
    found = outcome.statistics
    if "failure" in found:
        return None, (
            f"no hole of {found['needed_bytes']:,} bytes at step {found['step']}; operands leave "
            f"{found['free_bytes']:,}, at most {found['largest_hole_bytes']:,} in one piece"
        )
    if outcome.solution is None:
        return (
            None,
            "no plan in time" if outcome.lower_bound is not None else "an operator is too large",
        )
    plan = assemble(
        problem,
        fixed.order,
        fixed.in_place,
        outcome.solution.episodes,
        contender=solver.name,
        deadline=deadline,
    )
    _require_legal(problem, plan, solver.name)
    return plan.metrics.traffic_bytes, ""


def _require_legal(problem: PlanningProblem, plan: Plan, name: str) -> None:
    from planner.checker import check
    from planner.errors import InvalidPlanError

    violations = check(problem.graph, problem.target, plan)
    if violations:
        raise InvalidPlanError(
            f"internal error: {name} made an illegal plan: {violations[0].message}. "
            "Please report it."
        )
