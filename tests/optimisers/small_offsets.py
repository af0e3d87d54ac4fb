"""Small offset problems with every kind of constraint, and an oracle that tries all offsets."""

from __future__ import annotations

import itertools
import random

import numpy as np

from planner.problem import OffsetProblem, PairRule, Uses


def problem_of(rows, **fields):
    """Rows of (lower, upper, size, alignment)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return OffsetProblem(*(np.ascontiguousarray(column) for column in table.T), **fields)


def uses_of(rectangles):
    """Rectangles of (buffer, lower, upper, begin, end)."""
    table = np.array(sorted(rectangles), dtype=np.int64).reshape(-1, 5)
    buffer, *others = (np.ascontiguousarray(column) for column in table.T)
    return Uses(buffer.astype(np.int32), *others)


def random_problem(
    seed, features=("alignment", "fixed", "uses", "rules"), buffers=5, capacity=None
):
    """Up to so many buffers, with some of the features; the same for the same seed."""
    rng = random.Random(seed)
    count = rng.randint(2, buffers)
    alignments = rng.choice([[1, 2], [2, 3], [4], [1, 4]]) if "alignment" in features else [1]
    rows = []
    for _ in range(count):
        lower = rng.randrange(4)
        rows.append((lower, rng.randint(lower + 1, 5), rng.randint(1, 6), rng.choice(alignments)))
    fields = {"capacity": capacity}
    if "fixed" in features and rng.random() < 0.6:
        fixed = [-1] * count
        v = rng.randrange(count)
        fixed[v] = rng.randrange(4) * rows[v][3]
        fields["fixed"] = np.array(fixed, dtype=np.int64)
    if "uses" in features and rng.random() < 0.7:
        rectangles = []
        for v, (lower, upper, size, _) in enumerate(rows):
            for _ in range(rng.choice([1, 1, 2, 3])):
                a, b = sorted(rng.sample(range(lower, upper + 1), 2))
                begin, end = sorted(rng.sample(range(size + 1), 2))
                rectangles.append((v, a, b, begin, end))
        fields["uses"] = uses_of(rectangles)
    if "rules" in features and rng.random() < 0.7:
        pairs = list(itertools.combinations(range(count), 2))
        chosen = rng.sample(pairs, min(len(pairs), rng.randint(1, 3)))
        rules = []
        for pair in chosen:
            u, v = pair if rng.random() < 0.5 else pair[::-1]
            ends = sorted(rng.sample(range(-8, 9), rng.choice([2, 4, 6])))
            forbidden = tuple(zip(ends[::2], ends[1::2], strict=True))
            rules.append(PairRule(u, v, forbidden, 6))
        fields["pair_rules"] = tuple(rules)
    return problem_of(rows, **fields)


def rectangles_of(problem, v):
    """What a buffer uses: (lower, upper, begin, end) of times and of bytes from its offset."""
    if problem.uses is None:
        return [(int(problem.lower[v]), int(problem.upper[v]), 0, int(problem.size[v]))]
    rows = zip(*(values.tolist() for values in problem.uses), strict=True)
    return [tuple(row[1:]) for row in rows if row[0] == v]


def allowed(problem, u, v, difference, used):
    """Whether ``offset(v) - offset(u)`` may be so, ``u < v``."""
    for rule in problem.pair_rules:
        if {rule.first, rule.second} == {u, v}:
            signed = difference if rule.first == u else -difference
            return not any(low < signed < high for low, high in rule.forbidden)
    return not any(
        a[0] < b[1] and b[0] < a[1] and a[2] < b[3] + difference and b[2] + difference < a[3]
        for a in used[u]
        for b in used[v]
    )


def is_legal(problem, offsets):
    used = [rectangles_of(problem, v) for v in range(len(problem.size))]
    offsets = [int(o) for o in offsets]
    fixed = [-1] * len(offsets) if problem.fixed is None else problem.fixed.tolist()
    return (
        all(o >= 0 and o % a == 0 for o, a in zip(offsets, problem.alignment, strict=True))
        and all(f in (-1, o) for f, o in zip(fixed, offsets, strict=True))
        and all(
            allowed(problem, u, v, offsets[v] - offsets[u], used)
            for u, v in itertools.combinations(range(len(offsets)), 2)
        )
    )


def assert_solution(problem, solution):
    assert is_legal(problem, solution.offsets)
    assert solution.offsets.dtype == np.int64
    assert solution.height == int((solution.offsets + problem.size).max(initial=0))


def lowest_height(problem, limit=60):
    """Try all offsets; None if there is no packing below the limit."""
    count = len(problem.size)
    used = [rectangles_of(problem, v) for v in range(count)]
    table = {
        (u, v): [allowed(problem, u, v, d, used) for d in range(-limit, limit + 1)]
        for u, v in itertools.combinations(range(count), 2)
    }
    fixed = [-1] * count if problem.fixed is None else problem.fixed.tolist()
    best = limit
    offsets = []

    def place(v, height):
        nonlocal best
        if v == count:
            best = height
            return
        size, alignment = int(problem.size[v]), int(problem.alignment[v])
        choices = [fixed[v]] if fixed[v] >= 0 else range(0, limit, alignment)
        for offset in choices:
            if max(height, offset + size) >= best:
                return
            if all(table[u, v][offset - offsets[u] + limit] for u in range(v)):
                offsets.append(offset)
                place(v + 1, max(height, offset + size))
                offsets.pop()

    place(0, 0)
    return best if best < limit else None


def tiling(seed, buffers, height=64, steps=24):
    """Cut a rectangle of time and bytes into so many rows, which fill it; and their offsets."""
    rng = random.Random(seed)
    pieces = [(0, steps, height, 0)]
    while len(pieces) < buffers:
        pieces.sort(key=lambda piece: (piece[1] - piece[0]) * piece[2])
        lower, upper, size, offset = pieces.pop()
        if upper - lower > 1 and (size == 1 or rng.random() < 0.5):
            cut = rng.randint(lower + 1, upper - 1)
            pieces += [(lower, cut, size, offset), (cut, upper, size, offset)]
        else:
            cut = rng.randint(1, size - 1)
            pieces += [(lower, upper, cut, offset), (lower, upper, size - cut, offset + cut)]
    rng.shuffle(pieces)
    rows = [(lower, upper, size, 1) for lower, upper, size, _ in pieces]
    return rows, np.array([offset for *_, offset in pieces], dtype=np.int64)


def tight_rows(seed, buffers):
    """About so many, all sections full: the optimum may lie above the most bytes alive."""
    rng = random.Random(seed)
    sections = max(4, buffers // 2)
    free = [rng.randint(8, 30)] * sections
    rows = []
    while len(rows) < buffers:
        lower = rng.randrange(sections)
        upper = min(sections, lower + rng.randint(1, 4))
        room = min(free[lower:upper])
        if room == 0:
            break
        size = rng.randint(1, -(-room // 2))
        rows.append((lower, upper, size, 1))
        for t in range(lower, upper):
            free[t] -= size
    return rows + [(t, t + 1, room, 1) for t, room in enumerate(free) if room]
