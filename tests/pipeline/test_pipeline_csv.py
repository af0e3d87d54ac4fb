"""PyTorch's CSV: what is written comes back, and what is no schedule is refused with the reason."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import BadFileError, InvalidPlanError, UsageError
from planner.pipelining.checking.order_faults import order_faults
from planner.pipelining.files.schedule_csv import (
    in_loss_order,
    read_schedule_csv,
    schedule_from_csv,
    schedule_to_csv,
    write_schedule_csv,
)
from planner.pipelining.precedence import precedence
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule, WeightUnit

from .random_orders import disordered, legal_schedule, schedules, unit_problem, with_copies

if TYPE_CHECKING:
    from pathlib import Path

# Two ranks, two microbatches, B and W apart.
ZERO_BUBBLE = """\
0F0,0F1,0I0,0W0,0I1,0W1
1F0,1I0,1F1,1I1,1W0,1W1
"""


def faults_of(text: str, microbatches: int | None = None) -> list[str]:
    found = schedule_from_csv(text.encode())
    return order_faults(found.schedule, microbatches or found.microbatches)


@given(schedules())
def test_a_written_schedule_comes_back_and_has_no_faults(
    drawn: tuple[PipelineSchedule, int],
) -> None:
    schedule, microbatches = in_loss_order(drawn[0]), drawn[1]
    found = schedule_from_csv(schedule_to_csv(drawn[0]).encode(), "random.csv")
    assert found == (schedule, microbatches, 0, 0)
    assert order_faults(schedule, microbatches) == []


@given(schedules(), st.randoms(use_true_random=False))
def test_microbatches_are_numbered_as_they_reach_the_last_stage(
    drawn: tuple[PipelineSchedule, int], chance: random.Random
) -> None:
    schedule = with_copies(chance, drawn[0])
    renamed = in_loss_order(schedule)
    last = len(schedule.device_of) - 1
    losses = [own.microbatch for own in sum(renamed.passes, ()) if own[:2] == ("F", last)]
    assert losses == list(range(drawn[1]))
    # Nothing else changes: the names alone are exchanged, everywhere alike.
    names = set()
    for ours, theirs in zip(
        (*schedule.passes, *schedule.copies), (*renamed.passes, *renamed.copies), strict=True
    ):
        for one, other in zip(ours, theirs, strict=True):
            names.add((one.microbatch, other.microbatch))
            assert one._replace(microbatch=0) == other._replace(microbatch=0)
    assert len(names) == drawn[1]


@given(disordered())
def test_orders_have_a_fault_exactly_when_the_simulator_refuses_them(
    drawn: tuple[PipelineSchedule, int],
) -> None:
    schedule, microbatches = drawn
    try:
        precedence(unit_problem(schedule.device_of, microbatches), schedule)
    except InvalidPlanError as error:
        assert order_faults(schedule, microbatches) == [str(error)]
        assert "waits for" in str(error)
    else:
        assert order_faults(schedule, microbatches) == []


@given(schedules(), st.randoms(use_true_random=False))
def test_a_lost_pass_is_named(drawn: tuple[PipelineSchedule, int], chance: random.Random) -> None:
    schedule, microbatches = drawn
    rank = chance.randrange(len(schedule.passes))
    row = list(schedule.passes[rank])
    kind, stage, microbatch = row.pop(chance.randrange(len(row)))
    rows = list(schedule.passes)
    rows[rank] = tuple(row)
    faults = order_faults(replace(schedule, passes=tuple(rows)), microbatches)
    lacking = "B or D" if kind in "BD" else kind
    assert any(
        text.startswith(f"rank {rank}: stage {stage} lacks {lacking},")
        and text.endswith(f"of microbatch {microbatch}")
        for text in faults
    )


@given(schedules(), st.randoms(use_true_random=False))
def test_a_pass_that_is_there_twice_is_named(
    drawn: tuple[PipelineSchedule, int], chance: random.Random
) -> None:
    schedule, microbatches = drawn
    rank = chance.randrange(len(schedule.passes))
    row = schedule.passes[rank]
    kind, stage, microbatch = again = chance.choice(row)
    rows = list(schedule.passes)
    rows[rank] = (*row, again)
    faults = order_faults(replace(schedule, passes=tuple(rows)), microbatches)
    assert faults == [f"rank {rank}: {kind} {stage}.{microbatch} is there twice"]


@given(st.binary(max_size=60) | st.text('0123FIWB,;()\n "OVERLAP_', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    try:
        found = schedule_from_csv(data)
    except BadFileError as error:
        assert str(error).startswith("schedule.csv: ")
    else:
        order_faults(found.schedule, found.microbatches)


def test_the_file_is_what_the_runtime_reads(tmp_path: Path) -> None:
    path = tmp_path / "zb.csv"
    write_schedule_csv(schedule_from_csv(ZERO_BUBBLE.encode()).schedule, path)
    assert path.read_bytes() == ZERO_BUBBLE.encode()
    assert read_schedule_csv(path).schedule.name == "zb"


def test_bubbles_blanks_quotes_and_carriage_returns_mean_nothing() -> None:
    spaced = '"0F0", 0F1,,,"0I0",0W0,0I1,0W1\r\n,1F0,1I0,1F1,1I1,1W0,1W1,\r\n'
    assert schedule_from_csv(spaced.encode()) == schedule_from_csv(ZERO_BUBBLE.encode())


def test_transfers_and_collectives_follow_from_the_passes() -> None:
    lowered = (
        "0UNSHARD,0F0,0SEND_F0,0RECV_B0,0B0,0REDUCE_GRAD,0RESHARD\n"
        "1RECV_F0,1F0,1B0,1SEND_B0,1REDUCE_GRAD\n"
    )
    found = schedule_from_csv(lowered.encode())
    assert schedule_to_csv(found.schedule) == "0F0,0B0\n1F0,1B0\n"
    assert found.communications == 8


def test_overlapped_passes_run_one_after_the_other() -> None:
    found = schedule_from_csv(b"0F0,(0F1;0B0)OVERLAP_F_B,0B1\n")
    assert schedule_to_csv(found.schedule) == "0F0,0F1,0B0,0B1\n"
    assert found.overlapped == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\n", "rank 0 has no passes"),
        ("0F0,0B0\n\n", "rank 1 has no passes"),
        ("0F0,0B0\n1SEND_F0\n", "rank 1 has no passes"),
        ("0F0,0B0x\n", "rank 0, cell 1: '0B0x' is no action"),
        ("0F0,0B0 0B1\n", "'0B0 0B1' is no action"),
        ("0F0,0OFFLOAD0\n", "'0OFFLOAD0' is no action"),
        ("0F0,0f0\n", "'0f0' is no action"),
        ("0F0,-1F0\n", "'-1F0' is no action"),
        ("0F0,0F\n", "'0F' is no action"),
        ("0F0,F0\n", "'F0' is no action"),
        ("0F0,0F1.5\n", "'0F1.5' is no action"),
        ("0F0,00F1\n", "'00F1' is no action"),
        ("0F0,0UNSHARD1\n", "'0UNSHARD1' is no action"),
        ("0F0,0SEND_F\n", "'0SEND_F' is no action"),
        ("0F0,(0F1;0B0)\n", "is no action"),
        ("0F0,(0F1;(0B0)OVERLAP_F_B)OVERLAP_F_B\n", "is no action"),
        ("0F0,(0F1;0UNSHARD)OVERLAP_F_B\n", "'0UNSHARD' is no action"),
        ("0F0,()OVERLAP_F_B\n", "'' is no action"),
        ("\ufeff0F0,0B0\n", "byte 0xef"),
        ("0F0,0B\u0660\n", "byte 0xd9"),
        ("0F0,0B0\n0F1,0B1\n", "rank 1, cell 0: stage 0 is on rank 0 already"),
        ("0F0,0B0\n0RESHARD,1F0,1B0\n", "rank 1, cell 0: stage 0 is on rank 0 already"),
        ("0F0,0B0\n2F0,2B0\n", "stage 1 has no actions on any rank, but stage 2 has"),
        ("0F0,0B999999999\n", "more than the 4,000,000 forward passes"),
        ("0F0,9999999F0\n", "more than the 4,000,000 forward passes"),
        ("0F0,1F2999999,2F0\n", "3 stages x 3000000 microbatches are more than"),
        ("0F0,0B00000000000000000000000000000000000000000000000000000000\n", "..."),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(BadFileError) as caught:
        schedule_from_csv(text.encode())
    assert reason in str(caught.value) and str(caught.value).startswith("schedule.csv: ")


@pytest.mark.parametrize(
    ("damage", "faults"),
    [
        (
            ("0W1\n", "\n"),
            ["rank 0: stage 0 lacks W, the gradient of the weights, of microbatch 1"],
        ),
        (
            ("0I0,0W0", "0W0,0I0"),
            ["rank 0: W 0.0 runs before B 0.0, whose result it needs"],
        ),
        (
            ("1F0,1I0", "1I0,1F0"),
            ["rank 1: B 1.0 runs before F 1.0, whose result it needs"],
        ),
        (("0F0,0F1", "0F0,0F0,0F1"), ["rank 0: F 0.0 is there twice"]),
        (
            ("1I0", "1B0"),
            ["rank 1: W 1.0 stands beside D 1.0, which computes it too"],
        ),
        (
            ("0F0,0F1,0I0", "0F0,0I0,0F1"),
            [],
        ),
        (
            ("1F0,1I0,1F1,1I1", "1F1,1I1,1F0,1I0"),
            [],
        ),
        (
            ("0F0,0F1,0I0,0W0,0I1", "0F0,0I0,0W0,0F1,0I1"),
            [],
        ),
    ],
)
def test_damage_to_one_rank_is_told(damage: tuple[str, str], faults: list[str]) -> None:
    assert faults_of(ZERO_BUBBLE) == []
    assert faults_of(ZERO_BUBBLE.replace(*damage)) == faults


def test_ranks_that_wait_for_each_other_are_named() -> None:
    crossed = "0F0,0I0,0F1,0I1,0W0,0W1\n1F1,1I1,1F0,1I0,1W0,1W1\n"
    (fault,) = faults_of(crossed)
    assert fault.startswith("deadlock: ") and "on device 0" in fault and "on device 1" in fault


def test_a_file_for_other_microbatches_is_told() -> None:
    assert faults_of(ZERO_BUBBLE, 1)[0] == ("rank 0: F 0.1 is of microbatch 1, but there are 1")
    assert faults_of(ZERO_BUBBLE, 4)[0] == (
        "rank 0: stage 0 lacks F, the forward pass, of microbatch 2, 3"
    )
    assert faults_of(ZERO_BUBBLE, 9)[0].endswith("of microbatch 2, 3, 4 and 4 more")


def test_a_pass_on_another_stages_rank_is_told() -> None:
    own = legal_schedule(random.Random(0), (0, 1), 1)
    swapped = replace(own, passes=own.passes[::-1])
    assert "F 1.0 is of another rank's stage" in " ".join(order_faults(swapped, 1))


def test_what_the_format_cannot_say_is_refused() -> None:
    own = legal_schedule(random.Random(0), (0,), 1)
    vocabulary = Pass(PassKind.VOCABULARY_FORWARD, 0, 0)
    with pytest.raises(UsageError, match=r"S 0\.0 is a pass of the split vocabulary layer"):
        schedule_to_csv(replace(own, passes=((*own.passes[0], vocabulary),)))
    with pytest.raises(UsageError, match="when sharded weights are gathered"):
        schedule_to_csv(replace(own, units=((WeightUnit(0, -1, 0, 2, True),),)))
    with pytest.raises(UsageError, match="device 1 has no passes"):
        schedule_to_csv(replace(own, passes=(*own.passes, ())))


def test_a_file_that_is_too_large_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(BadFileError, match="larger than"):
        read_schedule_csv(path)
    with pytest.raises(BadFileError, match="directory"):
        read_schedule_csv(tmp_path)


def test_reading_and_writing_never_imports_torch() -> None:
    code = (
        "import sys, planner.pipelining.files.schedule_csv, "
        "planner.pipelining.checking.order_faults, "
        "planner.pipelining.files.offload_file; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
