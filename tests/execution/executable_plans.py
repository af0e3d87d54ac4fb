"""Plans of models that can be executed: by solvers, and by chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import planner
from frontends import zoo
from planner.ends import ends
from planner.execution.api import prepare
from planner.execution.executor import execute_plan
from planner.execution.result import Verdict
from planner.footprint import largest_footprint
from planner.problem import Objective, PlanningProblem
from planner.testing import assert_legal, naive_plan

from ..check.damage import TARGETS, Case  # noqa: TID252
from .random_models import OPSETS, random_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.execution.api import Prepared
    from planner.execution.result import Execution
    from planner.graph import Graph
    from planner.plans import Plan
    from planner.target import Target

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SECONDS = 5.0


class ExecutablePlan(NamedTuple):
    """A plan, and its model ready to run."""

    name: str
    case: Case
    prepared: Prepared

    def run(self, plan: Plan | None = None) -> Execution:
        """Execute the plan, or another one of the same model."""
        chosen = self.case.plan if plan is None else plan
        return execute_plan(self.prepared.model, self.prepared.reference, chosen)


def require_exact(name: str, outcome: Execution) -> None:
    assert outcome.mismatch is None, f"{name}: {outcome.mismatch.message}"
    assert outcome.verdict is Verdict.EXACT, f"{name}: {outcome.reason}"


def require_proof(name: str, outcome: Execution) -> None:
    """Every tensor right, and the arena as high as the plan says."""
    require_exact(name, outcome)
    assert dict(outcome.measured_bytes) == dict(outcome.arena_bytes), name


def roomy(target: Target) -> Target:
    """The target with more room than any plan by chance takes."""
    return target.with_capacities({memory.name: 1 << 32 for memory in target.memories})


def by_chance(seed: int) -> ExecutablePlan:
    """A random model with a random plan, on each kind of target in turn."""
    model, target = random_model(seed, 6 + seed % 9), roomy(TARGETS[seed % len(TARGETS)])
    graph = planner.load(
        model, zero_copy=seed % 3 == 0, alignment_bytes=target.nearest.alignment_bytes
    )
    plan = naive_plan(graph, target, seed, split=(0.0, 0.5)[seed % 2])
    assert_legal(graph, target, plan)
    return ExecutablePlan(f"chance {seed}", Case(graph, target, plan), prepare(model, plan))


def solved(name: str, model: Any, **options: Any) -> ExecutablePlan:
    """The plan that the solvers find."""
    result = planner.plan(model, time_limit=SECONDS, **options)
    case = Case(result.graph, result.plan.target, result.plan)
    return ExecutablePlan(name, case, prepare(model, result.plan))


def long_skips() -> onnx.ModelProto:
    """Three small results wait until the end while large ones come and go."""
    numbers = np.random.default_rng(3)
    nodes, weights = [], []

    def convolution(source: str, channels: int, out: int, result: str) -> None:
        values = numbers.standard_normal((out, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{result}_w"))
        nodes.append(
            helper.make_node("Conv", [source, f"{result}_w"], [result], result, pads=[1] * 4)
        )

    convolution("x", 2, 4, "h")
    for i in range(3):
        convolution("h", 4, 4, f"skip{i}")
    source, channels = "h", 4
    for i in range(4):
        convolution(source, channels, 16, f"wide{i}")
        nodes.append(helper.make_node("Tanh", [f"wide{i}"], [f"bent{i}"], f"bent{i}"))
        source, channels = f"bent{i}", 16
    convolution(source, channels, 4, "low")
    nodes.append(helper.make_node("Concat", ["low", "skip0", "skip1"], ["cat"], "cat", axis=1))
    nodes.append(helper.make_node("Add", ["skip2", "low"], ["sum"], "sum"))
    shapes = {"x": (1, 2, 8, 8), "cat": (1, 12, 8, 8), "sum": (1, 4, 8, 8)}
    x, *results = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    graph = helper.make_graph(nodes, "long-skips", [x], results, weights)
    return helper.make_model(graph, opset_imports=OPSETS[:1], ir_version=8)


def small_transformer() -> onnx.ModelProto:
    return zoo.build("transformer", sequence=4, layers=1, vocabulary=50)


def least_capacity(graph: Graph, target: Target, *, in_place: bool) -> int:
    """Bytes of the nearest memory, constants apart, without which no plan is possible."""
    alignment_bytes = target.nearest.alignment_bytes
    footprint = largest_footprint(graph, in_place=in_place, alignment_bytes=alignment_bytes)
    if target.io_memory != target.nearest.name:
        return footprint.size_bytes
    # The caller's values have to be there at both ends.
    problem = PlanningProblem(graph, target, Objective.TRAFFIC, in_place)
    return max(footprint.size_bytes, *(end.needed_bytes for end in ends(problem)))


def quick_plans() -> Iterator[ExecutablePlan]:
    """One of every kind that takes no time: solved plans, and plans by chance."""
    skips = long_skips()
    yield solved("skips", skips)
    yield solved("skips spilled", skips, target="npu-1m", memory={"sram": 9600})
    yield solved(
        "skips in parts",
        skips,
        target="npu-1m",
        memory={"sram": 9600},
        in_place=False,
        partial_spills=True,
    )
    yield solved("resnet8", zoo.build("resnet8", image=8), target="npu-1m", memory={"sram": 9216})
    yield from map(by_chance, range(10))


def many_plans() -> Iterator[ExecutablePlan]:
    """More of them, and what takes longer to plan."""
    yield from quick_plans()
    skips, layer = long_skips(), small_transformer()
    resnet = zoo.build("resnet8", image=8)
    yield solved("skips zero-copy", skips, zero_copy=True)
    yield solved("skips zero-copy spilled", skips, target="npu-1m", memory={"sram": 9600},
                 zero_copy=True)  # fmt: skip
    yield solved("skips latency", skips, target="npu-1m", memory={"sram": 9600},
                 objective="latency")  # fmt: skip
    yield solved("skips parameters", skips, target="npu-1m", memory={"sram": 20000},
                 parameters=True)  # fmt: skip
    yield solved("resnet8 parameters", resnet, target="npu-1m", memory={"sram": 170_000},
                 parameters=True)  # fmt: skip
    room = planner.load(layer).constant_bytes + 69632
    yield solved("transformer", layer)
    yield solved("transformer spilled", layer, target="npu-1m", memory={"sram": 65600},
                 in_place=False)  # fmt: skip
    yield solved("transformer in parts", layer, target="npu-1m", memory={"sram": 65600},
                 in_place=False, partial_spills=True)  # fmt: skip
    yield solved("transformer moved", layer, target="gpu-80g", memory={"hbm": room},
                 in_place=False, objective="latency")  # fmt: skip
    light = LIGHT / "light_squeezenet.onnx"
    yield solved("light_squeezenet", light)
    yield solved("light_squeezenet spilled", light, target="npu-1m", memory={"sram": 6_700_000})
    yield from map(by_chance, range(10, 70))
