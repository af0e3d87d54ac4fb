"""Which plans to try, of many of which only a trial tells the true peak."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST_TRIALS = 12
# Shares of the budget: a plan this close to it is not worth another trial, and one that seems to
# need this much may yet fit.
_CLOSE, _WORTH_TRYING = 0.01, 1.25


def cheapest_that_fits(
    peaks: Sequence[int],
    budget_bytes: int,
    first: int,
    trial: Callable[[int], int],
    *,
    until: float,
) -> int | None:
    """Return the first of several plans whose true peak keeps a budget, as far as trials tell.

    A bisection, in which the next plan is the one that would just fit if its true peak differed
    from the apparent one as the last plan's did. True peaks may rise where apparent ones fall, so
    where the bisection finds none, plans far from those tried are tried.

    Parameters
    ----------
    peaks : sequence of int
        Apparent peaks, falling: the first plan is the cheapest.
    budget_bytes : int
    first : int
        The plan to begin with.
    trial : callable
        Returns a plan's true peak.
    until : float
        Time, by ``time.monotonic``, after which no trial begins but the first and, as long as
        nothing fits, that of the last plan.
    """
    search = _Search(peaks, budget_bytes, trial, until)
    search.bisect(first)
    if search.chosen is None:
        search.spread()
    last = len(peaks) - 1
    if search.chosen is None and last not in search.tried:
        search.spare(last)
    return search.chosen


class _Search:
    def __init__(
        self, peaks: Sequence[int], budget_bytes: int, trial: Callable[[int], int], until: float
    ) -> None:
        self._peaks, self._budget, self._trial, self._until = peaks, budget_bytes, trial, until
        self.tried: set[int] = set()
        self.chosen: int | None = None

    def bisect(self, position: int) -> None:
        """Narrow down where plans begin to fit."""
        missed, kept = -1, len(self._peaks)
        while self._may_try():
            spare = self.spare(position)
            missed, kept = (missed, position) if spare >= 0 else (position, kept)
            if kept - missed <= 1 or 0 <= spare <= _CLOSE * self._budget:
                return
            target = self._peaks[position] + spare
            between = range(missed + 1, kept)
            position = next((i for i in between if self._peaks[i] <= target), between[-1])

    def spread(self) -> None:
        """Try the middle of the widest gap between tried plans, until one fits."""
        promising = _WORTH_TRYING * self._budget
        begin = next((i for i, peak in enumerate(self._peaks) if peak <= promising), None)
        while begin is not None and self.chosen is None and self._may_try():
            marks = sorted({begin - 1, len(self._peaks), *(i for i in self.tried if i >= begin)})
            gap, after = max((b - a, a) for a, b in pairwise(marks))
            if gap < 2:
                return
            self.spare(after + gap // 2)

    def spare(self, position: int) -> int:
        """Try a plan, and return how far below the budget its true peak is."""
        self.tried.add(position)
        spare = self._budget - self._trial(position)
        if spare >= 0 and (self.chosen is None or position < self.chosen):
            self.chosen = position
        return spare

    def _may_try(self) -> bool:
        if not self.tried:
            return True
        return len(self.tried) < _MOST_TRIALS and time.monotonic() < self._until
