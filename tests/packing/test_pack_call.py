"""`planner.pack`: every form of its arguments, and what it says when they are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import planner
from planner.errors import DoesNotFitError, UsageError
from planner.problem import Status

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [(0, 3, 4096), (1, 5, 1024), (4, 6, 4096)]
BUFFERS = [planner.Buffer(f"b{i}", *row) for i, row in enumerate(ROWS)]


def test_every_form_of_the_same_buffers_gives_the_same_packing(tmp_path: Path) -> None:
    csv = tmp_path / "buffers.csv"
    rows = "".join(f"b{i},{lower},{upper},{size}\n" for i, (lower, upper, size) in enumerate(ROWS))
    csv.write_text(f"id,lower,upper,size\n{rows}")
    forms: list[Any] = [
        ROWS,
        iter(ROWS),
        np.array(ROWS),
        np.array(ROWS, dtype=np.uint16),
        [np.array(row) for row in ROWS],
        BUFFERS,
        (buffer for buffer in BUFFERS),
        [buffer._replace(size=np.int32(buffer.size)) for buffer in BUFFERS],
        planner.PackingProblem(tuple(BUFFERS)),
        csv,
        str(csv),
    ]
    results = [planner.pack(form) for form in forms]
    assert {result.height_bytes for result in results} == {5120}
    assert {result.status for result in results} == {Status.OPTIMAL}
    assert len({tuple(result.offsets.items()) for result in results}) == 1
    for result in results:
        assert type(result.height_bytes) is int
        assert result.packing is not None
        assert planner.check_packing(result.problem, result.packing) == []


def test_everything_that_can_be_stated_reaches_the_solvers() -> None:
    buffers = [
        planner.Buffer("a", 0, 4, 100, gaps=(planner.Gap(1, 2, (0, 10)),)),
        planner.Buffer("b", 0, 4, 28),
        planner.Buffer("c", 3, 8, 64, alignment=32),
        planner.Buffer("d", 6, 9, 64, offset=256),
        planner.Buffer("e", 1, 2, 80),
        planner.Buffer("f", 10, 12, 64),
    ]
    result = planner.pack(
        buffers,
        1024,
        alignment=4,
        colocations=[planner.Colocation("a", "b", 100)],
        separations=[planner.Separation("c", "f")],
        overlaps=[planner.Overlap("c", "a", 32)],
    )
    assert result.packing is not None
    assert planner.check_packing(result.problem, result.packing) == []
    at = result.offsets
    assert at["b"] == at["a"] + 100 and at["d"] == 256
    assert all(offset % 4 == 0 for offset in at.values())
    assert result.problem.overlaps and result.problem.separations


def test_memories_replace_capacity_and_alignment() -> None:
    memories = [planner.MemorySpace("sram", 4096), planner.MemorySpace("dram", None, 64)]
    result = planner.pack(ROWS, memories=memories)
    assert result.packing is not None
    assert result.packing.memory.tolist() == [0, 1, 0]
    assert result.displaced_bytes == result.displaced_lower_bound_bytes == 1024


@pytest.mark.parametrize(
    ("buffers", "options", "words"),
    [
        (7, {}, "cannot pack a int"),
        ([(0, 3)], {}, r"entry 0 is \(0, 3\), neither a Buffer nor three whole numbers"),
        ([(0, 3, 4.5)], {}, r"entry 0 is \(0, 3, 4.5\)"),
        ([(0, 3, 4), "row"], {}, "entry 1 is 'row'"),
        (np.array([[0.0, 3.0, 4.0]]), {}, "entry 0"),
        (np.array([1, 2, 3]), {}, "entry 0 is 1"),
        ([(3, 3, 4)], {}, r"'b0': its lifetime \[3, 3\) is empty"),
        ([BUFFERS[0]._replace(size=1.5)], {}, "'b0': lifetime, size, .* whole numbers"),
        ([BUFFERS[0]._replace(hint="8")], {}, "'b0': lifetime, size, .* whole numbers"),
        ([BUFFERS[0], BUFFERS[0]], {}, "two buffers are named 'b0'"),
        (ROWS, {"time_limit": 0}, "must be positive"),
        (ROWS, {"time_limit": float("nan")}, "must be positive"),
        (ROWS, {"time_limit": float("inf")}, "finite"),
        (ROWS, {"time_limit": "3"}, "must be positive"),
        (ROWS, {"capacity": -1}, "capacity -1"),
        (ROWS, {"capacity": "1MiB"}, "the capacity is '1MiB', no whole number"),
        (ROWS, {"capacity": 1.5}, "the capacity is 1.5, no whole number"),
        (ROWS, {"alignment": 2.0}, "the alignment is 2.0, no whole number"),
        (ROWS, {"solvers": "exact"}, "Give a list of names"),
        (ROWS, {"memories": [("x", 9, 1)]}, "is no MemorySpace"),
        (ROWS, {"memories": [planner.MemorySpace("x", 9.5)]}, "the capacity of MemorySpace"),  # type: ignore[arg-type]
        (ROWS, {"colocations": [("b0", "b1", 0)]}, "is no Colocation"),
        (ROWS, {"overlaps": [planner.Overlap("b0", "b1", 0.5)]}, "the extent of Overlap"),  # type: ignore[arg-type]
        (ROWS, {"alignment": 0}, "alignment 0"),
        (ROWS, {"solvers": ["belady"]}, "no offset solver 'belady'"),
        (ROWS, {"memories": []}, "at least one memory"),
        (ROWS, {"memories": [planner.MemorySpace()], "capacity": 9}, "of their own"),
        (planner.PackingProblem(tuple(BUFFERS)), {"capacity": 9}, "of its own"),
        (
            planner.PackingProblem(tuple(BUFFERS)),
            {"separations": [planner.Separation("b0", "b1")]},
            "belong to the problem",
        ),
        (ROWS, {"separations": [planner.Separation("b0", "x")]}, "names 'x', which is no buffer"),
    ],
)
def test_wrong_arguments_are_usage_errors(
    buffers: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        planner.pack(buffers, **options)


def test_a_misfit_says_how_much_is_missing_and_whether_it_is_proven() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        planner.pack(ROWS, 5000)
    assert caught.value.proven
    for number in ("5,120", "5,000", "120", "b0 4,096"):
        assert number in str(caught.value)


def test_an_unproven_misfit_gives_height_excess_and_bound() -> None:
    """Greedy alone does not find the eight bytes."""
    rows = [(1, 3, 4), (5, 7, 3), (6, 7, 4), (3, 6, 3), (2, 6, 1), (1, 2, 3), (2, 4, 1)]
    with pytest.raises(DoesNotFitError) as caught:
        planner.pack(rows, 7, solvers=["greedy"])
    assert not caught.value.proven
    assert "lower bound 7" in str(caught.value)


def test_contradictory_fixed_offsets_are_a_proven_misfit() -> None:
    buffers = [planner.Buffer("a", 0, 2, 8, offset=0), planner.Buffer("b", 1, 3, 8, offset=4)]
    with pytest.raises(DoesNotFitError, match=r"a \[0, 8\) and b \[4, 12\) overlap") as caught:
        planner.pack(buffers)
    assert caught.value.proven
