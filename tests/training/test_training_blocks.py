"""Training steps cut into chains of blocks, and the options of a block."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

from planner.testing.training_problems import (
    StepBuilder,
    chain_problem,
    random_problem,
    transformer_problem,
)
from solvers.protocol import Deadline
from solvers.training import chain_stages
from solvers.training.block_kinds import block_kinds
from solvers.training.block_options import block_options, unrepeatable
from solvers.training.blocks import cut_chain
from solvers.training.chain_stages import solve_blocks

if TYPE_CHECKING:
    import pytest


def test_every_operator_belongs_to_one_block() -> None:
    problems = [random_problem(random.Random(i), 25, 20) for i in range(20)]
    for problem in [transformer_problem(3), *problems]:
        blocks = cut_chain(problem).blocks
        members = [o for block in blocks for o in (*block.forward, *block.backward)]
        assert sorted(members) == list(range(len(problem.operator_names)))
        backward = [o for block in reversed(blocks) for o in block.backward]
        assert backward == sorted(backward), "the order of backward operators is the graph's"


def test_a_block_reads_itself_its_inputs_and_constants_alone() -> None:
    for i in range(20):
        problem = random_problem(random.Random(i), 25, 20)
        chain = cut_chain(problem)
        for block in chain.blocks:
            own = {s for o in block.forward for s in problem.write_rows[o]}
            known = own | set(block.inputs) | chain.constants
            forward = {s for o in problem.forward_operators for s in problem.write_rows[o]}
            read = {s for o in (*block.forward, *block.backward) for s in problem.read_rows[o]}
            assert read & forward <= known


def test_halves_of_transformer_layers_are_found() -> None:
    problem = transformer_problem(6)
    chain = cut_chain(problem)
    inputs = [problem.storage_names[s] for block in chain.blocks for s in block.inputs]
    for layer in range(6):
        assert f"layer{layer}.add1" in inputs
        assert f"layer{layer}.add2" in inputs


def test_identical_layers_are_one_kind() -> None:
    few = len(block_kinds(transformer_problem(4), cut_chain(transformer_problem(4))).first)
    problem = transformer_problem(9)
    kinds = block_kinds(problem, cut_chain(problem))
    assert len(kinds.first) == few
    assert len(kinds.kind) > 2 * few


def test_each_distinct_block_is_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[int] = []

    def counted(*arguments: object, **options: object) -> object:
        solved.append(1)
        return block_options(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(chain_stages, "block_options", counted)
    counts = []
    for layers in (5, 10):
        problem = transformer_problem(layers)
        solved.clear()
        solve_blocks(problem, cut_chain(problem), (1, 2), deadline=Deadline(60))
        counts.append(len(solved))
    assert counts[0] == counts[1]


def test_a_mask_that_all_layers_read_is_a_constant_and_does_not_hide_the_cuts() -> None:
    step = StepBuilder()
    (mask,) = step.operator("mask", [], [1])
    results, flow = [mask], step.tangent(8)
    for i in range(8):
        (wide,) = step.operator(f"wide{i}", [*results[-1:], mask], [32])
        results += step.operator(f"narrow{i}", [wide], [8])
    gradients: list[int] = []
    for i in reversed(range(8)):
        gradient, flow = step.operator(f"back{i}", [flow, results[i], mask], [1, 8], backward=True)
        gradients.append(gradient)
    problem = step.problem(results[-1:], gradients)
    chain = cut_chain(problem)
    assert mask in chain.constants
    assert len(chain.blocks) >= 8


def test_many_blocks_are_merged() -> None:
    problem = chain_problem([4] * 60, [1] * 60)
    assert len(cut_chain(problem).blocks) > 50
    assert 5 <= len(cut_chain(problem, most_blocks=10).blocks) <= 10


def test_what_cannot_be_recomputed_is_kept_in_every_case() -> None:
    step = StepBuilder()
    (x,) = step.operator("x", [], [8])
    noise, mask = step.operator("dropout", [x], [8, 2], recomputable=False)
    (y,) = step.operator("y", [noise], [16])
    (loss,) = step.operator("loss", [y], [1])
    gradient, _ = step.operator("back", [step.tangent(1), mask, y], [1, 8], backward=True)
    problem = step.problem([loss], [gradient])
    (whole,) = block_kinds(problem, cut_chain(problem, most_blocks=1)).steps
    fixed = unrepeatable(whole)
    assert {whole.problem.storage_names[s] for s in fixed} == {"dropout.0", "dropout.1"}


def test_options_of_a_block_are_exact_for_the_block_alone() -> None:
    problem = transformer_problem(2)
    step = block_kinds(problem, cut_chain(problem)).steps[3]
    options = block_options(step, unrepeatable(step), deadline=Deadline(60))
    forward = int(step.problem.duration_ps[~step.problem.is_backward].sum())
    whole = int(step.problem.duration_ps.sum())
    assert min(o.forward_ps + o.backward_ps for o in options) == whole
    assert any(not o.saved and o.backward_ps <= whole + forward for o in options)
    for option in options:
        outside = [s for s in option.saved if s not in step.outputs]
        assert option.kept_bytes == int(step.problem.size_bytes[np.array(outside, int)].sum())
        assert not any(
            o.kept_bytes <= option.kept_bytes
            and o.backward_bytes <= option.backward_bytes
            and o.forward_bytes <= option.forward_bytes
            and o.forward_ps + o.backward_ps < option.forward_ps + option.backward_ps
            and o.needs_input <= option.needs_input
            and o.keeps_output <= option.keeps_output
            and bool(o.saved) <= bool(option.saved)
            for o in options
        )
