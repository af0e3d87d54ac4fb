"""A reference that is computed in segments says the same, and does not hold the whole model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import planner
from planner.execution.api import prepare
from planner.execution.executor import execute_plan
from planner.execution.reference import Reference

from ..onnx.storage_models import model  # noqa: TID252
from .executable_plans import by_chance, long_skips, require_proof

if TYPE_CHECKING:
    from planner.execution.result import Execution


def figures(outcome: Execution) -> tuple[object, ...]:
    """What does not depend on the clock."""
    return (
        outcome.verdict,
        outcome.steps,
        outcome.compared,
        outcome.skipped,
        outcome.copies,
        outcome.measured_bytes,
    )


@pytest.mark.parametrize("segment_bytes", [1, 700, 1 << 20])
def test_a_reference_in_segments_says_the_same(segment_bytes):
    for seed in range(300, 315):
        whole = by_chance(seed)
        plan, runnable = whole.case.plan, whole.prepared.model
        reference = Reference(runnable, whole_bytes=0, segment_bytes=segment_bytes)
        for _ in range(2):  # also when used again
            outcome = execute_plan(runnable, reference, plan)
            assert figures(outcome) == figures(whole.run()), f"seed {seed}"
            disagreement = whole.prepared.whole.disagreement(reference)
            assert disagreement is None, disagreement.message


def test_a_reference_in_segments_notices_a_step_before_its_operands():
    made = model("(float[4] x) => (y) { a = Relu(x) b = Neg(a) c = Exp(b) y = Add(c, a) }")
    for node in made.graph.node:
        node.name = f"make {node.output[0]}"
    plan = replace(planner.plan(made).plan, order=(0, 2, 1, 3))
    prepared = prepare(made, plan)
    reference = Reference(prepared.model, whole_bytes=0, segment_bytes=1)
    outcome = execute_plan(prepared.model, reference, plan)
    assert outcome.mismatch is not None
    assert outcome.mismatch.message == (
        "step 1 (Exp make c) reads b, which no step before it writes"
    )


def test_a_reference_in_segments_forgets_what_nobody_reads_any_more():
    made = long_skips()
    plan = planner.plan(made, time_limit=1.0).plan
    prepared = prepare(made, plan)
    reference = Reference(prepared.model, whole_bytes=0, segment_bytes=1)
    held: list[int] = []
    after = reference.after

    def watched(step: int) -> None:
        after(step)
        held.append(sum(len(reference.content(t)) for t in list(reference._values)))

    reference.after = watched  # type: ignore[method-assign]
    require_proof("segments", execute_plan(prepared.model, reference, plan))
    total = sum(tensor.size_bytes for tensor in prepared.model.graph.tensors)
    assert max(held) < total / 2
    assert max(held) <= plan.metrics.peak_bytes["ram"]


_LARGE = """
import re, sys
import numpy as np
from onnx import helper, numpy_helper
import planner

names, nodes, weights = ["x"], [], []
for i in range(24):
    name = f"t{i}"
    if i % 2:
        nodes.append(helper.make_node("Relu", names[-1:], [name], name))
    else:
        values = np.random.default_rng(i).standard_normal((2, 2, 1, 1)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        nodes.append(helper.make_node("Conv", [names[-1], f"w{i}"], [name], name))
    names.append(name)
shape = [1, 2, 2048, 2048]
ends = [helper.make_tensor_value_info(name, 1, shape) for name in (names[0], names[-1])]
graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
plan = planner.plan(model, in_place=False, solvers=["greedy"]).plan
outcome = planner.execute(model, plan)
assert outcome.verdict.value == "exact", outcome
assert dict(outcome.measured_bytes) == dict(outcome.arena_bytes)
print(sum(s.size_bytes for s in plan.storages), plan.metrics.arena_bytes["ram"])
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak from Linux")
def test_a_model_with_700_mb_of_activations_is_executed_in_much_less():
    done = subprocess.run(
        [sys.executable, "-c", _LARGE],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(planner.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    total, arena, peak_kib = map(int, done.stdout.split())
    print(f"activations {total:,} B, arena {arena:,} B, peak of the process {peak_kib * 1024:,} B")
    assert total > 700_000_000
    assert peak_kib * 1024 < total / 2
