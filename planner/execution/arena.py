"""One memory as real bytes, and who wrote them.

Bytes that were never written and bytes that were released hold two different poisons, so that the
highest byte ever written can be read off, and a read of either gives nonsense.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.plans import ByteRange

UNTOUCHED = 0xFB
RELEASED = 0xFA
_BASE_ALIGNMENT = 64
_GUARD_BYTES = 4096
_CHUNK_BYTES = 1 << 20


class Arena:
    """``size_bytes`` bytes, poisoned, with guards on both sides.

    Attributes
    ----------
    name : str
    content : uint8 array of shape [size_bytes]
    base : int
        Machine address of byte 0, a multiple of 64.

    Raises
    ------
    MemoryError
        If the machine has less.
    """

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        # Filling it would otherwise end the process where the system promises what it lacks.
        if size_bytes > _machine_bytes():
            raise MemoryError
        whole = np.full(size_bytes + 2 * _GUARD_BYTES + _BASE_ALIGNMENT, UNTOUCHED, dtype=np.uint8)
        start = _GUARD_BYTES + -(whole.ctypes.data + _GUARD_BYTES) % _BASE_ALIGNMENT
        self._whole, self._start = whole, start
        self.content: NDArray[np.uint8] = whole[start : start + size_bytes]
        self.base = whole.ctypes.data + start
        # Disjoint ranges in ascending order: end, who wrote it last, and the storage it was for.
        self._begins: list[int] = []
        self._ranges: list[tuple[int, str, str]] = []

    def holds(self, addresses: ByteRange) -> bool:
        """Whether the addresses lie inside."""
        return addresses.begin >= 0 and addresses.end <= len(self.content)

    def at(self, addresses: ByteRange) -> NDArray[np.uint8]:
        """Bytes at these addresses, without a copy."""
        return self.content[addresses.begin : addresses.end]

    def note_write(self, addresses: ByteRange, writer: str, storage: str) -> None:
        """Remember who wrote, and what for."""
        if addresses.begin >= addresses.end:
            return
        first, last = self._cut(addresses)
        self._begins[first:last] = [addresses.begin]
        self._ranges[first:last] = [(addresses.end, writer, storage)]

    def release(self, addresses: ByteRange, storage: str) -> None:
        """Poison what was written at these addresses: a storage no longer needs them."""
        if addresses.begin >= addresses.end:
            return
        first, last = self._cut(addresses)
        for index in range(first, last):
            end, writer, written_for = self._ranges[index]
            self.content[self._begins[index] : end] = RELEASED
            how = "released" if written_for == storage else f"released with {storage}"
            self._ranges[index] = end, f"{writer}, since {how}", storage

    def writers(self, addresses: ByteRange) -> list[str]:
        """Who wrote these bytes last, by address; nobody for bytes never written."""
        first = bisect_right(self._begins, addresses.begin)
        if first and self._ranges[first - 1][0] > addresses.begin:
            first -= 1
        found: list[str] = []
        while first < len(self._begins) and self._begins[first] < addresses.end:
            found.append(self._ranges[first][1])
            first += 1
        return list(dict.fromkeys(found))

    def written_bytes(self) -> int:
        """Address after the highest byte that was ever written, found by looking at all of them.

        More than the arena's size if the bytes behind it were touched.
        """
        behind = self._whole[self._start :]
        end = len(behind)
        while end > 0:
            begin = max(0, end - _CHUNK_BYTES)
            touched = np.flatnonzero(behind[begin:end] != UNTOUCHED)
            if len(touched):
                return begin + int(touched[-1]) + 1
            end = begin
        return 0

    def is_intact_below(self) -> bool:
        """Whether nobody wrote in front of byte 0."""
        return bool(np.all(self._whole[: self._start] == UNTOUCHED))

    def _cut(self, addresses: ByteRange) -> tuple[int, int]:
        """Split ranges at both ends; return the slice of those inside."""
        for at in addresses:
            index = bisect_right(self._begins, at) - 1
            if index >= 0 and self._begins[index] < at < self._ranges[index][0]:
                end, writer, storage = self._ranges[index]
                self._ranges[index] = at, writer, storage
                self._begins.insert(index + 1, at)
                self._ranges.insert(index + 1, (end, writer, storage))
        first = bisect_right(self._begins, addresses.begin - 1)
        last = bisect_right(self._begins, addresses.end - 1)
        return first, last


def _machine_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not on this system
        return sys.maxsize // 2


def first_difference(
    found: NDArray[np.uint8], expected: NDArray[np.uint8]
) -> tuple[int, int, int] | None:
    """First and last differing byte and their number; None where all are equal."""
    size = len(expected)
    words = size // 8 * 8
    is_equal = bool(np.array_equal(found[words:], expected[words:]))
    if is_equal and words:
        if found.ctypes.data % 8 == 0 and expected.ctypes.data % 8 == 0:
            one, other = found[:words].view(np.uint64), expected[:words].view(np.uint64)
        else:
            one, other = found[:words], expected[:words]
        step = _CHUNK_BYTES // one.itemsize
        is_equal = all(
            np.array_equal(one[at : at + step], other[at : at + step])
            for at in range(0, len(one), step)
        )
    if is_equal:
        return None
    differing = np.flatnonzero(found != expected)
    return int(differing[0]), int(differing[-1]), len(differing)
