"""Memory planning for deep networks: order, offsets, spills, and how good they provably are.

The names below are the public interface. They are loaded on first use, so that importing the
package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from planner.version import VERSION as __version__

if TYPE_CHECKING:
    from planner.api import load, plan
    from planner.checker import Violation, check
    from planner.errors import (
        BadFileError,
        DoesNotFitError,
        InvalidPlanError,
        LoweringError,
        PlannerError,
        UsageError,
    )
    from planner.execution.api import execute
    from planner.execution.result import Execution, Mismatch, Verdict
    from planner.graph import Graph
    from planner.packing.api import pack
    from planner.packing.checker import check_packing
    from planner.packing.problem import (
        Buffer,
        Colocation,
        Gap,
        MemorySpace,
        Overlap,
        PackingProblem,
        Separation,
    )
    from planner.packing.result import PackResult
    from planner.pipelining.api import pipeline
    from planner.pipelining.checking.checker import check_pipeline
    from planner.pipelining.costs import VocabularyTimes
    from planner.pipelining.problem import PipelineObjective, PipelineProblem, StageCosts
    from planner.pipelining.result import PipelineResult
    from planner.pipelining.schedule import PipelineSchedule
    from planner.plan_file import read_plan, write_plan
    from planner.plans import Plan
    from planner.result import PlanResult
    from planner.simulator import Timeline, simulate
    from planner.sweeps.api import sweep
    from planner.sweeps.capacities import CapacityRange
    from planner.sweeps.result import SweepPoint, SweepResult
    from planner.target import Target
    from planner.target_file import read_target

_HOME = {
    "BadFileError": "planner.errors",
    "Buffer": "planner.packing.problem",
    "CapacityRange": "planner.sweeps.capacities",
    "Colocation": "planner.packing.problem",
    "DoesNotFitError": "planner.errors",
    "Execution": "planner.execution.result",
    "Gap": "planner.packing.problem",
    "Graph": "planner.graph",
    "InvalidPlanError": "planner.errors",
    "LoweringError": "planner.errors",
    "MemorySpace": "planner.packing.problem",
    "Mismatch": "planner.execution.result",
    "Overlap": "planner.packing.problem",
    "PackResult": "planner.packing.result",
    "PackingProblem": "planner.packing.problem",
    "PipelineObjective": "planner.pipelining.problem",
    "PipelineProblem": "planner.pipelining.problem",
    "PipelineResult": "planner.pipelining.result",
    "PipelineSchedule": "planner.pipelining.schedule",
    "Plan": "planner.plans",
    "PlanResult": "planner.result",
    "PlannerError": "planner.errors",
    "Separation": "planner.packing.problem",
    "StageCosts": "planner.pipelining.problem",
    "SweepPoint": "planner.sweeps.result",
    "SweepResult": "planner.sweeps.result",
    "Target": "planner.target",
    "Timeline": "planner.simulator",
    "UsageError": "planner.errors",
    "Verdict": "planner.execution.result",
    "Violation": "planner.checker",
    "VocabularyTimes": "planner.pipelining.costs",
    "check": "planner.checker",
    "check_packing": "planner.packing.checker",
    "check_pipeline": "planner.pipelining.checking.checker",
    "execute": "planner.execution.api",
    "load": "planner.api",
    "pack": "planner.packing.api",
    "pipeline": "planner.pipelining.api",
    "plan": "planner.api",
    "read_plan": "planner.plan_file",
    "read_target": "planner.target_file",
    "simulate": "planner.simulator",
    "sweep": "planner.sweeps.api",
    "write_plan": "planner.plan_file",
}

__all__ = [
    "BadFileError",
    "Buffer",
    "CapacityRange",
    "Colocation",
    "DoesNotFitError",
    "Execution",
    "Gap",
    "Graph",
    "InvalidPlanError",
    "LoweringError",
    "MemorySpace",
    "Mismatch",
    "Overlap",
    "PackResult",
    "PackingProblem",
    "PipelineObjective",
    "PipelineProblem",
    "PipelineResult",
    "PipelineSchedule",
    "Plan",
    "PlanResult",
    "PlannerError",
    "Separation",
    "StageCosts",
    "SweepPoint",
    "SweepResult",
    "Target",
    "Timeline",
    "UsageError",
    "Verdict",
    "Violation",
    "VocabularyTimes",
    "__version__",
    "check",
    "check_packing",
    "check_pipeline",
    "execute",
    "load",
    "pack",
    "pipeline",
    "plan",
    "read_plan",
    "read_target",
    "simulate",
    "sweep",
    "write_plan",
]


def __getattr__(name: str) -> Any:
    if name == "torch":  # a package; it needs an extra, so it is not among the names above
        return import_module("planner.torch")
    if name not in _HOME:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
