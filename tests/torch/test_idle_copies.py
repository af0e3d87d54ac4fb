"""Copies that change nothing cost nothing: dropout of probability 0 is traced as one."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import planner.torch  # noqa: E402


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))
        self.drop = nn.Dropout(0.0)

    def forward(self, x):
        for layer in self.layers:
            x = self.drop(nn.functional.gelu(self.drop(layer(x)).view(-1, 4, 64))).view(-1, 64)
        return nn.functional.cross_entropy(x, torch.zeros(len(x), dtype=torch.int64))


@pytest.fixture(scope="module")
def step():
    torch.manual_seed(0)
    return Idle(), torch.randn(256, 64)


def gradients(model, call, x):
    model.zero_grad(set_to_none=True)
    call(x).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def measured(model, call, x):
    model.zero_grad(set_to_none=True)
    return planner.torch.measure(lambda: call(x).backward())


def test_the_estimate_is_what_eager_pytorch_needs_which_copies_nothing(step):
    model, x = step
    peak = measured(model, model, x)
    assert abs(planner.torch.estimate(model, x).peak_bytes - peak) <= 0.01 * peak


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_planned_without_the_copies_gradients_and_peak_are_right(step, share):
    model, x = step
    budget = int(share * planner.torch.estimate(model, x).peak_bytes)
    backend = planner.torch.backend(budget_bytes=budget)
    call = torch.compile(model, backend=backend, fullgraph=True)
    expected = gradients(model, model, x)
    assert all(map(torch.equal, gradients(model, call, x), expected))
    peak = measured(model, call, x)
    assert peak <= budget
    assert peak == backend.plans[0].predicted_peak_bytes


def test_a_copy_that_the_caller_gets_stays_a_copy():
    weight = torch.randn(8, 8, requires_grad=True)

    def twice(x):
        result = x @ weight
        return result, result.clone()

    call = torch.compile(twice, backend=planner.torch.backend(budget_bytes=10**6))
    one, other = call(torch.randn(4, 8))
    assert one.data_ptr() != other.data_ptr()
    assert torch.equal(one, other)
