"""Which capacities a sweep takes: the range on the command line and in Python."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cli.arguments import capacity_or_range
from planner.errors import UsageError
from planner.sweeps.capacities import MOST_POINTS, CapacityRange, swept_capacities

KIB = 1024


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sram=256KiB", 256 * KIB),
        ("sram=0", 0),
        ("sram=256KiB:4MiB", CapacityRange(256 * KIB, 4096 * KIB)),
        ("sram=256KiB:4MiB:20", CapacityRange(256 * KIB, 4096 * KIB, 20)),
        ("sram=256KiB:4MiB:64KiB", CapacityRange(256 * KIB, 4096 * KIB, None, 64 * KIB)),
        ("sram=1000:2000:100B", CapacityRange(1000, 2000, None, 100)),
        ("sram=1kB:2kB", CapacityRange(1000, 2000)),
    ],
)
def test_a_range_is_read(text: str, expected: int | CapacityRange) -> None:
    assert capacity_or_range(text) == ("sram", expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sram=1MiB:256KiB", "above its end"),
        ("sram=1MiB:1MiB", "single capacity"),
        ("sram=0:1MiB", "above 0"),
        ("sram=1MiB:0", "above its end"),
        ("sram=:", "size ''"),
        ("sram=1MiB:", "size ''"),
        ("sram=:1MiB", "size ''"),
        ("sram=1MiB:2MiB:", "size ''"),
        ("sram=1MiB:2MiB:3:4", "more than three"),
        ("sram=1MiB:2MiB:0", "positive"),
        ("sram=1MiB:2MiB:1", "two ends"),
        ("sram=1MiB:2MiB:-3", "size '-3'"),
        ("sram=1MiB:2MiB:0B", "step must be above 0"),
        ("sram=1MiB:2MiB:1B", "1,048,578 points"),
        ("sram=1MiB:2MiB:1000000", "1,000,000 points"),
        ("sram=1MiB:2MiB:" + "9" * 5000, "positive whole number"),
        ("sram=1MiB:2MiB:64K", "KiB"),
        ("sram=1MiB:2MiB:٣", "give bytes"),
        ("sram=1:99999999TiB", "more than"),
        ("sram=nan:inf", "size 'nan'"),
        ("sram=1.5:2", "whole number of bytes"),
        ("=1:2", "expected NAME=VALUE"),
        ("1:2", "expected NAME=VALUE"),
    ],
)
def test_nonsense_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        capacity_or_range(text)


@given(st.text(max_size=40))
def test_any_text_is_a_range_or_a_usage_error(text: str) -> None:
    try:
        _, value = capacity_or_range(f"sram={text}")
    except argparse.ArgumentTypeError:
        return
    if isinstance(value, CapacityRange):
        assert 2 <= len(swept_capacities(value)) <= MOST_POINTS


def test_default_points_are_in_equal_ratios_and_round() -> None:
    chosen = swept_capacities(CapacityRange(256 * KIB, 4096 * KIB), 16)
    assert [c // KIB for c in chosen] == [256, 364, 512, 728, 1024, 1456, 2048, 2912, 4096]
    assert all(c % KIB == 0 for c in chosen)


def test_a_step_ends_at_the_high_end() -> None:
    assert swept_capacities(CapacityRange(100, 250, step=60)) == (100, 160, 220, 250)


def test_a_list_is_sorted_and_each_capacity_once() -> None:
    assert swept_capacities([300, 100, 300]) == (100, 300)


@pytest.mark.parametrize("listed", [[], [0], [-1], [1.5], [True], list(range(1, MOST_POINTS + 2))])
def test_lists_of_nonsense_are_usage_errors(listed: list[int]) -> None:
    with pytest.raises(UsageError):
        swept_capacities(listed)


@given(
    st.integers(1, 2**53 - 1),
    st.integers(1, 2**53 - 1),
    st.integers(2, 40),
    st.sampled_from([1, 16, 4096]),
)
def test_a_range_keeps_its_ends_and_stays_within(a: int, b: int, points: int, unit: int) -> None:
    low, high = sorted((a, b))
    if low == high:
        return
    chosen = swept_capacities(CapacityRange(low, high, points), unit)
    assert chosen[0] == low and chosen[-1] == high
    assert len(chosen) <= points
    assert list(chosen) == sorted(set(chosen))
    assert all(c % unit == 0 for c in chosen[1:-1])
