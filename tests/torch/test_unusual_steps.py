"""Steps of unusual models: planned, they train as eager PyTorch does, and measure as predicted."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from torch.utils import _pytree as pytree  # noqa: E402

from planner.torch.live_bytes import measure  # noqa: E402
from planner.training.just_in_time import just_in_time  # noqa: E402
from planner.training.memory import memory_profile  # noqa: E402
from solvers.protocol import Deadline  # noqa: E402
from solvers.training.bounds import peak_bound  # noqa: E402
from solvers.training.greedy_drop import greedy_drop  # noqa: E402

from .chosen_plans import compiled, equal  # noqa: E402
from .unusual_models import MODELS  # noqa: E402

pytestmark = pytest.mark.usefixtures("fresh_compiler")

STEPS = 3
# The default suite is to be fast.
QUICK = (
    "one batch norm twice",
    "unused parameter",
    "results that are inputs views and twice the same",
    "writes in place",
    "moving average",
    "complex numbers",
    "mixed element types",
    "checkpoints inside",
    "chance of all kinds",
)


def halfway(problem):
    """What is dropped for a peak halfway between the least and that of keeping all."""
    kept = just_in_time(problem, problem.boundary.tolist())
    whole = memory_profile(problem, kept).peak_bytes
    budget = (whole + peak_bound(problem)) // 2
    return just_in_time(problem, *greedy_drop(problem, budget, deadline=Deadline(60.0)))


def made(name):
    torch.manual_seed(0)
    return MODELS[name]()


def tensors(result):
    leaves = pytree.tree_leaves(vars(result) if dataclasses.is_dataclass(result) else result)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def differentiable(result):
    return [tensor for tensor in tensors(result) if tensor.requires_grad]


def learning(model, inputs):
    leaves = [*model.parameters(), *tensors(inputs)]
    return [leaf for leaf in leaves if leaf.requires_grad]


def trained(model, call, inputs):
    """Results, gradients, draws and state of some steps of an optimizer."""
    leaves, record = learning(model, inputs), []
    optimizer = torch.optim.SGD(leaves, lr=0.01, momentum=0.9)
    for step in range(STEPS):
        torch.manual_seed(step)
        optimizer.zero_grad(set_to_none=True)
        result = call(*inputs)
        record += [tensor.detach().clone() for tensor in tensors(result)]
        sum(
            tensor.abs().sum() * (i + 1) for i, tensor in enumerate(differentiable(result))
        ).backward()
        record += [torch.get_rng_state(), *(leaf.grad for leaf in leaves)]
        optimizer.step()
        record += [buffer.clone() for buffer in model.buffers()]
    return [None if value is None else value.clone() for value in record]


def peak(model, call, inputs):
    """Of a step whose gradients of results take no bytes of their own."""

    def step():
        result = call(*inputs)
        with_history = [t for t in differentiable(result) if t.grad_fn is not None]
        if len(with_history) == 1 and with_history[0].dim() == 0:
            with_history[0].backward()
        else:
            ones = [torch.ones((), dtype=t.dtype).expand_as(t) for t in with_history]
            torch.autograd.backward(with_history, ones)
        del result

    step()
    for leaf in learning(model, inputs):
        leaf.grad = None
    return measure(step)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS],
)
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_planned_steps_train_as_eager_ones_and_measure_as_predicted(name):
    model, inputs = made(name)
    expected = trained(model, model, inputs)
    model, inputs = made(name)
    step = compiled(model, halfway)
    assert equal(trained(model, step.call, inputs), expected)
    found = peak(model, step.call, inputs)
    assert len(step.predicted) == 1
    # One byte count per gradient of a result, which the measured step makes itself.
    assert abs(found - step.predicted[0]) <= 0.01 * step.predicted[0] + 64
