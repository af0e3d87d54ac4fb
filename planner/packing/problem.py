"""Buffers with known lifetimes, the memories they may lie in, and who may share bytes with whom."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

# Keeps every sum that solvers form inside 64 bits.
LIMIT = 2**62


class Gap(NamedTuple):
    """Times ``[lower, upper)`` inside a lifetime at which only some of the bytes are in use.

    Attributes
    ----------
    lower, upper : int
    window : (int, int) or None
        The bytes ``[begin, end)`` of the buffer that stay in use; None if none do.
    """

    lower: int
    upper: int
    window: tuple[int, int] | None = None


class Buffer(NamedTuple):
    """Bytes that somebody needs from one time to another, all at one offset in one memory.

    Attributes
    ----------
    name : str
        Unique in its problem.
    lower, upper : int
        Lifetime ``[lower, upper)``.
    size : int
        Bytes, positive.
    alignment : int
        The offset is a multiple of it, and of its memory's alignment.
    gaps : tuple of Gap
        Ascending, disjoint, inside the lifetime.
    offset : int or None
        Fixed offset, None to choose one.
    hint : int or None
        Preferred offset: among equally good packings, those that keep more hints are better.
    memories : tuple of str
        Memories it may lie in, the preferred one first; empty for all of the problem's.
    """

    name: str
    lower: int
    upper: int
    size: int
    alignment: int = 1
    gaps: tuple[Gap, ...] = ()
    offset: int | None = None
    hint: int | None = None
    memories: tuple[str, ...] = ()


class MemorySpace(NamedTuple):
    """An address range from 0 on.

    Attributes
    ----------
    name : str
    capacity : int or None
        Bytes; None without limit.
    alignment : int
        Of every offset in it.
    """

    name: str = "memory"
    capacity: int | None = None
    alignment: int = 1


class Colocation(NamedTuple):
    """``second`` lies ``distance`` bytes above the start of ``first``, in the same memory.

    The two share their bytes: they may overlap while both are alive.
    """

    first: str
    second: str
    distance: int = 0


class Separation(NamedTuple):
    """The two share no byte of a memory, although they are not alive at the same time."""

    first: str
    second: str


class Overlap(NamedTuple):
    """An output may run over the head of an input that its operator reads in step with it.

    While both are alive, up to ``extent`` bytes at the end of ``output`` may lie on the first bytes
    of ``input``: legal is also ``offset(input) >= offset(output) + size(output) - extent``.
    """

    output: str
    input: str
    extent: int


@dataclass(frozen=True)
class PackingProblem:
    """Give every buffer a memory and an offset.

    With one memory without capacity the lowest height is asked for. With a capacity, any height
    within it will do. With several memories all capacities hold, and as few bytes as possible are
    **displaced**: lie in another memory than the first one of their buffer.

    Two buffers in one memory share no byte at a time at which both use it, but for colocations and
    overlaps.

    Raises
    ------
    UsageError
        If a buffer or memory is malformed, a name is given twice or unknown, or the numbers are too
        large for sums of 62 bits.
    """

    buffers: tuple[Buffer, ...]
    memories: tuple[MemorySpace, ...] = (MemorySpace(),)
    colocations: tuple[Colocation, ...] = ()
    separations: tuple[Separation, ...] = ()
    overlaps: tuple[Overlap, ...] = ()

    def __post_init__(self) -> None:
        _require_memories(self.memories)
        if len(self.index) != len(self.buffers):
            counts = Counter(buffer.name for buffer in self.buffers)
            twice = next(name for name, count in counts.items() if count > 1)
            raise UsageError(f"two buffers are named {twice!r}; names must be unique.")
        known = {memory.name for memory in self.memories}
        for buffer in self.buffers:
            if (fault := buffer_fault(buffer)) is not None:
                raise UsageError(f"buffer {buffer.name!r}: {fault}.")
            for memory in buffer.memories:
                if memory not in known:
                    raise UsageError(
                        f"buffer {buffer.name!r} may lie in {memory!r}; the memories are "
                        f"{', '.join(sorted(known))}."
                    )
        total = sum(buffer.size + buffer.alignment for buffer in self.buffers)
        if total >= LIMIT:
            raise UsageError(
                f"sizes and alignments add up to {total:,} bytes; solvers count in 62 bits."
            )
        self._require_known_pairs()

    def _require_known_pairs(self) -> None:
        pairs = [
            *(("colocation", c.first, c.second) for c in self.colocations),
            *(("separation", s.first, s.second) for s in self.separations),
            *(("overlap", o.output, o.input) for o in self.overlaps),
        ]
        for kind, first, second in pairs:
            for name in (first, second):
                if name not in self.index:
                    raise UsageError(f"a {kind} names {name!r}, which is no buffer.")
            if first == second:
                raise UsageError(f"a {kind} names buffer {first!r} twice.")
        for output, _, extent in self.overlaps:
            size = self.buffers[self.index[output]].size
            if not 0 <= extent <= size:
                raise UsageError(
                    f"an overlap lets {extent:,} bytes of {output!r} lie on its input; it has "
                    f"{size:,}."
                )

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Index of each buffer by its name."""
        return {buffer.name: index for index, buffer in enumerate(self.buffers)}

    @cached_property
    def memory_index(self) -> Mapping[str, int]:
        """Index of each memory by its name."""
        return {memory.name: index for index, memory in enumerate(self.memories)}

    def allowed_memories(self, buffer: int) -> tuple[int, ...]:
        """Return the indices of the memories that a buffer may lie in, the preferred one first."""
        names = self.buffers[buffer].memories
        if not names:
            return tuple(range(len(self.memories)))
        return tuple(self.memory_index[name] for name in names)


class Packing(NamedTuple):
    """Where each buffer lies.

    Attributes
    ----------
    memory : int32 array of shape [buffers]
        Index into the problem's memories.
    offset : int64 array of shape [buffers]
    """

    memory: NDArray[np.int32]
    offset: NDArray[np.int64]


def uses(buffer: Buffer) -> list[tuple[int, int, int, int]]:
    """Return ``(lower, upper, begin, end)``: at times [lower, upper) bytes [begin, end) are used.

    Bytes count from the start of the buffer. Without gaps that is one entry.
    """
    rectangles = []
    time = buffer.lower
    for gap in buffer.gaps:
        if time < gap.lower:
            rectangles.append((time, gap.lower, 0, buffer.size))
        if gap.window is not None:
            rectangles.append((gap.lower, gap.upper, *gap.window))
        time = gap.upper
    if time < buffer.upper:
        rectangles.append((time, buffer.upper, 0, buffer.size))
    return rectangles


def combined_alignment(buffer: Buffer, memory: MemorySpace) -> int:
    """Return the alignment of a buffer's offset in a memory."""
    return math.lcm(buffer.alignment, memory.alignment)


def buffer_fault(buffer: Buffer) -> str | None:
    """Say what is wrong with a buffer by itself, or None."""
    name, lower, upper, size, alignment, gaps, offset, hint, memories = buffer
    for field, value in (("lower", lower), ("upper", upper), ("size", size)):
        if not -LIMIT < value < LIMIT:
            return f"{field} {value:,} is too large for 62 bits"
    if not name:
        return "it has an empty name"
    if lower >= upper:
        return f"its lifetime [{lower:,}, {upper:,}) is empty"
    if size <= 0:
        return f"its size {size:,} is not positive"
    if not 0 < alignment < LIMIT:
        return f"its alignment {alignment:,} is not between 1 and 2^62"
    for field, value in (("fixed offset", offset), ("hint", hint)):
        if value is not None and not 0 <= value < LIMIT:
            return f"its {field} {value:,} is not between 0 and 2^62"
    if offset is not None and offset % alignment:
        return f"its fixed offset {offset:,} is not a multiple of its alignment {alignment:,}"
    if len(set(memories)) != len(memories):
        return "it names a memory twice"
    return _gap_fault(lower, upper, size, gaps) if gaps else None


def _gap_fault(lower: int, upper: int, size: int, gaps: tuple[Gap, ...]) -> str | None:
    end = lower
    in_use = False
    for gap in gaps:
        if gap.lower >= gap.upper:
            return f"its gap [{gap.lower:,}, {gap.upper:,}) is empty"
        if gap.lower < end or gap.upper > upper:
            return (
                f"its gap [{gap.lower:,}, {gap.upper:,}) is not inside [{lower:,}, {upper:,}), or "
                "not behind the gap before it"
            )
        if gap.window is not None and not 0 <= gap.window[0] < gap.window[1] <= size:
            return (
                f"the window [{gap.window[0]:,}, {gap.window[1]:,}) of its gap is not inside its "
                f"{size:,} bytes"
            )
        in_use = in_use or gap.lower > end or gap.window is not None
        end = gap.upper
    return None if in_use or end < upper else "its gaps leave nothing of its lifetime"


def _require_memories(memories: tuple[MemorySpace, ...]) -> None:
    if not memories:
        raise UsageError("a packing needs at least one memory.")
    seen: set[str] = set()
    for name, capacity, alignment in memories:
        if not name:
            raise UsageError("a memory has an empty name.")
        if name in seen:
            raise UsageError(f"two memories are named {name!r}; names must be unique.")
        if capacity is not None and not 0 <= capacity < LIMIT:
            raise UsageError(f"memory {name!r}: capacity {capacity:,} is not between 0 and 2^62.")
        if not 0 < alignment < LIMIT:
            raise UsageError(f"memory {name!r}: alignment {alignment:,} is not between 1 and 2^62.")
        seen.add(name)
