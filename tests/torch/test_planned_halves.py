"""Emitted halves do what their schedule says: the same bytes, the same gradients."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from frontends.torch import zoo  # noqa: E402
from planner.torch.live_bytes import measure  # noqa: E402
from planner.training.just_in_time import just_in_time  # noqa: E402

from .chosen_plans import (  # noqa: E402
    compiled,
    equal,
    everything_kept,
    everything_offloaded,
    gradients,
    measured,
)

pytestmark = pytest.mark.usefixtures("fresh_compiler")

TOLERANCE = {"mlp": 0.01, "gpt2": 0.01, "llama": 0.01, "bert": 0.01, "resnet": 0.05}


def by_chance(seed, kept, repeated):
    def choose(problem):
        draw = random.Random(seed)
        saved = [s for s in problem.boundary.tolist() if draw.random() < kept]
        again = [o for o in problem.forward_operators.tolist() if problem.recomputable[o]]
        return just_in_time(problem, saved, [o for o in again if draw.random() < repeated])

    return choose


@pytest.mark.parametrize("name", TOLERANCE)
def test_measured_peak_is_the_predicted_one_and_gradients_are_those_of_eager(name):
    model, inputs = getattr(zoo, name)()
    expected = gradients(model, model, inputs)
    step = compiled(model, by_chance(1, 0.3, 0.5))
    assert equal(gradients(model, step.call, inputs), expected)
    peak = measured(model, step.call, inputs)
    assert abs(peak - step.predicted[0]) <= TOLERANCE[name] * peak


@pytest.mark.slow
@pytest.mark.parametrize("name", TOLERANCE)
@pytest.mark.parametrize("seed", range(5))
def test_schedules_by_chance_measure_as_predicted(name, seed):
    model, inputs = getattr(zoo, name)()
    expected = gradients(model, model, inputs)
    step = compiled(model, by_chance(seed, seed / 4, 0.6))
    assert equal(gradients(model, step.call, inputs), expected)
    peak = measured(model, step.call, inputs)
    assert abs(peak - step.predicted[0]) <= TOLERANCE[name] * peak


def test_offloaded_storages_are_not_counted_and_come_back_unchanged():
    model, inputs = zoo.gpt2()
    expected = gradients(model, model, inputs)
    kept = compiled(model, everything_kept)
    gradients(model, kept.call, inputs)
    torch._dynamo.reset()
    step = compiled(model, everything_offloaded)
    assert equal(gradients(model, step.call, inputs), expected)
    peak = measured(model, step.call, inputs)
    assert abs(peak - step.predicted[0]) <= 0.01 * peak
    assert peak < 0.7 * kept.predicted[0]


def test_a_saved_view_is_saved_as_its_base():
    # A view that outlives its dropped base keeps all of the base's bytes (DeepSpeed #8387).
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Linear(32, 512)

        def forward(self, x):
            part = self.wide(x).tanh()[:, :32]
            for _ in range(4):
                part = part * part.sigmoid()
            return part.sum()

    model, inputs = Parts(), (torch.randn(64, 32),)
    expected = gradients(model, model, inputs)
    for choose in (everything_kept, by_chance(0, 0.0, 0.0), by_chance(0, 0.5, 1.0)):
        torch._dynamo.reset()
        step = compiled(model, choose)
        assert equal(gradients(model, step.call, inputs), expected)
        peak = measured(model, step.call, inputs)
        assert abs(peak - step.predicted[0]) <= 0.01 * peak


def test_dropout_draws_once_whatever_is_recomputed():
    model, inputs = zoo.gpt2(dropout=0.2)
    draws = []
    for choose in (everything_kept, by_chance(0, 0.0, 0.0), by_chance(2, 0.3, 0.7)):
        torch._dynamo.reset()
        step = compiled(model, choose)
        gradients(model, step.call, inputs)
        torch.manual_seed(3)
        found = [g.clone() for g in gradients(model, step.call, inputs)]
        draws.append((found, torch.get_rng_state()))
    for found, state in draws[1:]:
        assert equal(found, draws[0][0])
        assert torch.equal(state, draws[0][1])


def test_batch_norm_trains_two_steps_as_eager_does():
    results = []
    for choose in (None, everything_kept, by_chance(0, 0.0, 0.0)):
        torch._dynamo.reset()
        model, inputs = zoo.resnet()
        call = model if choose is None else compiled(model, choose).call
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            call(*inputs).backward()
            optimizer.step()
        results.append([value.clone() for value in model.state_dict().values()])
    for found in results[1:]:
        assert equal(found, results[0])


def test_tangents_die_at_their_last_read():
    model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256))
    inputs, weight = torch.randn(512, 64), torch.randn(512, 256)
    step = compiled(model, everything_kept)

    def run():
        (step.call(inputs) * weight).sum().backward()

    run()
    model.zero_grad(set_to_none=True)
    # Here the result dies before the backward half; a plan counts it to the end.
    result = 512 * 256 * 4
    assert abs(measure(run) + result - step.predicted[0]) <= 0.01 * step.predicted[0]
