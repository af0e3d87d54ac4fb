"""Small random mapping problems with everything that a mapping has to cope with."""

from __future__ import annotations

import random

import numpy as np

from planner.mapping_problem import MappingProblem


def random_mapping_problem(
    seed: int, *, buffers: int = 4, rows: int = 8, accesses: int = 3
) -> MappingProblem:
    """Make a small mapping problem; the same arguments give the same one.

    Weights read once and again, inputs that are overwritten, intermediates written in one row or
    in parts, latencies, rows bound by arithmetic and rows that touch a memory anyway, sizes from
    one unit to the whole capacity, copies from cheap to hopeless.

    Parameters
    ----------
    seed : int
    buffers, rows : int
        At most these numbers.
    accesses : int
        At most so many of one buffer.
    """
    rng = random.Random(f"mapping {seed} {buffers} {rows} {accesses}")
    buffers, rows = rng.randint(1, buffers), rng.randint(2, rows)
    alignment = rng.choice((1, 4))
    units = rng.randint(2, 8)
    sizes = [rng.randint(1, min(units, rng.choice((2, 4, 8)))) for _ in range(buffers)]
    has_copy = [rng.random() < 0.5 for _ in range(buffers)]
    dear_copies = rng.choice((0.5, 1.0, 1.0, 3.0))
    table = []
    for buffer in range(buffers):
        count = min(rows, rng.randint(1, accesses))
        writes_often = rng.choice((0.0, 0.2, 0.6))
        for place, row in enumerate(sorted(rng.sample(range(rows), count))):
            writes = rng.random() < writes_often or (place == 0 and not has_copy[buffer])
            slow = rng.randint(0, 4) * sizes[buffer]
            fast = rng.randint(0, max(0, slow // 2)) if rng.random() < 0.9 else rng.randint(0, 9)
            table.append((row, buffer, writes, fast, slow))
    table.sort()
    access_row, access_buffer, writes, fast, slow = zip(*table, strict=True)

    def copies() -> np.ndarray:
        ticks = [max(1, round(rng.randint(1, 4) * size * dear_copies)) for size in sizes]
        return np.array(ticks, dtype=np.int64)

    def per_row(chance: float, most: int) -> np.ndarray:
        ticks = [rng.randint(0, most) if rng.random() < chance else 0 for _ in range(rows)]
        return np.array(ticks, dtype=np.int64)

    other_slow, other_fast = per_row(0.3, 6), per_row(0.2, 3)
    return MappingProblem(
        tick_s=1e-9,
        capacity=units * alignment,
        alignment=alignment,
        size=np.array(sizes, dtype=np.int64) * alignment,
        has_copy=np.array(has_copy, dtype=bool),
        copy_in=copies(),
        copy_out=copies(),
        access_row=np.array(access_row, dtype=np.int32),
        access_buffer=np.array(access_buffer, dtype=np.int32),
        writes=np.array(writes, dtype=bool),
        fast=np.array(fast, dtype=np.int64),
        slow=np.array(slow, dtype=np.int64),
        arithmetic=per_row(0.7, rng.choice((3, 12, 30))),
        overhead=per_row(0.5, 2),
        other_fast=other_fast,
        other_slow=other_slow,
        touches_fast=other_fast > 0,
        touches_slow=other_slow > 0,
        fast_latency=rng.choice((0, 0, 1)),
        slow_latency=rng.choice((0, 0, 1, 3)),
        setup_in=rng.choice((0, 0, 1, 2, 5)),
        setup_out=rng.choice((0, 0, 1, 2, 5)),
    )
