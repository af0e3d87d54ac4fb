"""Graphs of the design tables as joint problems: results die, inputs come at their first use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from frontends.bare_graph import read_bare_graph
from planner.joint_problem import JointProblem
from planner.problem import Objective, PlanningProblem
from planner.target import Memory, Target


def joint_problem_of(name: str, budget: str) -> JointProblem:
    """Read a graph at one of its budgets: M_R, M_P or M_H."""
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("needs PLANNER_DATA: the graphs of the design tables are not in the project")
    lines = Path(folder, "graphs", "budgets.txt").read_text().splitlines()
    header, *table = (line.split() for line in lines)
    capacity = next(int(row[header.index(budget)]) for row in table if row[0] == name)
    target = Target("scratchpad", (Memory("near", capacity), Memory("far")), io_memory="far")
    graph = read_bare_graph(Path(folder, "graphs", f"{name}.txt"))
    return JointProblem.of(PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False))
