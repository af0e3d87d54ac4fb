"""The public functions of `planner.torch`: from a model and a budget to a step that keeps it."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import planner  # noqa: E402
from frontends.torch import zoo  # noqa: E402
from planner.errors import DoesNotFitError, LoweringError, UsageError  # noqa: E402

from .chosen_plans import equal, gradients, measured  # noqa: E402

pytestmark = pytest.mark.usefixtures("fresh_compiler")


@pytest.fixture
def small():
    return zoo.mlp(blocks=2, batch=512)


def test_estimate_tells_what_eager_measures(small):
    model, inputs = small
    gradients(model, model, inputs)
    estimate = planner.torch.estimate(model, inputs)
    peak = measured(model, model, inputs)
    assert abs(estimate.peak_bytes - peak) <= 0.01 * peak
    assert estimate.gradient_bytes == sum(p.nbytes for p in model.parameters())
    tensors = (*model.parameters(), *model.buffers(), *inputs)
    assert estimate.static_bytes == sum(t.nbytes for t in tensors)
    assert sum(c.size_bytes for c in estimate.culprits) == estimate.peak_bytes
    assert f"{estimate.peak_bytes:,}" in str(estimate)
    assert (estimate.peak_half, estimate.peak_module) == ("backward", "body.1.body.2")


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_estimate_counts_the_masks_of_eager_dropout(name):
    model, inputs = getattr(zoo, name)(dropout=0.1)
    estimate = planner.torch.estimate(model, inputs)
    peak = planner.torch.measure(lambda: model(*inputs).backward())
    assert abs(estimate.peak_bytes - peak) <= 0.005 * peak
    assert estimate.peak_bytes == sum(c.size_bytes for c in estimate.culprits)


@pytest.mark.parametrize("kind", ["meta", "fake"])
def test_estimate_needs_no_data(small, kind):
    model, inputs = small
    expected = planner.torch.estimate(model, inputs)
    if kind == "meta":
        model = copy.deepcopy(model).to("meta")
        inputs = tuple(t.to("meta") for t in inputs)
    else:
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode():
            model, inputs = zoo.mlp(blocks=2, batch=512)
    found = planner.torch.estimate(model, inputs)
    assert (found.peak_bytes, found.static_bytes) == (expected.peak_bytes, expected.static_bytes)


def test_capture_runs_nothing_and_changes_nothing():
    model, inputs = zoo.resnet()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    draws, training = torch.get_rng_state(), [m.training for m in model.modules()]
    planner.torch.estimate(model, inputs)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)
    assert [m.training for m in model.modules()] == training
    assert all(p.grad is None for p in model.parameters())


def test_plan_keeps_the_budget_and_tells_what_becomes_of_tensors(small):
    model, inputs = small
    whole = planner.torch.estimate(model, inputs).peak_bytes
    budget = int(0.8 * whole)
    step = planner.torch.plan(model, inputs, budget_bytes=budget, time_limit=3.0)
    assert step.peak_bound_bytes <= step.predicted_peak_bytes <= budget
    assert step.extra_bound_s <= step.recompute_s
    actions = {decision.action for decision in step.decisions}
    assert actions == {"keep", "recompute"}
    assert all(d.executions for d in step.decisions if d.action == "recompute")
    assert any(decision.module for decision in step.decisions)
    assert f"{budget:,}" in str(step)


def test_backend_measures_within_the_budget_and_trains_as_eager(small):
    model, inputs = small
    expected = gradients(model, model, inputs)
    budget = int(0.8 * planner.torch.estimate(model, inputs).peak_bytes)
    backend = planner.torch.backend(budget_bytes=budget, time_limit=3.0)
    call = torch.compile(model, backend=backend)
    for _ in range(2):
        assert equal(gradients(model, call, inputs), expected)
    assert measured(model, call, inputs) <= budget
    assert len(backend.plans) == 1
    with torch.no_grad():
        assert torch.equal(call(*inputs), model(*inputs))


def test_a_budget_that_is_missed_says_the_same_everywhere(small):
    model, inputs = small
    with pytest.raises(DoesNotFitError) as planned:
        planner.torch.plan(model, inputs, budget_bytes=1000, time_limit=3.0)
    assert planned.value.proven
    assert "1,000 bytes" in str(planned.value) and "At its peak" in str(planned.value)
    backend = planner.torch.backend(budget_bytes=1000, time_limit=3.0)
    with pytest.raises(DoesNotFitError) as compiled:
        torch.compile(model, backend=backend)(*inputs)
    assert compiled.value.proven
    assert str(compiled.value).split("At its peak")[0].split(" (")[0] in str(planned.value)


@pytest.mark.filterwarnings("default")  # the tracer looks at gradients of results
def test_each_part_of_a_broken_graph_is_planned():
    first, second = nn.Linear(16, 16), nn.Linear(16, 16)

    def step(x):
        hidden = first(x).tanh()
        torch._dynamo.graph_break()
        return second(hidden).tanh().sum()

    backend = planner.torch.backend(budget_bytes=10**6, time_limit=1.0)
    call, x = torch.compile(step, backend=backend), torch.randn(8, 16)
    call(x).backward()
    found = first.weight.grad.clone()
    first.weight.grad = None
    step(x).backward()
    assert torch.equal(found, first.weight.grad)
    assert len(backend.plans) == 2
    with pytest.raises(LoweringError, match="not one graph"):
        planner.torch.estimate(step, x)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: planner.torch.estimate(lambda x: x * 2, torch.ones(3)), UsageError, "nothing"),
        (lambda: planner.torch.estimate(3, torch.ones(3)), UsageError, "cannot call"),
        (lambda: planner.torch.backend(budget_bytes=-1), UsageError, "budget_bytes"),
        (lambda: planner.torch.partitioner(budget_bytes=1.5), UsageError, "whole number"),
        (
            lambda: planner.torch.estimate(
                lambda x: x * 2 if x.sum() > 0 else x, torch.ones(3, requires_grad=True)
            ),
            LoweringError,
            "depend on the values",
        ),
    ],
    ids=["no gradient", "no model", "negative", "fraction", "data-dependent"],
)
def test_misuse_is_told_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_partitioner_is_identified_by_code_and_options():
    first = planner.torch.partitioner(budget_bytes=100)
    assert first.uuid() == planner.torch.partitioner(budget_bytes=100).uuid()
    assert first.uuid() != planner.torch.partitioner(budget_bytes=101).uuid()
    assert copy.deepcopy(first) is first


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_inductor_computes_the_same_gradients_within_the_budget():
    model, inputs = zoo.mlp(blocks=2, batch=512)
    expected = gradients(model, model, inputs)
    budget = int(0.85 * planner.torch.estimate(model, inputs).peak_bytes)
    partitioner = planner.torch.partitioner(budget_bytes=budget, time_limit=3.0)
    with torch._inductor.config.patch(custom_partitioner_fn=partitioner):
        call = torch.compile(model)
        found = gradients(model, call, inputs)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()
    assert len(partitioner.plans) == 1
    assert measured(model, call, inputs) <= budget


def test_torch_saved_sets_are_those_of_its_partitioner():
    from torch._functorch import config, partitioners

    from planner.torch import saved_sets
    from planner.torch.joint_capture import capture
    from planner.torch.planning import lowered

    joint = lowered(capture(*zoo.llama(layers=1)))
    found = saved_sets.torch_saved_sets(joint, (1.0, 0.5, 0.2, 0.0))
    storages = saved_sets._storages(joint)
    for budget, saved in found.items():
        with config.patch(activation_memory_budget=budget):
            _, backward = partitioners.min_cut_rematerialization_partition(
                saved_sets._copied(joint.module),
                None,
                num_fwd_outputs=joint.num_fwd_outputs,
                static_lifetime_input_indices=list(joint.static_lifetime_input_indices),
            )
        names = [node.name for node in backward.graph.find_nodes(op="placeholder")]
        assert {storages[name] for name in names if name in storages} == saved


def test_importing_planner_imports_no_torch():
    code = "import sys, planner, planner.torch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
