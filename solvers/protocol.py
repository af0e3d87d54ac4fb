"""What every solver offers, and the deadline that all of them honour."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from solvers import CancelFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import Outcome

ProblemT = TypeVar("ProblemT", contravariant=True)
Solution = TypeVar("Solution")


class Availability(NamedTuple):
    """Whether a solver can run here, and if not, what is missing and how to get it."""

    available: bool
    reason: str = ""


class Deadline:
    """A point in time, and a flag by which another thread asks for an early stop.

    Attributes
    ----------
    cancel : solvers._native.CancelFlag
        Handed to the kernels, which poll it.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.cancel = CancelFlag()

    def remaining_s(self) -> float:
        """Seconds left; 0 when expired or cancelled."""
        if self.cancel.is_set():
            return 0.0
        return max(0.0, self._end - time.monotonic())

    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s() <= 0.0

    def within(self, seconds: float) -> Deadline:
        """Return a deadline at most ``seconds`` from now that shares this one's cancel flag."""
        inner = Deadline(min(seconds, self.remaining_s()))
        inner.cancel = self.cancel
        return inner


class Solver(Protocol[ProblemT, Solution]):
    """One way to solve one class of problem."""

    @property
    def name(self) -> str:
        """Stands in plans and reports."""
        ...

    def available(self) -> Availability:
        """Cheap; never raises; says what is missing."""
        ...

    def solve(
        self,
        problem: ProblemT,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: Solution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[Solution]:
        """Solve, and hand back the best by the deadline. Same inputs and seed, same answer."""
        ...
