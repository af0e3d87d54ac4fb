"""Whatever the checker passes executes exactly: random models, plans, targets and ways to plan."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import planner
from planner.checker import check
from planner.errors import DoesNotFitError
from planner.execution.api import prepare
from planner.execution.executor import execute_plan
from planner.graph import StorageKind
from planner.plans import TransferKind
from planner.target_file import read_target, target_names
from planner.testing import assert_legal, naive_plan

from ..check.damage import TARGETS  # noqa: TID252
from ..check.test_check_real_bytes import shaken  # noqa: TID252
from .executable_plans import by_chance, least_capacity, require_exact, require_proof, roomy
from .random_models import random_model

if TYPE_CHECKING:
    from planner.target import Target

FAST = ("greedy", "belady")


def with_alignment(target: Target, alignment_bytes: int) -> Target:
    memories = tuple(replace(m, alignment_bytes=alignment_bytes) for m in target.memories)
    return replace(target, memories=memories)


def test_random_models_hold_what_plans_and_executors_have_to_cope_with():
    types: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in range(150):
        model = random_model(seed, 10)
        graph = planner.load(model)
        types.update(operator.type for operator in graph.operators)
        seen.update(tensor.dtype for tensor in graph.tensors)
        inputs = {value.name for value in model.graph.input}
        outputs = [value.name for value in model.graph.output]
        read = {name for node in model.graph.node for name in node.input}
        written = {name for node in model.graph.node for name in node.output}
        seen["input as output"] += bool(inputs & set(outputs))
        seen["output read as well"] += bool(read & set(outputs) & written)
        seen["unread"] += bool(written - read - set(outputs))
        seen["several outputs"] += len(outputs) > 1
        seen["empty"] += any(tensor.size_bytes == 0 for tensor in graph.tensors)
        seen["workspace"] += any(s.kind is StorageKind.WORKSPACE for s in graph.storages)
        seen["condition decided"] += any(op.name.endswith(".one") for op in graph.operators)
        seen["function"] += any("inner.mul" in op.name for op in graph.operators)
    assert types.keys() >= {
        *("Add", "AveragePool", "Cast", "Concat", "Conv", "Gather", "Greater", "If", "Identity"),
        *("LayerNormalization", "Loop", "MatMul", "Max", "MaxPool", "Mul", "Not", "ReduceMean"),
        *("Relu", "Reshape", "Slice", "Softmax", "Split", "Transpose", "Where"),
    }
    for what in (
        *("float32", "float16", "float64", "int64", "int32", "uint8", "bool", "input as output"),
        *("output read as well", "unread", "several outputs", "empty", "workspace"),
        *("condition decided", "function"),
    ):
        assert seen[what] >= 3, what


def prove_by_chance(seeds: range) -> None:
    kinds: Counter[str] = Counter()
    for seed in seeds:
        executable = by_chance(seed)
        outcome = executable.run()
        require_exact(executable.name, outcome)
        disagreement = executable.prepared.whole.disagreement(executable.prepared.reference)
        assert disagreement is None, f"{executable.name}: {disagreement.message}"
        plan = executable.case.plan
        assert outcome.steps == len(plan.order)
        assert outcome.copies == len(plan.transfers)
        assert outcome.overwritten == len(plan.in_place)
        assert outcome.copied_bytes == (
            plan.metrics.compulsory_bytes
            + plan.metrics.relocated_bytes
            + sum(_traffic(executable.case.graph, t) for t in plan.transfers)
        )
        kinds.update(transfer.kind for transfer in plan.transfers)
        kinds["part"] += any(transfer.part for transfer in plan.transfers)
        kinds["under way"] += any(transfer.start < transfer.end for transfer in plan.transfers)
    for kind in (*TransferKind, "part", "under way"):
        assert kinds[kind] >= len(seeds) // 20, kind


def _traffic(graph: planner.Graph, transfer: Any) -> int:
    if transfer.kind not in (TransferKind.SPILL, TransferKind.RELOAD):
        return 0
    part = transfer.part
    return graph.storages[transfer.storage].size_bytes if part is None else part.size_bytes


def test_plans_by_chance_are_exact():
    prove_by_chance(range(100, 160))


@pytest.mark.slow
def test_many_plans_by_chance_are_exact():
    prove_by_chance(range(1_000, 1_600))


@pytest.mark.parametrize("alignment_bytes", [1, 2, 48])
def test_odd_addresses_are_exact(alignment_bytes):
    odd = 0
    for seed in range(25):
        target = with_alignment(roomy(TARGETS[seed % len(TARGETS)]), alignment_bytes)
        model = random_model(seed, 10)
        graph = planner.load(model, alignment_bytes=alignment_bytes, zero_copy=seed % 2 == 0)
        plan = naive_plan(graph, target, seed, split=0.3)
        assert_legal(graph, target, plan)
        odd += any(placement.offset % 4 for placement in plan.placements)
        prepared = prepare(model, plan)
        require_exact(f"seed {seed}", execute_plan(prepared.model, prepared.reference, plan))
    assert odd >= 10 or alignment_bytes == 48


def prove_shaken(seeds: range) -> int:
    """Move fields of plans a little: what stays legal is exact. Returns how many there were."""
    legal = 0
    for seed in seeds:
        executable = by_chance(seed)
        graph, target, plan = executable.case
        rng = random.Random(seed)
        for _ in range(25 if plan.placements else 0):
            other = shaken(graph, target, plan, rng)
            if other == plan or check(graph, target, other):
                continue
            legal += 1
            require_exact(f"{executable.name}, shaken", executable.run(other))
    return legal


def test_shaken_plans_that_stay_legal_are_exact():
    assert prove_shaken(range(200, 240)) >= 30


@pytest.mark.slow
def test_many_shaken_plans_that_stay_legal_are_exact():
    assert prove_shaken(range(2_000, 2_400)) >= 300


def solve_and_prove(seed: int, target: Target, solvers: tuple[str, ...] | None) -> str:
    """Plan a random model in a random way on a target, tight where it can spill."""
    rng = random.Random(seed)
    model = random_model(seed, rng.choice((12, 20, 30)))
    options: dict[str, Any] = {
        "in_place": rng.random() < 0.7,
        "zero_copy": rng.random() < 0.5,
        "objective": rng.choice(("peak", "traffic", *(["latency"] if target.compute else []))),
    }
    if target.spill_memory is not None:
        options["partial_spills"] = rng.random() < 0.4
        options["parameters"] = target.io_memory != target.nearest.name and rng.random() < 0.3
        options["memory"] = {target.nearest.name: _tight(model, target, rng, **options)}
    try:
        result = planner.plan(
            model, target=target, solvers=solvers, time_limit=2.0, seed=seed, **options
        )
    except DoesNotFitError:
        return "does not fit"
    require_proof(f"seed {seed} on {target.name}, {options}", planner.execute(model, result.plan))
    return "spilled" if result.plan.metrics.traffic_bytes else "unspilled"


def _tight(
    model: Any, target: Target, rng: random.Random, *, in_place: bool, parameters: bool, **_: Any
) -> int:
    """A little more than no plan can do without."""
    graph = planner.load(
        model, parameters=parameters, alignment_bytes=target.nearest.alignment_bytes
    )
    held = graph.constant_bytes if target.constant_memory == target.nearest.name else 0
    least = least_capacity(graph, target, in_place=in_place)
    return held + int(least * rng.choice((1.0, 1.0, 1.1, 1.3))) + target.nearest.alignment_bytes


def all_targets() -> list[Target]:
    shipped = [read_target(name) for name, _ in target_names()]
    own = [roomy(target) for target in TARGETS]
    return [*shipped, *own, with_alignment(own[0], 1), with_alignment(own[4], 1)]


def test_solved_plans_are_exact_on_all_targets():
    found = Counter(
        solve_and_prove(seed, target, FAST)
        for number, target in enumerate(all_targets())
        for seed in (number, 100 + number, 200 + number)
    )
    assert found["spilled"] >= 5
    assert found["does not fit"] <= 12


@pytest.mark.slow
@pytest.mark.parametrize("target", all_targets(), ids=lambda target: target.name)
def test_many_solved_plans_are_exact(target):
    found = Counter(solve_and_prove(seed, target, None) for seed in range(300, 330))
    print(target.name, dict(found))
    assert found["spilled"] + found["unspilled"] >= 10
