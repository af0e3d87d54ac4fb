"""The oracle by itself: small problems whose optimum can be worked out on paper."""

from __future__ import annotations

from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    PackingProblem,
    Separation,
)

from .oracle import fewest_displaced_bytes, lowest_height


def test_heights_that_can_be_worked_out() -> None:
    pair = (Buffer("a", 0, 4, 5), Buffer("b", 2, 6, 3))
    assert lowest_height(PackingProblem(pair)) == 8
    assert lowest_height(PackingProblem((pair[0], pair[1]._replace(lower=4)))) == 5
    apart = (pair[0], pair[1]._replace(lower=4))
    assert lowest_height(PackingProblem(apart, separations=(Separation("a", "b"),))) == 8
    assert lowest_height(PackingProblem(pair, colocations=(Colocation("a", "b", 3),))) == 6
    assert lowest_height(PackingProblem(pair, overlaps=(Overlap("a", "b", 2),))) == 6
    gap = pair[0]._replace(gaps=(Gap(1, 4, (0, 2)),))
    assert lowest_height(PackingProblem((gap, pair[1]))) == 5
    aligned = (pair[0]._replace(alignment=4), pair[1]._replace(alignment=4))
    assert lowest_height(PackingProblem(aligned)) == 9
    assert lowest_height(PackingProblem((pair[0]._replace(offset=1), pair[1]))) == 9


def test_a_capacity_below_the_optimum_has_no_packing() -> None:
    buffers = (
        Buffer("a", 0, 2, 1),
        Buffer("b", 1, 3, 2),
        Buffer("c", 2, 5, 1),
        Buffer("d", 4, 6, 2),
        Buffer("e", 0, 1, 3),
        Buffer("f", 3, 4, 3),
    )
    assert lowest_height(PackingProblem(buffers)) == 4
    assert lowest_height(PackingProblem(buffers, (MemorySpace(capacity=3),))) is None


def test_fewest_displaced_bytes() -> None:
    buffers = (Buffer("a", 0, 4, 5), Buffer("b", 2, 6, 3), Buffer("c", 2, 6, 2))
    memories = (MemorySpace("near", 6), MemorySpace("far"))
    assert fewest_displaced_bytes(PackingProblem(buffers, memories)) == 5
    bound = (*buffers[:2], buffers[2]._replace(memories=("near",)))
    assert fewest_displaced_bytes(PackingProblem(bound, memories)) == 5
    tight = (MemorySpace("near", 6), MemorySpace("far", 2))
    assert fewest_displaced_bytes(PackingProblem(buffers, tight)) is None
