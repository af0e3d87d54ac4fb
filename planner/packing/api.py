"""The call that packs buffers, and the forms in which it takes them."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, TypeVar

from planner.errors import UsageError
from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    PackingProblem,
    Separation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.packing.result import PackResult

Stated = TypeVar("Stated", MemorySpace, Colocation, Separation, Overlap)
_NUMBERS = {"capacity", "alignment", "distance", "extent"}


def pack(
    buffers: Any,
    capacity: int | None = None,
    *,
    alignment: int = 1,
    memories: Sequence[MemorySpace] | None = None,
    colocations: Sequence[Colocation] = (),
    separations: Sequence[Separation] = (),
    overlaps: Sequence[Overlap] = (),
    solvers: Sequence[str] | None = None,
    time_limit: float = 30.0,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> PackResult:
    """Give buffers with known lifetimes their offsets, as low as possible or within a capacity.

    Parameters
    ----------
    buffers : path, PackingProblem, iterable of Buffer, or of (lower, upper, size)
        A file in one of the formats of `frontends.buffers.load_buffers`; a whole problem; buffers;
        or the lifetimes ``[lower, upper)`` and sizes of buffers b0, b1, ..., also as an integer
        array of shape [buffers, 3].
    capacity : int or None
        Bytes of the one memory; any height within it will do. None for the lowest height.
    alignment : int
        Every offset is a multiple of it, and of its buffer's own.
    memories : sequence of MemorySpace or None
        Several memories, with their own capacities and alignments, in place of the two above.
    colocations, separations, overlaps : sequences
        Who must share bytes, who must not, and who may.
    solvers : sequence of str or None
        Names that ``plan solvers`` lists for offsets. Default: greedy, exact, and
        cp or, for larger problems, local.
    time_limit : float
        Seconds. The best packing by then is returned.
    seed : int
    on_progress : callable
        Receives one line per improvement.

    Returns
    -------
    PackResult

    Raises
    ------
    DoesNotFitError
        If no packing within the capacities was found; ``proven`` if there is none.
    UsageError
        If an argument is malformed, or what is asked of the buffers contradicts itself.
    BadFileError
        If the file is missing or malformed.

    Examples
    --------
    >>> import planner
    >>> result = planner.pack([(0, 3, 4096), (1, 5, 1024)])
    >>> result.height_bytes, result.status.value
    (5120, 'optimal')
    """
    from planner.packing.misfit import misfit
    from planner.packing.race import race

    if not isinstance(time_limit, (int, float)) or not 0 < time_limit < math.inf:
        raise UsageError(f"a time limit of {time_limit!r:.40} s: must be positive and finite.")
    if isinstance(solvers, str):
        raise UsageError(f"solvers is the text {solvers!r:.40}. Give a list of names.")
    problem = packing_problem(
        buffers,
        capacity,
        alignment=alignment,
        memories=memories,
        colocations=colocations,
        separations=separations,
        overlaps=overlaps,
    )
    result = race(
        problem, time_limit=time_limit, seed=seed, solvers=solvers, on_progress=on_progress
    )
    if result.packing is None:
        raise misfit(result, time_limit)
    return result


def packing_problem(
    buffers: Any,
    capacity: int | None = None,
    *,
    alignment: int = 1,
    memories: Sequence[MemorySpace] | None = None,
    colocations: Sequence[Colocation] = (),
    separations: Sequence[Separation] = (),
    overlaps: Sequence[Overlap] = (),
) -> PackingProblem:
    """Read the arguments of `pack` as one problem.

    Raises
    ------
    UsageError, BadFileError
        As for `pack`.
    """
    stated = bool(colocations or separations or overlaps or memories is not None)
    capacity = None if capacity is None else _whole_number("the capacity", capacity)
    alignment = _whole_number("the alignment", alignment)
    if isinstance(buffers, (str, os.PathLike)):
        from frontends.buffers import load_buffers

        whole = load_buffers(buffers, capacity=capacity, alignment=alignment)
    elif isinstance(buffers, PackingProblem):
        if capacity is not None or alignment != 1:
            raise UsageError(
                "a PackingProblem has capacities and alignments of its own: give pack no others."
            )
        whole = buffers
    else:
        if memories is not None and (capacity is not None or alignment != 1):
            raise UsageError(
                "memories have capacities and alignments of their own: give pack no others."
            )
        spaces = (MemorySpace(capacity=capacity, alignment=alignment),)
        return PackingProblem(
            _buffers(buffers),
            spaces if memories is None else _each(MemorySpace, memories),
            _each(Colocation, colocations),
            _each(Separation, separations),
            _each(Overlap, overlaps),
        )
    if stated:
        raise UsageError(
            "memories, colocations, separations and overlaps belong to the problem that is given."
        )
    return whole


def _whole_number(what: str, value: Any) -> int:
    try:
        return value.__index__()
    except (AttributeError, TypeError):
        raise UsageError(f"{what} is {value!r:.80}, no whole number.") from None


def _each(kind: type[Stated], entries: Any) -> tuple[Stated, ...]:
    """Take entries that are of a kind, their numbers as plain integers."""
    taken: list[Stated] = []
    for entry in entries:
        if not isinstance(entry, kind):
            raise UsageError(f"{entry!r:.80} is no {kind.__name__}.")
        numbers = {
            name: _whole_number(f"the {name} of {entry!r:.80}", value)
            for name, value in entry._asdict().items()
            if name in _NUMBERS and value is not None
        }
        taken.append(entry._replace(**numbers))
    return tuple(taken)


def _buffers(source: Any) -> tuple[Buffer, ...]:
    """Take buffers as they are, and name triples.

    Raises
    ------
    UsageError
        If the source is neither.
    """
    try:
        # Of a numpy array plain integers, which are faster and do not overflow.
        entries = list(source.tolist() if hasattr(source, "tolist") else source)
    except TypeError:
        raise UsageError(
            f"cannot pack a {type(source).__name__}. Give a path, a PackingProblem, Buffers, or "
            "(lower, upper, size) triples."
        ) from None
    return tuple(
        _whole(entry) if isinstance(entry, Buffer) else _triple(entry, index)
        for index, entry in enumerate(entries)
    )


def _whole(buffer: Buffer) -> Buffer:
    """Make plain integers of numpy's, whose sums overflow, and refuse what is no integer."""
    if all(type(value) is int for value in buffer[1:5]) and buffer[5:8] == ((), None, None):
        return buffer
    try:
        lower, upper, size, alignment = (value.__index__() for value in buffer[1:5])
        gaps = tuple(_whole_gap(*gap) for gap in buffer.gaps)
        offset, hint = (
            None if value is None else value.__index__() for value in (buffer.offset, buffer.hint)
        )
    except (AttributeError, TypeError, ValueError):
        raise UsageError(
            f"buffer {buffer.name!r}: lifetime, size, alignment, gaps, offset and hint must be "
            f"whole numbers: {tuple(buffer[1:8])!r:.200}."
        ) from None
    return Buffer(
        buffer.name, lower, upper, size, alignment, gaps, offset, hint, tuple(buffer.memories)
    )


def _whole_gap(lower: int, upper: int, window: tuple[int, int] | None = None) -> Gap:
    if window is not None:
        begin, end = window
        window = begin.__index__(), end.__index__()
    return Gap(lower.__index__(), upper.__index__(), window)


def _triple(entry: Any, index: int) -> Buffer:
    try:
        lower, upper, size = (value.__index__() for value in entry)
    except (TypeError, ValueError, AttributeError):
        raise UsageError(
            f"entry {index:,} is {entry!r:.80}, neither a Buffer nor three whole numbers "
            "(lower, upper, size)."
        ) from None
    return Buffer(f"b{index}", lower, upper, size)
