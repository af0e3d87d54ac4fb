"""Schedules for other microbatches out of a schedule: some repeated, others left out.

In the middle of a good schedule a pattern repeats every few microbatches. Repeating a good stretch
of it, in place of a bad one or for more microbatches than there were, gives times that passes ought
to start at; list scheduling makes them a schedule again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def resampled_starts(starts: NDArray[np.int64], sources: Sequence[int]) -> NDArray[np.int64]:
    """Return starts of microbatches that imitate those of ``sources``, one after the other.

    Parameters
    ----------
    starts : ndarray, shape (letters, microbatches)
        When each pass starts in a schedule.
    sources : sequence of int
        Per new microbatch, the old one whose passes it has; where that is not the next one after
        the source before it, the times are moved so that it follows as the next one would.

    Returns
    -------
    ndarray, shape (letters, len(sources))
    """
    count = starts.shape[1]
    period = (starts[:, -1] - starts[:, 0]).mean() / max(1, count - 1)
    offset = 0.0
    columns = []
    before = sources[0] - 1
    for source in sources:
        if source != before + 1:
            after = before + 1
            gap = (
                np.median(starts[:, after] - starts[:, source])
                if after < count
                else np.median(starts[:, before] - starts[:, source]) + period
            )
            offset += float(gap)
        columns.append(starts[:, source] + offset)
        before = source
    return np.rint(np.stack(columns, axis=1)).astype(np.int64)


def repeat_stretch(count: int, begin: int, length: int, times: int) -> list[int]:
    """Return ``0..count-1`` with the ``length`` numbers from ``begin`` on ``times`` more times."""
    end = begin + length
    return [*range(end), *(list(range(begin, end)) * times), *range(end, count)]


def drop_stretch(sources: Sequence[int], begin: int, length: int) -> list[int]:
    """Return sources without the ``length`` entries from ``begin`` on."""
    return [*sources[:begin], *sources[begin + length :]]
