from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import planner
from frontends import zoo
from planner.errors import (
    BadFileError,
    DoesNotFitError,
    InvalidPlanError,
    LoweringError,
    UsageError,
)
from planner.problem import Objective, Status
from planner.testing import assert_legal, random_graph

PUBLIC = {
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
}


def test_public_names_are_pinned() -> None:
    assert set(planner.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(planner, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'pak'"):
        planner.pak  # noqa: B018


def test_no_submodule_hides_a_public_function() -> None:
    """Importing a submodule sets an attribute of its package; it must not be a public name."""
    for path in Path(planner.__file__).parent.iterdir():
        name = path.stem
        assert name not in PUBLIC or name.startswith("__"), path
    importlib.import_module("planner.plans")
    assert callable(planner.plan) and callable(planner.check) and callable(planner.simulate)


def test_exit_codes_are_those_of_the_interface() -> None:
    codes = {
        error: error.exit_code
        for error in (
            UsageError,
            DoesNotFitError,
            InvalidPlanError,
            LoweringError,
            BadFileError,
        )
    }
    assert list(codes.values()) == [2, 3, 4, 5, 6]


def test_a_model_in_memory_a_graph_and_a_file_give_the_same_plan(tmp_path: Path) -> None:
    model = zoo.build("resnet8")
    path = tmp_path / "resnet8.onnx"
    path.write_bytes(model.SerializeToString())
    results = [planner.plan(source) for source in (model, planner.load(model), str(path), path)]
    assert len({result.plan.order for result in results}) == 1
    assert len({result.plan.placements for result in results}) == 1
    for result in results:
        assert result.status is Status.OPTIMAL
        assert result.lower_bound == 196_608
        assert_legal(result.graph, result.plan.target, result.plan)


def test_the_result_carries_a_timeline_where_the_target_has_rates() -> None:
    result = planner.plan(zoo.build("resnet8"), target="npu-1m")
    assert result.objective is Objective.TRAFFIC
    assert result.timeline is not None
    assert result.timeline.latency_s == result.plan.metrics.latency_s
    assert planner.plan(zoo.build("resnet8")).timeline is None


def test_capacities_can_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFitError):
        planner.plan(zoo.build("resnet8"), target="mcu-256k", memory={"sram": 64 * 1024})
    result = planner.plan(zoo.build("resnet8"), target="mcu-256k", memory={"sram": 196_608})
    planner.write_plan(result.plan, tmp_path / "plan.json")
    assert planner.read_plan(tmp_path / "plan.json") == result.plan


def test_progress_is_reported() -> None:
    lines: list[str] = []
    planner.plan(random_graph(1), on_progress=lines.append)
    assert lines and lines[0].startswith("greedy")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": 7}, "int"),
        ({"objective": "speed"}, "speed"),
        ({"time_limit": 0}, "positive"),
        ({"target": "npu"}, "npu-1m"),
        ({"memory": {"tcm": 1}}, "tcm"),
    ],
)
def test_wrong_arguments_are_usage_errors(arguments: dict[str, object], words: str) -> None:
    source = arguments.pop("source", None) or random_graph(0)
    with pytest.raises(UsageError, match=words):
        planner.plan(source, **arguments)  # type: ignore[arg-type]


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, planner; print(sorted({'numpy', 'onnx', 'ortools'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_solving_without_spills_never_loads_an_optimiser() -> None:
    script = (
        "import sys, planner; from planner.testing import random_graph\n"
        "planner.plan(random_graph(2))\n"
        "print(sorted({'ortools', 'pulp', 'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
