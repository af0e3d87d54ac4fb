"""Planned steps that Inductor compiles: budgets, gradients, random numbers, state and caches."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import planner  # noqa: E402
from frontends.torch import zoo  # noqa: E402
from planner.errors import DoesNotFitError, PlannerError  # noqa: E402
from planner.torch.planning import raced  # noqa: E402

from .chosen_plans import everything_offloaded, gradients, measured  # noqa: E402

# PyTorch's compiler warns of its own deprecations.
compiles = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SMALL = {
    "mlp": {"batch": 1024, "blocks": 3},
    "gpt2": {"batch": 4},
    "llama": {"batch": 4},
    "bert": {"batch": 4},
    "resnet": {"batch": 8, "stages": (1, 1)},
}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    # A hit in a cache of earlier runs would leave no plan to compare with.
    with torch._functorch.config.patch(enable_autograd_cache=False):
        yield
    torch._dynamo.reset()


def difference(found, expected):
    """Largest difference of a parameter's gradient, relative to its largest element."""
    return max(
        float((a - b).abs().max() / b.abs().max())
        for a, b in zip(found, expected, strict=True)
        if b is not None
    )


def by_inductor(model, budget_bytes, **options):
    partitioner = planner.torch.partitioner(budget_bytes=budget_bytes, time_limit=5.0)
    given = {"custom_partitioner_fn": partitioner, **options}
    return torch.compile(model, dynamic=False, options=given), partitioner


def small_step(dropout=0.0):
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Linear(16, 64), nn.GELU(), nn.Dropout(dropout), nn.Linear(64, 64), nn.GELU()),
        nn.Linear(64, 4),
    )

    def loss(x):
        return model(x).square().sum()

    return model, loss, (torch.randn(256, 16),)


def test_equal_options_are_one_key_of_caches_and_others_another(tmp_path):
    def key(**options):
        return planner.torch.partitioner(**{"budget_bytes": 1000, **options}).uuid()

    assert key() == key()
    others = [
        key(budget_bytes=1001),
        key(seed=1),
        key(host_bytes=10),
        key(time_limit=3.0),
        key(target="gpu-80g"),
    ]
    assert len({key(), *others}) == 6
    partitioner = planner.torch.partitioner(budget_bytes=1000, target="cpu-core")
    assert pickle.loads(pickle.dumps(partitioner)).uuid() == partitioner.uuid()
    with pytest.raises(PlannerError, match=r"none\.toml"):
        planner.torch.partitioner(budget_bytes=1000, target=str(tmp_path / "none.toml"))


class TestCompiled:
    pytestmark = compiles

    @pytest.mark.parametrize("name", sorted(SMALL))
    def test_steps_measure_what_was_predicted_and_gradients_are_those_of_eager(self, name):
        model, inputs = getattr(zoo, name)(**SMALL[name])
        expected = gradients(model, model, inputs)
        whole = planner.torch.estimate(model, inputs).peak_bytes
        # Convolutions in channels-last layout round otherwise, without a planner too.
        tolerance = 5e-5 if name == "resnet" else 1e-5
        for fraction in (0.8, 0.72 if name == "resnet" else 0.55):
            call, partitioner = by_inductor(model, int(fraction * whole))
            assert difference(gradients(model, call, inputs), expected) <= tolerance
            [plan] = partitioner.plans
            assert measured(model, call, inputs) == plan.predicted_peak_bytes <= plan.budget_bytes
            assert plan.is_compiled
            assert plan.status == "feasible"
            assert f"peak {plan.predicted_peak_bytes:,} of" in plan.text()

    def test_batch_norm_trains_within_the_budget_and_updates_its_statistics_once(self):
        model, inputs = zoo.resnet(**SMALL["resnet"])
        state = {name: value.clone() for name, value in model.state_dict().items()}
        whole = planner.torch.estimate(model, inputs).peak_bytes
        expected = gradients(model, model, inputs)
        statistics = {name: value.clone() for name, value in model.named_buffers()}
        model.load_state_dict(state)
        call, partitioner = by_inductor(model, int(0.8 * whole))
        found = gradients(model, call, inputs)
        # Channels-last convolutions round otherwise, without a planner too.
        assert difference(found, expected) <= 5e-5
        for name, value in model.named_buffers():
            assert torch.allclose(value, statistics[name], rtol=1e-5, atol=1e-6), name
        assert any(d.action == "recompute" for d in partitioner.plans[0].decisions)
        assert measured(model, call, inputs) <= partitioner.plans[0].budget_bytes

    @pytest.mark.parametrize("dynamic", [False, True])
    def test_operators_that_inductor_leaves_to_aten_are_counted(self, dynamic):
        # Attention and sorting have several results, and scratch; views of results hold them.
        model = nn.Linear(32, 96)

        def loss(x):
            query, key, value = model(x).view(8, 64, 3, 2, 16).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
            ordered, places = mixed.flatten(1).sort(-1)
            first, _ = torch.topk(torch.cumsum(ordered, -1), 100)
            return (first.exp().log1p() * places[:, :100]).sum()

        inputs = (torch.randn(8, 64, 32) / 100,)
        whole = planner.torch.estimate(loss, inputs).peak_bytes
        partitioner = planner.torch.partitioner(budget_bytes=2 * whole, time_limit=5.0)
        options = {"custom_partitioner_fn": partitioner}
        call = torch.compile(loss, dynamic=dynamic, options=options)
        gradients(model, call, inputs)
        [plan] = partitioner.plans
        assert measured(model, call, inputs) == plan.predicted_peak_bytes

    def test_a_product_does_not_wait_for_the_sum_that_it_is_added_to(self):
        # One table at both ends: its two gradients are added last, and the gradient of the logits,
        # the large operand of the first, would be held until then.
        table = nn.Parameter(torch.randn(512, 64) / 8)
        between = nn.Sequential(*(nn.Linear(64, 64) for _ in range(4)))

        def loss(tokens):
            return (between(nn.functional.embedding(tokens, table)) @ table.T).logsumexp(-1).sum()

        model = nn.ParameterList([table, *between.parameters()])
        inputs = (torch.arange(1024) % 512,)
        call, partitioner = by_inductor(loss, 10_000_000)
        gradients(model, call, inputs)
        [plan] = partitioner.plans
        assert measured(model, call, inputs) == plan.predicted_peak_bytes
        logits, activation = 4 * 1024 * 512, 4 * 1024 * 64
        assert plan.predicted_peak_bytes < logits + 6 * activation

    def test_what_is_on_the_host_is_not_counted(self, monkeypatch):
        def offloading(joint, options):
            schedule = everything_offloaded(joint.problem)
            return replace(raced(joint, options), schedule=schedule, frontier=())

        monkeypatch.setattr("planner.torch.inductor_plan.raced", offloading)
        model, inputs = zoo.mlp(batch=256, blocks=2)
        expected = gradients(model, model, inputs)
        call, partitioner = by_inductor(model, 10_000_000)
        assert difference(gradients(model, call, inputs), expected) <= 1e-5
        [plan] = partitioner.plans
        assert plan.schedule.offloads
        assert measured(model, call, inputs) == plan.predicted_peak_bytes

    def test_memory_that_cannot_be_told_is_not_passed_over_in_silence(self, monkeypatch):
        def unknown(*_):
            raise AttributeError("no such line")

        monkeypatch.setattr("planner.torch.inductor_plan.trial_memory", unknown)
        model, loss, inputs = small_step()
        expected = gradients(model, loss, inputs)
        call, partitioner = by_inductor(loss, 450_000)
        with pytest.warns(RuntimeWarning, match=r"not known .*no such line.* exceed 450,000"):
            found = gradients(model, call, inputs)
        assert difference(found, expected) <= 1e-5
        assert not partitioner.plans[0].is_compiled
        torch._dynamo.reset()
        call, _ = by_inductor(loss, 1000)
        with pytest.raises(DoesNotFitError, match="within 1,000 bytes"):
            call(*inputs)

    def test_dropout_draws_what_eager_draws_and_the_same_in_both_halves(self):
        model, loss, inputs = small_step(dropout=0.5)
        torch.manual_seed(5)
        expected = gradients(model, loss, inputs)
        call, partitioner = by_inductor(loss, 420_000, fallback_random=True)
        torch.manual_seed(5)
        assert difference(gradients(model, call, inputs), expected) <= 1e-5
        assert any(d.action == "recompute" for d in partitioner.plans[0].decisions)

    def test_inductors_own_random_numbers_are_the_same_in_both_halves(self):
        # The loss is linear in the weights, so the gradient shows the mask that the result shows.
        scale = nn.Parameter(torch.ones(512))

        def masked(x):
            return nn.functional.dropout(torch.sin(x) * scale, 0.5)

        call, _ = by_inductor(masked, 100_000)
        x = torch.rand(4, 512) + 0.5
        result = call(x)
        result.sum().backward()
        assert torch.allclose(scale.grad, result.sum(0), rtol=1e-5)

    def test_two_budgets_are_two_compilations(self):
        model, loss, inputs = small_step()
        expected = gradients(model, loss, inputs)
        peaks = [1_000_000]
        for _ in range(2):
            call, partitioner = by_inductor(loss, peaks[-1] - 1)
            assert difference(gradients(model, call, inputs), expected) <= 1e-5
            peaks.append(partitioner.plans[0].predicted_peak_bytes)
        assert torch._inductor.config.custom_partitioner_fn is None
        assert peaks == sorted(set(peaks), reverse=True)

    def test_cached_code_leaves_no_plan_and_another_budget_is_planned_anew(self, tmp_path):
        model, loss, inputs = small_step()
        expected = gradients(model, loss, inputs)
        plans = []
        with (
            pytest.MonkeyPatch.context() as patch,
            torch._functorch.config.patch(enable_autograd_cache=True),
        ):
            patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
            for budget in (500_000, 500_000, 420_000):
                torch._dynamo.reset()
                call, partitioner = by_inductor(loss, budget)
                assert difference(gradients(model, call, inputs), expected) <= 1e-5
                plans.append(len(partitioner.plans))
        assert plans == [1, 0, 1]

    def test_a_budget_that_is_missed_says_so_through_the_compiler(self):
        _, loss, inputs = small_step()
        call, _ = by_inductor(loss, 1000)
        with pytest.raises(DoesNotFitError, match="within 1,000 bytes") as missed:
            call(*inputs)
        # What is proven of operators as traced is not of fused ones.
        assert not missed.value.proven
        least = int(
            re.search(r"Inductor generates is ([\d,]+)", str(missed.value))[1].replace(",", "")
        )
        torch._dynamo.reset()
        call, partitioner = by_inductor(loss, least)
        call(*inputs).backward()
        assert partitioner.plans[0].predicted_peak_bytes <= least

    def test_the_share_of_memory_that_pytorch_is_asked_for_changes_nothing(self):
        model, loss, inputs = small_step()
        peaks = []
        for share in (1.0, 0.1):
            torch._dynamo.reset()
            with torch._functorch.config.patch(activation_memory_budget=share):
                call, partitioner = by_inductor(loss, 450_000)
                gradients(model, call, inputs)
            peaks.append(partitioner.plans[0].predicted_peak_bytes)
        assert peaks[0] == peaks[1]

    def test_sizes_that_change_are_planned_once_for_those_traced(self):
        model, loss, (x,) = small_step()
        partitioner = planner.torch.partitioner(budget_bytes=450_000, time_limit=5.0)
        call = torch.compile(loss, options={"custom_partitioner_fn": partitioner})
        first = x.clone()
        torch._dynamo.mark_dynamic(first, 0)
        for inputs in ((first,), (x[:100],), (torch.cat((x, x)),)):
            expected = gradients(model, loss, inputs)
            assert difference(gradients(model, call, inputs), expected) <= 1e-5
        assert len(partitioner.plans) == 1
