"""Explain a plan: its peak, one step, or one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan explain``."""
    parser.add_argument("plan", metavar="PLAN.json")
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL.onnx",
        help="tells who reads what, which no plan file does",
    )
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--step", type=int, metavar="N", help="what is live at step N, and where")
    subject.add_argument("--tensor", metavar="NAME", help="where a tensor lives, and when")


def run(options: argparse.Namespace) -> int:
    """Print the explanation."""
    import planner
    from planner.cli.check import load_planned_model
    from planner.errors import InvalidPlanError
    from planner.plan_file import read_plan
    from planner.plausible import require_no_time_before_the_first_step
    from planner.report.explain import render_explanation
    from planner.violation import ViolationKind

    plan = read_plan(options.plan)
    graph = load_planned_model(options.model, plan) if options.model else None
    require_no_time_before_the_first_step(plan)
    if graph is not None:
        for violation in planner.check(graph, plan.target, plan):
            if violation.kind is ViolationKind.MODEL:
                raise InvalidPlanError(violation.message)
    print(render_explanation(plan, graph, step=options.step, tensor=options.tensor))
    return 0
