"""MEMO's fraction of tokens, and what the event simulator says about it."""

from __future__ import annotations

import random
from itertools import product

import pytest

from planner.errors import DoesNotFitError, UsageError
from planner.training.checker import check_training
from planner.training.memory import memory_profile
from planner.training.problem import HostLink
from planner.training.schedule import recompute_ps
from planner.training.simulator import simulate_training
from solvers.training.token_wise import (
    SkeletalLayer,
    TokenWiseLimit,
    token_wise_fraction,
    token_wise_fractions,
    token_wise_step,
    transformer_layer,
)

THOUSAND = 1024
# 256 GiB of host memory per device at 12 GB/s, and 0.6 of 312 TFLOP/s: two fitted constants.
HOST = HostLink(256 << 30, 12e9, 12e9)
FLOP_PER_S = 0.6 * 312e12
COPY, MEMORY, FREE = TokenWiseLimit.COPY, TokenWiseLimit.HOST, TokenWiseLimit.NOTHING
COLUMN = [
    (4, 0.10, COPY),
    (16, 0.16, COPY),
    (32, 0.23, COPY),
    (64, 0.38, COPY),
    (96, 0.53, COPY),
    (128, 0.68, COPY),
    (192, 0.98, COPY),
    (256, 1.0, FREE),
    (384, 1.0, FREE),
    (512, 1.0, FREE),
    (640, 0.83, MEMORY),
    (768, 0.67, MEMORY),
    (1024, 0.47, MEMORY),
]


def layer_of_7b(thousands: int) -> SkeletalLayer:
    return transformer_layer(4096, thousands * THOUSAND, FLOP_PER_S, devices=8)


@pytest.mark.parametrize(("thousands", "fraction", "limit"), COLUMN)
def test_the_fractions_of_a_7b_model_on_8_devices(
    thousands: int, fraction: float, limit: TokenWiseLimit
) -> None:
    found = token_wise_fraction(layer_of_7b(thousands), 32, HOST)
    assert round(found.fraction, 2) == fraction
    assert found.limit is limit


def test_the_activations_of_a_million_tokens_are_4096_gib() -> None:
    layer = transformer_layer(4096, THOUSAND**2, FLOP_PER_S)
    assert 32 * (layer.always_bytes + layer.other_bytes) == 4096 << 30


@pytest.mark.parametrize("thousands", [thousands for thousands, _, _ in COLUMN])
def test_equal_layers_get_the_fraction_of_the_closed_form(thousands: int) -> None:
    layer = layer_of_7b(thousands)
    expected = token_wise_fraction(layer, 32, HOST).fraction
    assert token_wise_fractions([layer] * 32, HOST) == pytest.approx([expected] * 30 + [1, 1])


@pytest.mark.parametrize(("thousands", "fraction", "limit"), COLUMN)
def test_the_event_simulator_finds_no_stall_at_the_fraction_and_one_above_it(
    thousands: int, fraction: float, limit: TokenWiseLimit
) -> None:
    layer = layer_of_7b(thousands)
    found = token_wise_fraction(layer, 32, HOST).fraction
    problem, schedule = token_wise_step([layer] * 32, [found] * 30 + [1, 1], HOST)
    assert check_training(problem, schedule) == []
    timeline = simulate_training(problem, schedule)
    # A picosecond of rounding per copy at most.
    assert timeline.stall_ps <= 30
    assert timeline.host_peak_bytes <= HOST.capacity_bytes
    assert recompute_ps(problem, schedule) == 30 * round((1 - found) * layer.recompute_ps)
    if limit is FREE:
        return
    problem, schedule = token_wise_step([layer] * 32, [found + 0.01] * 30 + [1, 1], HOST)
    if limit is COPY:
        assert simulate_training(problem, schedule).stall_ps > 10**6
    else:
        assert "on the host when the halves meet" in check_training(problem, schedule)[0].message


def test_two_buffers_and_the_layer_at_hand_are_all_that_the_device_holds() -> None:
    layer = layer_of_7b(256)
    problem, schedule = token_wise_step([layer] * 32, [1.0] * 32, HOST)
    peak = memory_profile(problem, schedule).peak_bytes
    assert peak == 2 * (layer.always_bytes + layer.other_bytes)


def test_without_a_fraction_that_fits_the_numbers_are_said() -> None:
    layer = SkeletalLayer(2_000, 8_000, 10**9, 10**9, 10**9)
    slow, tiny = HostLink(10**9, 1e6, 1e6), HostLink(5_999, 1e12, 1e12)
    with pytest.raises(DoesNotFitError, match=r"2,000 bytes .* copies 1,000 .* 1\.000 ms") as found:
        token_wise_fraction(layer, 5, slow)
    assert found.value.proven
    with pytest.raises(DoesNotFitError, match=r"6,000 bytes .* holds 5,999"):
        token_wise_fraction(layer, 5, tiny)
    with pytest.raises(DoesNotFitError, match="layer 0: 2,000 bytes"):
        token_wise_fractions([layer] * 5, slow)
    with pytest.raises(DoesNotFitError, match=r"6,000 bytes .* holds 5,999"):
        token_wise_fractions([layer] * 5, tiny)
    # Just enough for what is always offloaded, and nothing else.
    assert token_wise_fraction(layer, 5, tiny._replace(capacity_bytes=6_000)).fraction == 0


def test_senseless_numbers_are_refused() -> None:
    layer = SkeletalLayer(1, 1, 1, 1, 1)
    with pytest.raises(UsageError, match="0 layers"):
        token_wise_fraction(layer, 0, HOST)
    with pytest.raises(UsageError, match="other_bytes is -1"):
        token_wise_fraction(layer._replace(other_bytes=-1), 4, HOST)
    with pytest.raises(UsageError, match="tokens is 0"):
        transformer_layer(4096, 0, FLOP_PER_S)
    with pytest.raises(UsageError, match="flop_per_s is nan"):
        transformer_layer(4096, 1024, float("nan"))
    assert token_wise_fraction(layer, 2, HOST).fraction == 1
    assert token_wise_fractions([layer], HOST) == [1]


def test_a_narrow_way_back_limits_the_fractions_too() -> None:
    layer = SkeletalLayer(100, 900, 1_000, 2_000, 500)
    host = HostLink(10**6, 1e12, 1e11)
    fractions = token_wise_fractions([layer] * 6, host)
    assert fractions == pytest.approx([100 / 900] * 4 + [1, 1])
    problem, schedule = token_wise_step([layer] * 6, fractions, host)
    assert simulate_training(problem, schedule).stall_ps == 0
    wide = token_wise_fraction(layer, 6, host).fraction
    problem, schedule = token_wise_step([layer] * 6, [wide] * 4 + [1, 1], host)
    assert simulate_training(problem, schedule).stall_ps > 0


@pytest.mark.parametrize("seed", range(30))
def test_layers_that_differ_get_the_fractions_that_recompute_least(seed: int) -> None:
    chance = random.Random(seed)
    layers = [
        SkeletalLayer(
            chance.randint(0, 20) * 10,
            chance.choice((0, 100, 200, 400)),
            chance.randint(300, 500),
            chance.randint(300, 900),
            chance.choice((50, 100, 200)),
        )
        for _ in range(5)
    ]
    always = sum(layer.always_bytes for layer in layers[:3])
    host = HostLink(always + chance.randint(0, 600), 1e12, 1e12)
    fractions = token_wise_fractions(layers, host)
    problem, schedule = token_wise_step(layers, fractions, host)
    assert check_training(problem, schedule) == []
    assert simulate_training(problem, schedule).stall_ps <= 3

    def saved_ps(shares: list[float] | tuple[float, ...]) -> float:
        pairs = zip(layers, shares, strict=False)
        return sum(share * layer.recompute_ps for layer, share in pairs if layer.other_bytes)

    # Of a grid, no combination without stalls that the host holds saves more.
    for shares in product([i / 8 for i in range(9)], repeat=3):
        moved = always + sum(
            s * layer.other_bytes for s, layer in zip(shares, layers, strict=False)
        )
        hides = all(
            layers[i].always_bytes + share * layers[i].other_bytes
            <= min(layers[i + 1].forward_ps, layers[i + 1].backward_ps)
            for i, share in enumerate(shares)
        )
        if hides and moved <= host.capacity_bytes:
            assert saved_ps(shares) <= saved_ps(fractions[:3]) + 1e-6
