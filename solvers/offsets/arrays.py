"""The arrays of an offset problem, checked and in the layout that the kernels take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from planner.problem import OffsetProblem

# Keeps every sum that the kernels form inside 64 bits.
LIMIT = 2**62


class OffsetArrays(NamedTuple):
    """Contiguous int64 arrays of one length; ``fixed`` may be empty instead."""

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    size: NDArray[np.int64]
    alignment: NDArray[np.int64]
    fixed: NDArray[np.int64]


def _int64_array(name: str, values: ArrayLike) -> NDArray[np.int64]:
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


def checked_arrays(problem: OffsetProblem) -> OffsetArrays:
    """Return the problem's arrays, or say what is wrong with them.

    Raises
    ------
    ValueError
        When the arrays differ in length, a lifetime is empty, a size or an alignment is not
        positive, a fixed offset is neither -1 nor a multiple of its alignment, the capacity is
        negative, or numbers are too large for sums of 62 bits.
    """
    arrays = OffsetArrays(
        _int64_array("lower", problem.lower),
        _int64_array("upper", problem.upper),
        _int64_array("size", problem.size),
        _int64_array("alignment", problem.alignment),
        _int64_array("fixed", () if problem.fixed is None else problem.fixed),
    )
    lengths = {name: len(values) for name, values in arrays._asdict().items()}
    if problem.fixed is None:
        del lengths["fixed"]
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise ValueError(f"the arrays of an offset problem must have one length; found {found}")
    for name, times in (("lower", arrays.lower), ("upper", arrays.upper)):
        if (v := _first((times >= LIMIT) | (times <= -LIMIT))) is not None:
            raise ValueError(f"buffer {v}: {name} = {times[v]:,} is too large for 62 bits")
    if (v := _first(arrays.lower >= arrays.upper)) is not None:
        raise ValueError(
            f"buffer {v}: the lifetime [{arrays.lower[v]:,}, {arrays.upper[v]:,}) is empty"
        )
    if (v := _first(arrays.size <= 0)) is not None:
        raise ValueError(f"buffer {v}: size {arrays.size[v]:,} is not positive")
    if (v := _first(arrays.alignment <= 0)) is not None:
        raise ValueError(f"buffer {v}: alignment {arrays.alignment[v]:,} is not positive")
    # In Python integers: the sum that is too large must not wrap around.
    total = sum(arrays.size.tolist()) + sum(arrays.alignment.tolist())
    if total >= LIMIT:
        raise ValueError(
            f"sizes and alignments add up to {total:,} bytes; the solvers count in 62 bits"
        )
    _require_fixed_offsets(arrays, LIMIT - total)
    if problem.capacity is not None and problem.capacity < 0:
        raise ValueError(f"capacity {problem.capacity:,} is negative")
    return arrays


def _require_fixed_offsets(arrays: OffsetArrays, limit: int) -> None:
    fixed = arrays.fixed
    if fixed.size == 0:
        return
    if (v := _first(fixed < -1)) is not None:
        raise ValueError(f"buffer {v}: fixed offset {fixed[v]:,} is neither -1 nor an offset")
    if (v := _first((fixed >= 0) & (fixed % arrays.alignment != 0))) is not None:
        raise ValueError(
            f"buffer {v}: fixed offset {fixed[v]:,} is not a multiple of its alignment "
            f"{arrays.alignment[v]:,}"
        )
    if (v := _first(fixed >= limit)) is not None:
        raise ValueError(
            f"buffer {v}: fixed offset {fixed[v]:,} and all sizes and alignments add up to more "
            "than the 62 bits that the solvers count in"
        )
