"""The text report of a packing, and what is said when buffers do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.packing.misfit import misfit
from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    Packing,
    PackingProblem,
    Separation,
)
from planner.packing.result import MemoryUse, PackResult, SolverReport
from planner.problem import Status
from planner.report.packing_occupancy import live_at, packing_occupancies
from planner.report.packing_text import render_packing

from .first_fit import first_fit

THREE = (Buffer("b0", 0, 3, 4096), Buffer("b1", 1, 5, 1024), Buffer("b2", 3, 9, 512))


def rendered(result: PackResult, source: str = "three.csv") -> str:
    assert result.packing is not None
    return render_packing(result, result.packing, source)


def test_a_packing_is_told_in_a_few_lines() -> None:
    assert rendered(first_fit(PackingProblem(THREE))) == (
        "buffers   three.csv   3 buffers  times [0, 9)\n"
        "height    5,120 B   lower bound 5,120 (optimal)   greedy 5,120   no reuse 5,632\n"
        "peak at   time 1: b0 4,096  b1 1,024\n"
        "solvers   greedy 0.01 s\n"
        "checked   legal"
    )


def test_a_gap_to_the_bound_is_told_with_the_live_bytes_and_the_capacity() -> None:
    result = first_fit(PackingProblem(THREE, (MemorySpace(capacity=6000),)))
    use = result.memories[0]._replace(height_bytes=5_500, lower_bound_bytes=5_200)
    text = rendered(replace(result, memories=(use,), status=Status.FEASIBLE))
    assert "5,500 B   lower bound 5,200 (+5.8 %)   live 5,120" in text
    assert "capacity 6,000 (fits, 500 free)" in text


def test_several_memories_have_a_line_each_and_say_what_is_displaced() -> None:
    buffers = (
        Buffer("a", 0, 9, 100, memories=("near", "far")),
        Buffer("b", 0, 9, 50, memories=("far",), hint=64),
    )
    problem = PackingProblem(
        buffers, (MemorySpace("near", 128), MemorySpace("far"), MemorySpace("unused"))
    )
    result = first_fit(problem)
    text = rendered(result)
    assert "height    near 100 B   lower bound 100 (optimal)   capacity 128 (fits, 28 free)" in text
    assert "\n          far 50 B " in text
    assert "unused" not in text.split("solvers")[0]
    assert "\ndisplaced 0 B (optimal)   no reuse 150\n" in text
    assert "\npeak at   near, time 0: a 100\n" in text
    assert "\nhints     0 of 1 kept\n" in text
    moved = replace(
        result,
        packing=Packing(np.array([1, 1], dtype=np.int32), np.array([64, 0], dtype=np.int64)),
        displaced_bytes=100,
    )
    assert "100 B of 1 buffer not in their first memory   lower bound 0 " in rendered(moved)


def test_relations_are_counted() -> None:
    problem = PackingProblem(
        (Buffer("a", 0, 9, 8), Buffer("b", 0, 9, 4), Buffer("c", 20, 29, 4)),
        colocations=(Colocation("a", "b", 4),),
        separations=(Separation("a", "c"),) * 2,
        overlaps=(Overlap("a", "c", 4),),
    )
    assert "1 colocation  2 separations  1 overlap" in rendered(replace_far(problem))


def replace_far(problem: PackingProblem) -> PackResult:
    packing = Packing(np.array([0, 0, 0], dtype=np.int32), np.array([0, 4, 8], dtype=np.int64))
    use = MemoryUse("memory", 3, 12, 12, 8, None)
    return PackResult(problem, packing, Status.OPTIMAL, (use,), "exact")


def test_many_culprits_are_summed_up_and_lines_stay_short() -> None:
    buffers = tuple(Buffer(f"a_rather_long_name_of_a_buffer_{i}", 0, 2, 10 + i) for i in range(9))
    text = rendered(first_fit(PackingProblem(buffers)))
    assert "5 more 60" in text
    assert max(map(len, text.splitlines())) <= 110


def test_hostile_names_cannot_command_the_terminal() -> None:
    name = "\x1b[31mred\n\u202e"
    problem = PackingProblem((Buffer(name, 0, 1, 8),), (MemorySpace(name), MemorySpace("other")))
    text = rendered(first_fit(problem), source=name)
    assert not set(text) & {"\x1b", "\u202e"}
    assert all(line.strip() for line in text.splitlines())


def test_nothing_to_pack_is_told_too() -> None:
    assert "buffers   none.csv   0 buffers\n" in rendered(first_fit(PackingProblem(())), "none.csv")


# --- bytes in use ---------------------------------------------------------------------------


def test_gaps_and_windows_are_no_use() -> None:
    problem = PackingProblem(
        (Buffer("a", 0, 10, 100, gaps=(Gap(2, 4), Gap(4, 6, (10, 40)))), Buffer("b", 3, 5, 7))
    )
    packing = Packing(np.zeros(2, dtype=np.int32), np.array([0, 200], dtype=np.int64))
    (occupancy,) = packing_occupancies(problem, packing)
    assert occupancy.times.tolist() == [0, 2, 3, 4, 5, 6, 10]
    assert occupancy.live_bytes.tolist() == [100, 0, 7, 37, 30, 100]
    assert live_at(problem, occupancy, 4) == [(0, 30), (1, 7)]


@settings(deadline=None)
@given(data=st.data())
def test_shared_bytes_count_once(data: st.DataObject) -> None:
    """Against sets of bytes, time by time; colocations make all of it shared."""
    spans = st.tuples(st.integers(0, 8), st.integers(1, 5), st.integers(0, 12), st.integers(1, 6))
    drawn = data.draw(st.lists(spans, min_size=2, max_size=6))
    buffers = tuple(
        Buffer(f"b{i}", lower, lower + length, size)
        for i, (lower, length, _, size) in enumerate(drawn)
    )
    joined = range(1, data.draw(st.integers(1, len(drawn))))
    relations = tuple(Colocation("b0", f"b{i}", drawn[i][2] - drawn[0][2]) for i in joined)
    problem = PackingProblem(buffers, colocations=relations)
    packing = Packing(
        np.zeros(len(drawn), dtype=np.int32), np.array([d[2] for d in drawn], dtype=np.int64)
    )
    (occupancy,) = packing_occupancies(problem, packing)
    for time, live in zip(occupancy.times.tolist(), occupancy.live_bytes.tolist(), strict=False):
        shared: set[int] = set()
        alone = 0
        for i, (lower, length, offset, size) in enumerate(drawn):
            if lower <= time < lower + length:
                if relations and (i == 0 or i in joined):
                    shared |= set(range(offset, offset + size))
                else:
                    alone += size
        assert live == len(shared) + alone


# --- what does not fit ----------------------------------------------------------------------


def unpacked(
    status: Status, *memories: MemoryUse, problem: PackingProblem | None = None, notes=()
) -> PackResult:
    spaces = tuple(MemorySpace(use.name, use.capacity_bytes) for use in memories)
    return PackResult(
        problem or PackingProblem(THREE, spaces),
        None,
        status,
        memories,
        "",
        (SolverReport("greedy", memories[0].name, "unknown"),),
        notes=notes,
    )


def test_too_many_live_bytes_are_told_with_time_and_culprits() -> None:
    error = misfit(unpacked(Status.INFEASIBLE, MemoryUse("sram", 3, 5376, 5120, 5120, 4096)), 30)
    assert error.proven
    assert str(error) == (
        "does not fit: 5,120 bytes of sram are needed at time 1 (b0 4,096 + b1 1,024), it has "
        "4,096, 1,024 too few. No packing can do better. Try --capacity 5376, at which a packing "
        "is known."
    )


def test_live_bytes_that_an_overlap_lets_share_are_not_called_needed() -> None:
    use = MemoryUse("sram", 3, 5000, 4300, 5120, 4200)
    assert str(misfit(unpacked(Status.INFEASIBLE, use), 30)) == (
        "does not fit: no packing of the 3 buffers fits the 4,200 bytes of sram; proven lower "
        "bound 4,300. Try --capacity 5000, at which a packing is known."
    )


def test_a_proof_by_search_says_what_is_live() -> None:
    error = misfit(unpacked(Status.INFEASIBLE, MemoryUse("sram", 3, 7168, 6001, 5120, 6000)), 30)
    assert str(error) == (
        "does not fit: no packing of the 3 buffers fits the 6,000 bytes of sram, though no more "
        "than 5,120 are in use at once; proven lower bound 6,001. Try --capacity 7KiB, at which a "
        "packing is known."
    )


def test_what_was_not_found_says_how_close_it_came() -> None:
    error = misfit(unpacked(Status.UNKNOWN, MemoryUse("sram", 3, 6016, 5120, 5120, 6000)), 2.5)
    assert not error.proven
    assert str(error) == (
        "no packing found within 2.5 s: the best needs 6,016 bytes of sram, 16 more than its "
        "6,000; proven lower bound 5,120. Try --capacity 6016, at which a packing is known."
    )


def test_contradictions_and_memories_are_told_apart() -> None:
    use = MemoryUse("memory", 3, 0, 0, 5120, None)
    fault = "a and b overlap in memory at times [0, 3)."
    text = str(misfit(unpacked(Status.INFEASIBLE, use, notes=(fault,)), 30))
    assert text == f"does not fit with the fixed offsets: {fault}"
    near = MemoryUse("near", 2, 200, 150, 150, 128)
    far = MemoryUse("far", 1, 90, 90, 90, 100)
    text = str(misfit(unpacked(Status.UNKNOWN, near, far), 30))
    assert "200 bytes of near, 72 more than its 128" in text
    assert text.endswith("Try --memory near=200, at which a packing is known.")


def test_where_no_packing_is_known_the_least_capacity_is_told() -> None:
    use = MemoryUse("sram", 3, 0, 5120, 5120, 4096)
    text = str(misfit(unpacked(Status.INFEASIBLE, use), 30))
    assert text.endswith("No packing can do better. It takes --capacity 5KiB at least.")
    text = str(misfit(unpacked(Status.UNKNOWN, use), 30))
    assert "--capacity" not in text
    assert text.endswith("Try a longer --time-limit.")
