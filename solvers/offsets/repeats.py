"""Stretches of a word that occur several times without overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# Stretches that are grown from equal blocks of one length; a training step has two kinds of layer.
SEEDS_OF_A_LENGTH = 6
# Letters that one stretch grows by at most.
MAX_GROWTH = 4096


class Repeat(NamedTuple):
    """Where a stretch occurs.

    Attributes
    ----------
    start : int64 array of shape [occurrences]
        Ascending, at least ``length`` apart.
    length : int
        Letters.
    gain : int
        See `repeated_stretches`.
    """

    start: NDArray[np.int64]
    length: int
    gain: int


def repeated_stretches(
    word: NDArray[np.int64], weight: NDArray[np.int64], stop: Callable[[], bool]
) -> Iterator[Repeat]:
    """Find stretches whose c occurrences of weight m gain something: c (m - 1) > m.

    Equal blocks of 1, 2, 4, ... letters are found by doubling: a block's class is the pair of
    classes of its halves. From the heaviest classes on, all occurrences grow together to the left,
    then to the right, those dropping out that disagree with most others, as long as they do not
    touch; the length with the largest gain is kept. In a periodic stretch they touch when they have
    grown to the period, so one period is found, not several.

    Parameters
    ----------
    word : int64 array of shape [letters]
        Classes from 0 on.
    weight : int64 array of shape [letters]
    stop : callable
        Polled; when true, nothing more is found.

    Yields
    ------
    Repeat
        Some of them, several times perhaps, in no particular order.
    """
    before = np.concatenate([[0], np.cumsum(weight)])
    block, length = word, 1
    while len(block) > 1 and not stop():
        count = np.bincount(block)
        if count.max() < 2:
            return
        by_class = np.argsort(block, kind="stable")
        first = np.concatenate([[0], np.cumsum(count)])
        representative = by_class[np.minimum(first[:-1], len(by_class) - 1)]
        heaviness = (count - 1) * (before[representative + length] - before[representative])
        covered = np.zeros(len(word), dtype=bool)
        seeds = 0
        for heavy in np.argsort(-heaviness, kind="stable").tolist():
            if heaviness[heavy] <= 0 or seeds == SEEDS_OF_A_LENGTH or stop():
                break
            start = by_class[first[heavy] : first[heavy + 1]]
            start = start[~covered[start]]
            if len(start) < 2 or int(np.median(np.diff(start))) < length:
                continue
            seeds += 1
            repeat = _grown(word, before, _apart(start, length), length)
            spread = np.zeros(len(word) + 1, dtype=np.int64)
            spread[repeat.start] += 1
            spread[repeat.start + repeat.length] -= 1
            covered |= np.cumsum(spread[:-1]) > 0
            if repeat.gain > 0:
                yield repeat
        if len(block) <= length:
            return
        pairs = block[:-length] * (int(block.max()) + 1) + block[length:]
        block = np.unique(pairs, return_inverse=True)[1]
        length *= 2


def _apart(start: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Those that do not overlap the last one taken before them."""
    if len(start) < 2 or np.diff(start).min() >= length:
        return start
    taken: list[int] = []
    for position in start.tolist():
        if not taken or position >= taken[-1] + length:
            taken.append(position)
    return np.array(taken, dtype=np.int64)


def _grown(
    word: NDArray[np.int64], before: NDArray[np.int64], start: NDArray[np.int64], length: int
) -> Repeat:
    """Grow all occurrences as long as it gains something."""
    best = Repeat(start, length, _gain(before, start, length))
    for step_left in (1, 0):
        start, length, _ = best
        for _ in range(MAX_GROWTH):
            at = start - 1 if step_left else start + length
            inside = at >= 0 if step_left else at < len(word)
            letters = word[at[inside]]
            if not len(letters):
                break
            # The first of the most frequent letters.
            values, counts = np.unique(letters, return_counts=True)
            agree = inside.copy()
            agree[inside] = letters == values[np.argmax(counts)]
            start, length = start[agree] - step_left, length + 1
            if len(start) < 2 or np.diff(start).min() < length:
                break
            gain = _gain(before, start, length)
            if gain >= best.gain:
                best = Repeat(start, length, gain)
    return best


def _gain(before: NDArray[np.int64], start: NDArray[np.int64], length: int) -> int:
    weight = int(before[start[0] + length] - before[start[0]])
    return len(start) * (weight - 1) - weight
