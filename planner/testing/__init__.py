"""For tests of this project and of code that builds on it: random graphs and naive, legal plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.checker import check
from planner.testing.graphs import random_graph
from planner.testing.plans import naive_plan

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan
    from planner.target import Target

__all__ = ["assert_legal", "naive_plan", "random_graph"]


def assert_legal(graph: Graph, target: Target, plan: Plan) -> None:
    """Fail with every offence of the plan.

    Raises
    ------
    AssertionError
        If `planner.check` finds a violation.
    """
    violations = check(graph, target, plan)
    if violations:
        raise AssertionError("\n".join(f"{v.kind}: {v.message}" for v in violations))
