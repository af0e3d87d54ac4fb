"""Joint graphs as Inductor runs them: what its kernels take in, and what it copies."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

torch = pytest.importorskip("torch")

import torch._inductor.lowering  # noqa: E402, F811  decompositions take it for granted
from torch._dynamo.backends.common import aot_autograd  # noqa: E402
from torch._inductor.decomposition import select_decomp_table  # noqa: E402

from frontends.torch import zoo  # noqa: E402
from frontends.torch.fusion import fused  # noqa: E402
from frontends.torch.layout_copies import with_layout_copies  # noqa: E402
from planner.torch.boxed import boxed  # noqa: E402
from planner.torch.emission import planned_halves  # noqa: E402
from planner.torch.joint_capture import CapturedStep  # noqa: E402
from planner.torch.planning import lowered  # noqa: E402
from planner.training.just_in_time import just_in_time  # noqa: E402

from .chosen_plans import gradients  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from frontends.torch.joint import JointProgram

pytestmark = pytest.mark.usefixtures("fresh_compiler")


class Decomposed(NamedTuple):
    """A compiled model, its joint graph as lowered, and as changed."""

    call: Callable
    before: list[JointProgram]
    after: list[JointProgram]


def decomposed(model, change, seed=0) -> Decomposed:
    """Compile with Inductor's decompositions; operators are run one by one, as chance schedules."""
    before, after = [], []

    def partition(module, inputs, *, num_fwd_outputs, static_lifetime_input_indices=(), **_):
        static = tuple(static_lifetime_input_indices or ())
        before.append(lowered(CapturedStep(module, num_fwd_outputs, static, ())))
        after.append(change(before[0]))
        problem, draw = after[0].problem, random.Random(seed)
        saved = [s for s in problem.boundary.tolist() if draw.random() < 0.3]
        again = [o for o in problem.forward_operators.tolist() if problem.recomputable[o]]
        schedule = just_in_time(problem, saved, [o for o in again if draw.random() < 0.5])
        return planned_halves(after[0], schedule)

    backend = aot_autograd(
        fw_compiler=boxed,
        bw_compiler=boxed,
        partition_fn=partition,
        decompositions=select_decomp_table(),
    )
    call = torch.compile(model, backend=backend, fullgraph=True, dynamic=False)
    return Decomposed(call, before, after)


@pytest.mark.parametrize("name", ["mlp", "llama", "resnet"])
@pytest.mark.parametrize("seed", range(2))
def test_halves_of_a_fused_program_compute_the_gradients_of_eager(name, seed):
    model, inputs = getattr(zoo, name)()
    expected = gradients(model, model, inputs)
    step = decomposed(model, fused, seed)
    found = gradients(model, step.call, inputs)
    assert len(step.after[0].nodes) < 0.8 * len(step.before[0].nodes)
    for gradient, reference in zip(found, expected, strict=True):
        assert (gradient - reference).abs().max() <= 1e-5 * reference.abs().max()


def test_results_of_one_elementwise_reader_take_no_bytes_and_others_do():
    def chain(x):
        once = torch.sin(x)
        twice = torch.cos(once)
        return (twice * torch.sigmoid(twice)) @ x

    x = torch.randn(16, 16, requires_grad=True)
    step = decomposed(chain, fused)
    step.call(x)
    before, after = step.before[0], step.after[0]
    taken = set(before.nodes) - set(after.nodes)
    assert taken
    assert all(len(node.users) == 1 for node in taken)
    assert taken <= {node for nodes in after.within.values() for node in nodes}
    assert {n.name for n in after.nodes} >= {"sin", "cos", "sigmoid"}, (
        "the backward half reads them"
    )
    sizes = zip(after.values, after.problem.size_bytes.tolist(), strict=True)
    assert not taken.intersection(node for node, _ in sizes)


def test_operands_of_what_is_taken_in_live_until_the_reader_runs():
    model, inputs = zoo.mlp(blocks=1)
    step = decomposed(model, fused)
    gradients(model, step.call, inputs)
    before, after = step.before[0], step.after[0]
    values = {node: s for s, node in enumerate(after.values)}
    for reader, nodes in after.within.items():
        row = after.problem.read_rows[after.nodes.index(reader)]
        for node in nodes:
            for operand in node.all_input_nodes:
                if operand in values:
                    assert values[operand] in row
    assert after.problem.duration_ps.sum() == before.problem.duration_ps.sum()


def test_parameters_of_convolutions_are_counted_a_second_time():
    model, inputs = zoo.resnet(stages=(1,))
    step = decomposed(model, with_layout_copies)
    gradients(model, step.call, inputs)
    weights = [p for p in model.parameters() if p.dim() == 4]
    added = step.after[0].problem.workspace_bytes - step.before[0].problem.workspace_bytes
    expected = sum(p.nbytes for p in weights) + inputs[0].nbytes
    assert added.min() == expected
    assert added.max() > expected, "pooling's gradient copies indices and source"


def test_programs_without_convolutions_have_no_layout_copies():
    model, inputs = zoo.mlp(blocks=1)
    step = decomposed(model, with_layout_copies)
    gradients(model, step.call, inputs)
    assert step.after[0] is step.before[0]
