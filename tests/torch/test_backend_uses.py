"""The backend where programs use it in other ways than one step after the other."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402

import planner  # noqa: E402
from planner.errors import DoesNotFitError, LoweringError, UsageError  # noqa: E402

from .chosen_plans import equal, gradients  # noqa: E402

pytestmark = pytest.mark.usefixtures("fresh_compiler")

AMPLE = 10**7


def network(dropout=0.0):
    torch.manual_seed(0)
    layers = (nn.Linear(16, 64), nn.GELU(), nn.Dropout(dropout), nn.Linear(64, 1))
    return nn.Sequential(*layers)


def planned(model, budget_bytes=AMPLE):
    backend = planner.torch.backend(budget_bytes=budget_bytes, time_limit=5.0)
    return torch.compile(model, backend=backend), backend


def rows(count=256):
    return torch.randn(count, 16)


def trained(model, call, x):
    model.zero_grad(set_to_none=True)
    call(x).pow(2).sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_other_batch_sizes_have_the_gradients_of_eager():
    model, batch = network(), rows()
    torch._dynamo.mark_dynamic(batch, 0)
    budget = planner.torch.plan(model, batch, budget_bytes=AMPLE).predicted_peak_bytes - 1
    call, backend = planned(model, budget)
    for x in (batch, rows(64), rows(300)):
        if x is not batch:
            torch._dynamo.mark_dynamic(x, 0)
        assert equal(trained(model, call, x), trained(model, model, x))
    assert len(backend.plans) == 1
    assert backend.plans[0].recompute_s > 0
    assert backend.plans[0].predicted_peak_bytes <= budget


def test_gradients_accumulate_and_graphs_may_be_retained():
    found = []
    for compile_it in (True, False):
        model = network()
        call = planned(model)[0] if compile_it else model
        torch.manual_seed(1)
        first, second = call(rows()).sum(), call(rows()).pow(2).sum()
        second.backward(retain_graph=True)
        first.backward()
        second.backward()
        found.append([p.grad for p in model.parameters()])
    assert equal(*found)


def test_second_derivatives_are_refused_in_words():
    x = rows().requires_grad_()
    (first,) = torch.autograd.grad(planned(network())[0](x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        first.sum().backward()


def test_evaluation_inference_and_training_take_turns():
    model, reference, x = network(0.2), network(0.2), rows()
    call, backend = planned(model)
    for training in (True, False, True):
        model.train(training)
        reference.train(training)
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with mode():
                torch.manual_seed(2)
                found = call(x)
                torch.manual_seed(2)
                assert torch.equal(found, reference(x))
    assert len(backend.plans) == 2


def test_one_backend_serves_several_models_in_several_threads():
    backend = planner.torch.backend(budget_bytes=AMPLE, time_limit=5.0)
    models = [nn.Linear(16, outputs) for outputs in (3, 4)]
    found = {}

    def work(model):
        x = torch.ones(8, 16)
        found[model.out_features] = gradients(model, torch.compile(model, backend=backend), [x])

    for model in models:
        model.register_forward_hook(lambda module, inputs, result: result.sum())
    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model in models:
        assert equal(found[model.out_features], gradients(model, model, [torch.ones(8, 16)]))
    assert len(backend.plans) == 2


@pytest.mark.parametrize("budget_bytes", [0, 1])
def test_hopeless_budgets_are_told_through_the_compiler(budget_bytes):
    with pytest.raises(DoesNotFitError, match="it is proven that") as error:
        planned(network(), budget_bytes)[0](rows())
    assert error.value.proven
    assert "L['" not in str(error.value)


def test_conditions_are_refused_for_nobody_knows_what_they_hold():
    linear = nn.Linear(16, 16)

    def step(x):
        return torch.cond(x.sum() > 0, lambda t: linear(t).sin(), lambda t: linear(t), (x,)).sum()

    with pytest.raises(LoweringError, match="a graph of its own"):
        planner.torch.plan(step, rows(), budget_bytes=AMPLE)
    with pytest.raises(LoweringError, match="a graph of its own"):
        planned(step)[0](rows())


def test_collectives_are_never_repeated():
    import torch.distributed as dist
    from torch.distributed import _functional_collectives as collectives
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        first, second, group = nn.Linear(16, 64), nn.Linear(64, 64), dist.group.WORLD

        def step(x):
            hidden = collectives.all_reduce(first(x).tanh(), "sum", group).exp()
            y = collectives.all_gather_tensor(second(hidden).tanh(), 0, group)
            return (y * y.sigmoid()).sum()

        whole = planner.torch.plan(step, rows(), budget_bytes=AMPLE)
        tight = planner.torch.plan(step, rows(), budget_bytes=whole.peak_bound_bytes)
    finally:
        dist.destroy_process_group()
    assert tight.recompute_s > 0
    names = tight.joint.problem.operator_names
    runs = [*tight.schedule.forward, *tight.schedule.backward]
    sent = [i for i, name in enumerate(names) if "all_" in name or "scatter" in name]
    assert len(sent) >= 4
    assert all(runs.count(operator) == 1 for operator in sent)


def test_backends_are_copied_and_pickled():
    backend = planned(network())[1]
    assert copy.deepcopy(backend) is backend
    again = pickle.loads(pickle.dumps(backend))
    model, x = network(), rows()
    call = torch.compile(model, backend=again)
    assert equal(trained(model, call, x), trained(model, model, x))


def test_operators_are_named_by_module_and_not_by_the_tracers_variables():
    model = nn.ModuleDict({"blocks": nn.ModuleList([network()])})

    def step(x):
        return model["blocks"][0](x).sum()

    plan = planner.torch.plan(network(), rows(), budget_bytes=AMPLE)
    assert {"0.addmm", "1.gelu", "1.gelu_backward"} <= set(plan.joint.problem.operator_names)
    names = planner.torch.plan(step, rows(), budget_bytes=AMPLE).joint.problem.operator_names
    assert not any(name.startswith(("L[", "G[")) for name in names)


@pytest.mark.parametrize(
    "option",
    [
        {"budget_bytes": True},
        {"budget_bytes": "1MB"},
        {"budget_bytes": float("nan")},
        {"time_limit": float("nan")},
        {"time_limit": "x"},
        {"host_bytes": None},
        {"host_bytes": 1.5},
        {"target": 3},
        {"target": "nope"},
        {"seed": "x"},
    ],
    ids=repr,
)
def test_options_of_the_wrong_kind_are_told_before_anything_is_traced(option):
    for make in (planner.torch.backend, planner.torch.partitioner):
        with pytest.raises(UsageError, match=next(iter(option))):
            make(**{"budget_bytes": 1, **option})


def test_numbers_of_numpy_are_numbers():
    first = planner.torch.partitioner(budget_bytes=np.int64(100), time_limit=np.float32(1))
    assert first.uuid() == planner.torch.partitioner(budget_bytes=100, time_limit=1.0).uuid()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, x: planner.torch.estimate(m, (x, x)), "too many positional"),
        (lambda m, x: planner.torch.estimate(m, {"y": x}), "missing a required argument"),
        (lambda m, x: planner.torch.estimate(m, {1: x}), "must be strings"),
        (lambda m, x: planner.torch.estimate(m, x, loss=3), "loss is 3"),
        (lambda m, x: planner.torch.plan(m, x, budget_bytes=1, torch_budgets=2.0), "torch_budgets"),
        (lambda m, x: planner.torch.plan(m, x, budget_bytes=1, on_progress=3), "on_progress"),
        (lambda m, x: planner.torch.measure(None), "cannot call"),
        (lambda m, x: planner.torch.measure(m, device="nope"), "no device"),
        (lambda m, x: planner.torch.measure(m, device="meta"), "not on meta"),
    ],
)
def test_arguments_that_make_no_sense_are_told(call, words):
    with pytest.raises(UsageError, match=words):
        call(network(), rows())


@pytest.mark.slow
def test_ctrl_c_ends_the_planning_and_not_the_training():
    code = """
import _thread, threading, torch
from torch import nn
import planner.torch
from planner.torch import planning
layers = [nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(8)]
model, x = nn.Sequential(*layers), torch.randn(256, 64)
budget = int(0.4 * planner.torch.estimate(model, x).peak_bytes)
race = planning.plan_training
def interrupted(*args, **options):
    import os, signal
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    return race(*args, **options)
planning.plan_training = interrupted
backend = planner.torch.backend(budget_bytes=budget, time_limit=300.0)
torch.compile(model, backend=backend)(x).sum().backward()
print(backend.plans[0].result.interrupted)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr[-500:]
