"""Costs are read exactly, cut into chunks exactly, and refused in words."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner
from planner.errors import BadFileError, UsageError
from planner.pipelining.api import pipeline_problems
from planner.pipelining.clock import common_tick
from planner.pipelining.costs import cut_rows
from planner.pipelining.files.costs_file import CostRow, parse_costs, parse_time, read_costs
from planner.pipelining.memory_limits import memory_limits, one_f_one_b_bytes
from planner.pipelining.problem import StageCosts

if TYPE_CHECKING:
    from pathlib import Path

HEAD = b"forward_ms,backward_ms,weight_ms,communication_ms,activation_bytes,kept_bytes\n"


def row(text: str) -> CostRow:
    (read,) = parse_costs(HEAD + text.encode(), "costs.csv")
    return read


def test_decimals_are_exact() -> None:
    read = row("18.522,0.1,.5,1e-3,4096,0")
    assert read.forward == Fraction(18522, 10**6)
    assert (read.backward, read.weight) == (Fraction(1, 10**4), Fraction(1, 2000))
    assert read.communication == Fraction(1, 10**6)
    assert (read.activation_bytes, read.kept_bytes) == (4096, 0)


def test_units_order_blank_lines_and_a_byte_order_mark_are_free() -> None:
    text = "\ufeffactivation_bytes,weight_us , forward_s,backward_ns\r\n\r\n8,2,1,3\r\n"
    (read,) = parse_costs(text.encode(), "costs.csv")
    assert (read.forward, read.backward) == (Fraction(1), Fraction(3, 10**9))
    assert read.weight == Fraction(2, 10**6)


def test_what_is_left_out_is_taken_on_the_safe_side() -> None:
    text = b"forward_s,backward_s,weight_s,activation_bytes\n1,1,1,8\n"
    (read,) = parse_costs(text, "costs.csv")
    assert read.communication == 0
    assert read.kept_bytes == 8, "all of it may be needed until W"
    assert read.gather is None


def test_sharded_weights_have_columns_of_their_own() -> None:
    head = b"forward_s,backward_s,weight_s,activation_bytes,gather_s,parameter_bytes"
    (read,) = parse_costs(head + b"\n1,1,1,8,2,100\n", "costs.csv")
    assert (read.gather, read.reduce) == (2, 2)
    assert (read.parameter_bytes, read.gradient_bytes) == (100, 100)
    family = pipeline_problems([read], devices=2, microbatches=2)
    sharding = family.problems["linear"].sharding
    assert sharding is not None
    assert sharding.parameter_bytes == (100, 100)


REFUSED = {
    "no text": (b"\xff\xfe", "not UTF-8"),
    "zeros": (b"forward_s\0", "not a text file"),
    "nothing": (b"", "empty"),
    "blank lines": (b"\n\n  \n", "empty"),
    "no rows": (HEAD, "no stages below"),
    "no unit": (b"forward,backward_ms,weight_ms,activation_bytes\n", "has no unit"),
    "unknown column": (b"forward_ms,backward_ms,weight_ms,bytes\n", "unknown column 'bytes'"),
    "unknown unit": (b"forward_min,backward_ms,weight_ms,activation_bytes\n", "'forward_min'"),
    "twice": (b"forward_ms,forward_s,weight_ms,activation_bytes\n", "say the same"),
    "missing column": (b"forward_ms,activation_bytes\n", "no column for backward, weight"),
    "half sharded": (
        b"forward_s,backward_s,weight_s,activation_bytes,gather_s\n",
        "gather without parameter_bytes",
    ),
    "too few cells": (HEAD + b"1,1,1,0,8\n", "costs.csv:2: 5 cells in 6 columns"),
    "too many cells": (HEAD + b"1,1,1,0,8,8,8\n", "costs.csv:2: 7 cells"),
    "negative": (HEAD + b"1,1,1,0,8,8\n1,-1,1,0,8,8\n", "costs.csv:3: backward_ms: -1 is negative"),
    "nan": (HEAD + b"nan,1,1,0,8,8\n", "costs.csv:2: forward_ms: 'nan' is not a decimal"),
    "inf": (HEAD + b"1,inf,1,0,8,8\n", "backward_ms: 'inf'"),
    "empty cell": (HEAD + b"1,1,,0,8,8\n", "weight_ms: empty"),
    "hexadecimal": (HEAD + b"0x1,1,1,0,8,8\n", "'0x1'"),
    "digits of elsewhere": (HEAD + "\u0661,1,1,0,8,8\n".encode(), "is not a decimal"),
    "days": (HEAD + b"1e9,1,1,0,8,8\n", "more than a day"),
    "exponent": (HEAD + b"1e999,1,1,0,8,8\n", "is not a decimal"),
    "half a byte": (HEAD + b"1,1,1,0,8.5,8\n", "no whole number of bytes"),
    "too many bytes": (HEAD + b"1,1,1,0,1e17,8\n", "more than 2^53"),
    "more kept than held": (HEAD + b"1,1,1,0,8,9\n", "kept_bytes 9 are part of"),
    "an open quote": (HEAD + b'"1,1,1,0,8,8\n', "costs.csv:2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nonsense_is_refused_by_line_and_column(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(BadFileError) as refusal:
        parse_costs(data, "costs.csv")
    assert reason in str(refusal.value)


def test_a_file_with_too_many_stages_is_refused() -> None:
    with pytest.raises(BadFileError, match="more than 8,192 stages"):
        parse_costs(HEAD + b"1,1,1,0,8,8\n" * 8_193, "costs.csv")


def test_directories_and_missing_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(BadFileError):
            read_costs(path)


def one(**others: int) -> CostRow:
    values = {"forward": 2, "backward": 3, "weight": 1, "communication": 1, **others}
    times = {name: Fraction(value) for name, value in values.items()}
    return CostRow(**times, activation_bytes=10, kept_bytes=4)


@pytest.mark.parametrize(
    ("rows", "devices", "chunks", "stages", "per_device"),
    [
        (1, 4, None, 4, 1),
        (4, 4, None, 4, 1),
        (8, 4, None, 8, 2),
        (1, 4, 3, 12, 3),
        (4, 4, 3, 12, 3),
        (12, 4, 3, 12, 3),
        (1, 1, 1, 1, 1),
    ],
)
def test_rows_become_stages(
    rows: int, devices: int, chunks: int | None, stages: int, per_device: int
) -> None:
    cut, found = cut_rows([one()] * rows, devices, chunks)
    assert (len(cut), found) == (stages, per_device)
    assert sum(row.forward for row in cut) == 2 * (devices if rows < stages else rows)
    assert all(row.communication == 1 for row in cut), "a chunk sends as much as a stage"


def test_bytes_of_chunks_are_rounded_up() -> None:
    cut, _ = cut_rows([one()], 2, 3)
    assert {(row.activation_bytes, row.kept_bytes) for row in cut} == {(4, 2)}


@pytest.mark.parametrize(
    ("rows", "chunks", "reason"),
    [(3, None, "3 rows of costs for 2 devices"), (3, 2, "give 4 rows"), (2, 0, "0 chunks")],
)
def test_rows_that_are_no_whole_number_per_device_are_refused(
    rows: int, chunks: int | None, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        cut_rows([one()] * rows, 2, chunks)


@given(st.lists(st.tuples(st.integers(0, 10**5), st.integers(1, 10**4)), max_size=4))
def test_the_tick_is_the_longest_in_which_all_are_whole(ratios: list[tuple[int, int]]) -> None:
    times = [Fraction(*ratio) for ratio in ratios]
    tick = common_tick(times)
    counts = [time / tick for time in times]
    assert all(count.denominator == 1 for count in counts)
    if any(times):
        assert not any(
            all((count / factor).denominator == 1 for count in counts) for factor in (2, 3, 5, 7)
        )


def timed(*seconds: str) -> list[CostRow]:
    return [CostRow(*map(Fraction, seconds), Fraction(0), 8, 4)]


def test_times_of_seventeen_digits_are_rounded_and_that_is_said() -> None:
    times = ("0.018522123456789012", "0.01809876543210987", "0.0093371234567890123")
    family = pipeline_problems(timed(*times), devices=8, microbatches=256)
    (note,) = family.notes
    assert "rounded to multiples of 1e-13 s" in note
    problem = family.problems["linear"]
    stage = problem.stages[0]
    for ticks, time in zip((stage.forward, stage.backward, stage.weight), times, strict=True):
        assert abs(ticks * problem.tick_s - Fraction(time)) <= problem.tick_s / 2
    result = planner.pipeline(
        timed(*times), devices=2, microbatches=2, time_limit=2, solvers=["1f1b"]
    )
    assert "rounded to multiples" in result.notes[-1]


def test_times_that_can_be_whole_stay_exact() -> None:
    family = pipeline_problems(
        timed("0.018522123456", "0.018", "0.009"), devices=4, microbatches=64
    )
    assert family.notes == ()
    problem = family.problems["linear"]
    assert problem.stages[0].forward * problem.tick_s == Fraction("0.018522123456")


def test_times_far_apart_are_rounded_but_none_to_nothing() -> None:
    family = pipeline_problems(timed("1e-20", "86400", "0"), devices=2, microbatches=4)
    stage = family.problems["linear"].stages[0]
    assert (stage.forward, stage.weight) == (1, 0)
    assert family.notes
    alone = pipeline_problems(timed("1e-20", "1e-20", "0"), devices=2, microbatches=4)
    assert alone.problems["linear"].stages[0].backward == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1e5), min_size=3, max_size=3), st.integers(1, 64))
def test_any_floats_can_be_planned(times: list[float], microbatches: int) -> None:
    rows = [CostRow(*map(Fraction, times), Fraction(times[0]) / 3, 8, 4)]
    family = pipeline_problems(
        rows, devices=4, microbatches=microbatches, chunks=2, offload_bandwidth=1
    )
    assert {"v", "looped"} == set(family.problems)


def test_copies_take_at_least_their_time_and_at_most_a_thousandth_more() -> None:
    family = pipeline_problems([one()], devices=1, microbatches=1, offload_bandwidth=3)
    problem = family.problems["linear"]
    assert problem.offloading is not None
    (taken,) = (ticks * problem.tick_s for ticks in problem.offloading.offload)
    assert Fraction(10, 3) <= taken <= Fraction(10, 3) * Fraction(1001, 1000)
    assert problem.stages[0].forward * problem.tick_s == 2


def test_one_f_one_b_is_that_of_contiguous_stages() -> None:
    stages = [StageCosts(1, 1, 1, size, 0) for size in (10, 1, 1, 1, 1, 7)]
    assert one_f_one_b_bytes(stages, 3, 8) == max(3 * 11, 2 * 2, 8)
    assert one_f_one_b_bytes(stages, 3, 2) == max(2 * 11, 2 * 2, 8)


def test_limits_are_sizes_or_exact_multiples() -> None:
    stages = [StageCosts(1, 1, 1, 3, 0)] * 2
    assert memory_limits(None, stages, 2, 5) == (None, None)
    assert memory_limits("1KiB", stages, 2, 5) == (1024, 1024)
    assert memory_limits(7, stages, 2, 5) == (7, 7)
    assert memory_limits("0.99999999x", stages, 2, 5) == (5, 5), "6 bytes, rounded down"
    assert memory_limits("1.5x, 4", stages, 2, 5) == (9, 4)
    assert memory_limits([None, "2X"], stages, 2, 5) == (None, 12)


@pytest.mark.parametrize(
    "limit", ["", "x", "-1x", "1e3x", "10GB,1,2", "nan", "1.5", "0x1", [1, 2, 3]]
)
def test_limits_that_are_none_are_refused(limit: object) -> None:
    with pytest.raises(UsageError):
        memory_limits(limit, [StageCosts(1, 1, 1, 3, 0)] * 2, 2, 5)  # type: ignore[arg-type]


def test_times_on_the_command_line_have_units() -> None:
    assert parse_time("1.5ms") == Fraction(3, 2000)
    assert parse_time(" 2 us") == Fraction(2, 10**6)
    for wrong in ("", "1", "ms", "-1ms", "1h", "nan s", "1e9s", "1 m s"):
        with pytest.raises(ValueError, match=r"time|day"):
            parse_time(wrong)
