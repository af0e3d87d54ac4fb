"""Check a plan against its model with the independent checker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError

if TYPE_CHECKING:
    import argparse

    from planner.graph import Graph
    from planner.plans import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan check``."""
    parser.add_argument("plan", metavar="PLAN.json")
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Lower the model as the plan says, check, list the violations."""
    import planner
    from planner.report.names import printable

    plan = planner.read_plan(options.plan)
    graph = load_planned_model(options.model, plan)
    violations = planner.check(graph, plan.target, plan)
    if options.json:
        verdict = {
            "format": "planner.check",
            "version": 1,
            "plan": options.plan,
            "model": options.model,
            "legal": not violations,
            "violations": [
                {"kind": str(v.kind), "message": v.message, "step": v.step} for v in violations
            ],
        }
        print(json.dumps(verdict, indent=2, sort_keys=True))
    elif not violations:
        steps, storages = len(plan.order), len(plan.placements)
        print(f"legal: {steps:,} steps, {storages:,} placements, target {plan.target.name}")
    else:
        for violation in violations:
            print(printable(violation.message))
    return InvalidPlanError.exit_code if violations else 0


def load_planned_model(path: str, plan: Plan) -> Graph:
    """Lower a model the way the plan's own model was lowered."""
    import planner

    return planner.load(
        path,
        dims=dict(plan.model.dims),
        shapes=dict(plan.model.shapes),
        zero_copy=plan.model.zero_copy,
        parameters=plan.model.parameters,
        alignment_bytes=plan.target.nearest.alignment_bytes,
    )
