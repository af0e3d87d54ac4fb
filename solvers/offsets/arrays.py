"""The arrays of an offset problem, checked and in the layout that the kernels take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers import _native

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from planner.problem import OffsetProblem, PairRule

    Int64s = NDArray[np.int64]

# Keeps every sum that the kernels form inside 64 bits.
LIMIT = 2**62


class OffsetArrays(NamedTuple):
    """Contiguous int64 arrays; those of a kind of constraint that there is none of are empty.

    Attributes
    ----------
    lower, upper, size, alignment, fixed : arrays of shape [buffers]
    use_rows : array of shape [buffers + 1]
        The uses of buffer ``v`` are those from ``use_rows[v]`` to ``use_rows[v + 1]``.
    use_lower, use_upper, use_begin, use_end : arrays of shape [uses]
    rule_first, rule_second, rule_shared : arrays of shape [rules]
    rule_rows : array of shape [rules + 1]
        Likewise, of the forbidden intervals of each rule.
    forbidden_low, forbidden_high : arrays of shape [intervals]
    """

    lower: Int64s
    upper: Int64s
    size: Int64s
    alignment: Int64s
    fixed: Int64s
    use_rows: Int64s
    use_lower: Int64s
    use_upper: Int64s
    use_begin: Int64s
    use_end: Int64s
    rule_first: Int64s
    rule_second: Int64s
    rule_shared: Int64s
    rule_rows: Int64s
    forbidden_low: Int64s
    forbidden_high: Int64s


def _int64_array(name: str, values: ArrayLike) -> Int64s:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not {array.ndim}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, not {array.dtype}")
    if array.size and array.dtype == np.uint64 and array.max() >= LIMIT:
        raise ValueError(f"{name} holds {int(array.max()):,}, too large for 62 bits")
    return np.ascontiguousarray(array, dtype=np.int64)


def _first(offending: NDArray[np.bool_]) -> int | None:
    where = np.flatnonzero(offending)
    return int(where[0]) if where.size else None


def _require_one_length(what: str, arrays: dict[str, Int64s]) -> None:
    if len({len(values) for values in arrays.values()}) != 1:
        found = ", ".join(f"{name} {len(values):,}" for name, values in arrays.items())
        raise ValueError(f"the arrays of {what} must have one length; found {found}")


def checked_arrays(problem: OffsetProblem) -> OffsetArrays:
    """Return the problem's arrays, or say what is wrong with them.

    Raises
    ------
    ValueError
        When the arrays differ in length, a lifetime is empty, a size or an alignment is not
        positive, a fixed offset is neither -1 nor a multiple of its alignment, a use is not inside
        its buffer, a buffer has none, a pair rule names no two buffers, or two that have a rule
        already, its intervals are not ascending and disjoint, the capacity is negative, or numbers
        are too large for sums of 62 bits.
    """
    buffers = {
        "lower": _int64_array("lower", problem.lower),
        "upper": _int64_array("upper", problem.upper),
        "size": _int64_array("size", problem.size),
        "alignment": _int64_array("alignment", problem.alignment),
    }
    if problem.fixed is not None:
        buffers["fixed"] = _int64_array("fixed", problem.fixed)
    _require_one_length("an offset problem", buffers)
    lower, upper, size, alignment = (buffers[k] for k in ("lower", "upper", "size", "alignment"))
    fixed = buffers.get("fixed", np.empty(0, dtype=np.int64))
    for name, times in (("lower", lower), ("upper", upper)):
        if (v := _first((times >= LIMIT) | (times <= -LIMIT))) is not None:
            raise ValueError(f"buffer {v}: {name} = {times[v]:,} is too large for 62 bits")
    if (v := _first(lower >= upper)) is not None:
        raise ValueError(f"buffer {v}: the lifetime [{lower[v]:,}, {upper[v]:,}) is empty")
    if (v := _first(size <= 0)) is not None:
        raise ValueError(f"buffer {v}: size {size[v]:,} is not positive")
    if (v := _first(alignment <= 0)) is not None:
        raise ValueError(f"buffer {v}: alignment {alignment[v]:,} is not positive")
    if (v := _first(fixed < -1)) is not None:
        raise ValueError(f"buffer {v}: fixed offset {fixed[v]:,} is neither -1 nor an offset")
    if (v := _first((fixed >= 0) & (fixed % alignment[: len(fixed)] != 0))) is not None:
        raise ValueError(
            f"buffer {v}: fixed offset {fixed[v]:,} is not a multiple of its alignment "
            f"{alignment[v]:,}"
        )
    uses = _checked_uses(problem, lower, upper, size)
    rules = _checked_rules(problem.pair_rules, len(size))
    if (total := largest_sum(problem)) >= LIMIT:
        raise ValueError(
            "sizes, alignments, the highest fixed offset and the differences that pair rules "
            f"forbid add up to {total:,} bytes; the solvers count in 62 bits"
        )
    if problem.capacity is not None and problem.capacity < 0:
        raise ValueError(f"capacity {problem.capacity:,} is negative")
    return OffsetArrays(lower, upper, size, alignment, fixed, *uses, *rules)


def largest_sum(problem: OffsetProblem) -> int:
    """Return what no sum that the kernels form exceeds, as a Python integer, which cannot wrap."""
    total = sum(problem.size.tolist()) + sum(problem.alignment.tolist())
    if problem.fixed is not None:
        total += max(problem.fixed.tolist(), default=0)
    return total + sum(
        max((max(abs(low), abs(high)) for low, high in rule.forbidden), default=0)
        for rule in problem.pair_rules
    )


def native_instance(problem: OffsetProblem) -> _native.OffsetInstance:
    """Return the problem in the kernels' terms.

    Raises
    ------
    ValueError
        As for `checked_arrays`.
    """
    return _native.offset_instance(**checked_arrays(problem)._asdict())


def _checked_uses(
    problem: OffsetProblem, lower: Int64s, upper: Int64s, size: Int64s
) -> tuple[Int64s, ...]:
    if problem.uses is None:
        return (np.empty(0, dtype=np.int64),) * 5
    uses = {
        name: _int64_array(f"uses.{name}", values)
        for name, values in problem.uses._asdict().items()
    }
    _require_one_length("uses", uses)
    buffer, first, end, begin, stop = uses.values()
    if (k := _first((buffer < 0) | (buffer >= len(size)))) is not None:
        raise ValueError(f"use {k}: there is no buffer {buffer[k]:,}")
    if (k := _first(buffer[1:] < buffer[:-1])) is not None:
        raise ValueError(f"use {k + 1} of buffer {buffer[k + 1]} follows one of {buffer[k]}")
    counts = np.bincount(buffer, minlength=len(size))
    if (v := _first(counts == 0)) is not None:
        raise ValueError(f"buffer {v} has no use")
    if (k := _first((first >= end) | (first < lower[buffer]) | (end > upper[buffer]))) is not None:
        v = buffer[k]
        raise ValueError(
            f"use {k}: the times [{first[k]:,}, {end[k]:,}) are empty or not inside the lifetime "
            f"[{lower[v]:,}, {upper[v]:,}) of buffer {v}"
        )
    if (k := _first((begin >= stop) | (begin < 0) | (stop > size[buffer]))) is not None:
        v = buffer[k]
        raise ValueError(
            f"use {k}: the bytes [{begin[k]:,}, {stop[k]:,}) are empty or not inside the "
            f"{size[v]:,} of buffer {v}"
        )
    rows = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return rows, first, end, begin, stop


def _checked_rules(rules: tuple[PairRule, ...], buffers: int) -> tuple[Int64s, ...]:
    seen: set[tuple[int, int]] = set()
    for r, (first, second, forbidden, shared) in enumerate(rules):
        for v in (first, second):
            if not 0 <= v < buffers:
                raise ValueError(f"pair rule {r}: there is no buffer {v:,}")
        if first == second:
            raise ValueError(f"pair rule {r} names buffer {first} twice")
        pair = (min(first, second), max(first, second))
        if pair in seen:
            raise ValueError(f"pair rule {r} is the second for buffers {first} and {second}")
        seen.add(pair)
        if not 0 <= shared < LIMIT:
            raise ValueError(f"pair rule {r}: {shared:,} shared bytes are not between 0 and 2^62")
        last = -LIMIT
        for low, high in forbidden:
            if not last <= low < high < LIMIT:
                raise ValueError(
                    f"pair rule {r}: the interval ({low:,}, {high:,}) is empty, not above the one "
                    "before it, or too large for 62 bits"
                )
            last = high
    if not rules:
        return (np.empty(0, dtype=np.int64),) * 6
    intervals = [interval for rule in rules for interval in rule.forbidden]
    rows = np.cumsum([0, *(len(rule.forbidden) for rule in rules)])
    return tuple(
        np.array(values, dtype=np.int64)
        for values in (
            [rule.first for rule in rules],
            [rule.second for rule in rules],
            [rule.shared for rule in rules],
            rows,
            [low for low, _ in intervals],
            [high for _, high in intervals],
        )
    )
