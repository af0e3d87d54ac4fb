"""The replay accepts what the rules allow, refuses every breach by name, and counts the ticks."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.mapping_problem import MappingProblem, Residency
from planner.mapping_replay import Copy, InvalidMappingError, in_turn, late_copy, replay
from planner.testing.mapping_problems import random_mapping_problem


def program(**changes: Any) -> MappingProblem:
    """Six rows; a weight (8 bytes) read in rows 2 and 4, a result (4) made in 0 and read in 3.

    Every row takes at least 4 ticks of arithmetic; a copy takes a tick per two bytes.
    """
    made = MappingProblem(
        tick_s=1.0,
        capacity=12,
        alignment=4,
        size=np.array([8, 4]),
        has_copy=np.array([True, False]),
        copy_in=np.array([4, 2]),
        copy_out=np.array([4, 2]),
        access_row=np.array([0, 2, 3, 4], dtype=np.int32),
        access_buffer=np.array([1, 0, 1, 0], dtype=np.int32),
        writes=np.array([True, False, False, False]),
        fast=np.array([1, 2, 1, 2]),
        slow=np.array([6, 12, 6, 12]),
        arithmetic=np.full(6, 4),
        overhead=np.zeros(6, dtype=np.int64),
        other_fast=np.zeros(6, dtype=np.int64),
        other_slow=np.zeros(6, dtype=np.int64),
        touches_fast=np.zeros(6, dtype=bool),
        touches_slow=np.zeros(6, dtype=bool),
    )
    return replace(made, **changes)


WEIGHT = Residency(0, 0, 1, 1, 5, 0)
RESULT = Residency(1, 0, 1, 0, 4, 8)


def test_nothing_fast_takes_as_long_as_all_slow() -> None:
    assert replay(program(), ()) == program().all_slow == 6 + 4 + 12 + 6 + 12 + 4


def test_everything_fast_takes_the_arithmetic() -> None:
    assert replay(program(), (WEIGHT, RESULT)) == program().all_fast == 24


def test_latencies_count_once_per_row_and_memory() -> None:
    slower = program(fast_latency=10, slow_latency=100)
    expected = (1 + 10) + 4 + (12 + 100) + (1 + 10) + (12 + 100) + 4
    assert replay(slower, (RESULT,)) == expected


@pytest.mark.parametrize(
    ("residencies", "reason"),
    [
        ((WEIGHT._replace(buffer=2),), "there are 2 buffers"),
        ((WEIGHT._replace(buffer=-1),), "there are 2 buffers"),
        ((WEIGHT._replace(last=2),), "has 2 accesses"),
        ((WEIGHT._replace(first=-1),), "has 2 accesses"),
        ((WEIGHT._replace(first=1, last=0),), "has 2 accesses"),
        ((WEIGHT._replace(end=7),), r"in \[0, 6\)"),
        ((WEIGHT._replace(start=-1),), r"in \[0, 6\)"),
        ((WEIGHT._replace(end=4),), "rows 2 to 4"),
        ((WEIGHT._replace(start=3),), "rows 2 to 4"),
        ((WEIGHT._replace(last=0, end=5),), "accessed next in row 4"),
        ((WEIGHT._replace(offset=2),), "multiples of 4"),
        ((WEIGHT._replace(offset=8),), r"not all in \[0, 12\)"),
        ((WEIGHT._replace(offset=-4),), r"not all in \[0, 12\)"),
        ((WEIGHT._replace(start=2),), "which are none"),
        ((WEIGHT._replace(offset=0.0),), "six whole numbers"),
        (("weight",), "six whole numbers"),
        (((0, 0),), "six whole numbers"),
        ((RESULT, WEIGHT), "sorted"),
        ((WEIGHT, WEIGHT), "same access"),
        ((WEIGHT._replace(last=0, end=4), Residency(0, 1, 1, 3, 5, 0)), "share a step"),
        ((WEIGHT, RESULT._replace(offset=4)), "share bytes"),
        ((RESULT._replace(start=0, last=0, end=1),), "which are none"),
        ((Residency(1, 1, 1, 0, 4, 0),), "only from boundary 1"),
    ],
)
def test_every_breach_is_refused_by_name(residencies: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(InvalidMappingError, match=reason):
        replay(program(), residencies)


def test_a_result_made_fast_starts_with_its_row() -> None:
    later = program(access_row=np.array([1, 2, 3, 4], dtype=np.int32))
    replay(later, (RESULT._replace(start=1),))
    with pytest.raises(InvalidMappingError, match="starts there"):
        replay(later, (RESULT,))


def test_what_nobody_wrote_cannot_be_copied() -> None:
    strange = program(writes=np.array([False, False, False, False]))
    with pytest.raises(InvalidMappingError, match="does not hold the buffer yet"):
        replay(strange, (Residency(1, 1, 1, 1, 4, 0),))


def test_a_write_back_ends_before_its_copy_is_read_again() -> None:
    made = program(arithmetic=np.array([4, 4, 14, 4, 4, 4]))
    first, second = Residency(1, 0, 0, 0, 2, 8), Residency(1, 1, 1, 2, 4, 8)
    assert replay(made, (first, second)) == replay(made, (RESULT,))
    with pytest.raises(InvalidMappingError, match="share a step"):
        replay(made, (first._replace(end=3), second))


def test_copies_compete_for_the_room_of_the_rows() -> None:
    # Row 1 has 4 ticks of room, all of which the weight takes; row 0 serves the result slow.
    tight = (WEIGHT, Residency(1, 1, 1, 1, 4, 8))
    assert replay(program(), (WEIGHT,)) == 6 + 4 + 4 + 6 + 4 + 4
    assert replay(program(), tight) == 6 + 4 + 4 + 4 + 4 + 4
    with pytest.raises(InvalidMappingError, match="exceed their room"):
        replay(program(copy_in=np.array([4, 7])), tight)


def test_in_turn_a_copy_that_begins_earlier_ends_earlier() -> None:
    # Buffer 1's copy may begin in row 1 but is not urgent; the weight's begins in 2, due at 4.
    late = (Residency(0, 1, 1, 3, 5, 0), Residency(1, 1, 1, 1, 6, 8))
    made = program(
        access_row=np.array([0, 2, 4, 5], dtype=np.int32),
        access_buffer=np.array([1, 0, 0, 1], dtype=np.int32),
        fast=np.array([1, 2, 2, 1]),
        slow=np.array([6, 12, 12, 6]),
        copy_in=np.array([4, 8]),
    )
    assert replay(made, late) == replay(made, late[:1]) - 2
    with pytest.raises(InvalidMappingError, match="exceed their room"):
        replay(made, late, fifo=True)
    assert replay(replace(made, copy_in=np.array([4, 4])), late, fifo=True)


COPY = st.builds(
    lambda release, rows, ticks, inward: Copy(release, release + rows, ticks, 0, inward),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.booleans(),
)
ROOM = st.lists(st.integers(0, 4), min_size=6, max_size=6)


@given(st.lists(COPY, max_size=4), ROOM)
def test_copies_fit_when_no_window_of_rows_is_overfull(copies: list[Copy], room: list[int]) -> None:
    """Hall's condition over windows of rows, which is exact if copies may be interrupted."""
    overfull = any(
        sum(c.ticks for c in copies if start <= c.release and c.deadline <= end)
        > sum(room[start:end])
        for start, end in product(range(7), repeat=2)
        if start < end
    )
    assert (late_copy(copies, room) is not None) == overfull


@given(st.lists(COPY, max_size=5), ROOM)
def test_in_turn_only_hastens_and_never_overtakes(copies: list[Copy], room: list[int]) -> None:
    hastened = in_turn(copies)
    for inward in (False, True):
        group = [copy for copy in hastened if copy.inward == inward]
        assert all(
            before.deadline <= after.deadline
            for before, after in product(group, repeat=2)
            if before.release < after.release
        )
    if late_copy(hastened, room) is None:
        assert late_copy(copies, room) is None


def legal_serves(problem: MappingProblem) -> list[Residency]:
    """Residencies that are legal alone, over everything the indices can say."""
    found = []
    for buffer in range(problem.buffers):
        count = len(problem.accesses_of.row(buffer))
        for first, last, start, end in product(
            range(count), range(count), range(problem.rows), range(problem.rows + 1)
        ):
            residency = Residency(buffer, first, last, start, end, 0)
            try:
                replay(problem, (residency,))
            except InvalidMappingError:
                continue
            found.append(residency)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_residencies_legal_alone_fail_together_only_for_want_of_room_or_bytes(seed: int) -> None:
    problem = random_mapping_problem(seed, buffers=2, rows=5)
    alone = legal_serves(problem)
    for one, other in product(alone, repeat=2):
        if one.buffer < other.buffer:
            top = int(problem.size[one.buffer])
            pair = (one, other._replace(offset=top))
            if top + problem.size[other.buffer] > problem.capacity:
                with pytest.raises(InvalidMappingError, match="not all in"):
                    replay(problem, pair)
                continue
            served = np.zeros(problem.accesses, dtype=bool)
            for residency in pair:
                accesses = problem.accesses_of.row(residency.buffer)
                served[accesses[residency.first : residency.last + 1]] = True
            try:
                assert replay(problem, pair) == problem.latency(served)
            except InvalidMappingError as error:
                assert "exceed their room" in str(error)
