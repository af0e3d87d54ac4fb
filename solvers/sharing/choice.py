"""Choose the operators that do without a copy: those of them that pay.

Sharing makes a storage live from its first part's birth to its last part's death, which may cost
more than the copy. Few candidates are tried in all combinations. Of many, the best of four obvious
choices is improved as long as that pays: what copies is asked to share, all at once, then half by
half; what shares is asked to copy, first those that share a storage together, then one by one.
Equal worth goes to the choice that copies less.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from planner.problem import Objective
from solvers.order.exact import ExactOrder
from solvers.sharing.bound import needed_bytes_problem
from solvers.sharing.worth import Worth, valued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from planner.graph import Graph
    from planner.problem import PlanningProblem
    from planner.sharing import Candidate, Lowerings
    from solvers.protocol import Deadline

# With so many candidates at most, all their subsets are tried.
_ALL_SUBSETS = 6
# What one lowering may take of the time that is left.
_SHARE = 0.25

Request = frozenset[str]


class SharingSearch:
    """A search for the best lowering, which can be asked for the best so far from any thread.

    Parameters
    ----------
    lowerings : Lowerings
    problem_of : callable
        Makes the planning problem of a lowering.

    Attributes
    ----------
    graph : Graph
        The best lowering so far; to begin with the one in which everybody copies.
    peak_bound_bytes : int
        Proven: no choice and no order has a smaller peak without spills.
    copying_bound_bytes : int
        The same if everybody copies.
    """

    def __init__(
        self, lowerings: Lowerings, problem_of: Callable[[Graph], PlanningProblem]
    ) -> None:
        self.graph = lowerings.graph(())
        self.peak_bound_bytes = self.copying_bound_bytes = 0
        self._lowerings = lowerings
        self._problem_of = problem_of
        self._request: Request = frozenset()
        self._worth: Worth | None = None
        self._bounds: dict[Request, int] = {}

    def run(self, *, deadline: Deadline, seed: int) -> None:
        """Search until there is nothing left to try, or no time."""
        candidates = self._lowerings.candidates
        self._bound_all(deadline.within(_SHARE * deadline.remaining_s()), seed)
        if len(candidates) <= _ALL_SUBSETS:
            names = [candidate.name for candidate in candidates]
            subsets = (c for size in range(len(names) + 1) for c in combinations(names, size))
            if self._try_all(map(frozenset, subsets), deadline, seed):
                self.peak_bound_bytes = max(self.peak_bound_bytes, min(self._bounds.values()))
            return
        self._try_all(self._obvious(), deadline, seed)
        groups = self._groups()
        while not deadline.expired():
            before = self._worth
            copying = [c.name for c in candidates if c.name not in self._request]
            self._grow(copying, deadline, seed)
            for group in (*groups, *(frozenset([c.name]) for c in candidates)):
                self._try_all([self._request - group], deadline, seed)
            if self._worth == before:
                break

    def _grow(self, names: Sequence[str], deadline: Deadline, seed: int) -> None:
        """Let these share too; where that does not pay, each half of them."""
        wanted = self._request.union(names)
        self._try_all([wanted], deadline, seed)
        if self._request != wanted and len(names) > 1:
            middle = len(names) // 2
            self._grow(names[:middle], deadline, seed)
            self._grow(names[middle:], deadline, seed)

    def _bound_all(self, deadline: Deadline, seed: int) -> None:
        copying = self._problem_of(self._lowerings.graph(()))
        if copying.objective is Objective.LATENCY or not copying.target.operands_resident:
            return
        needed = needed_bytes_problem(
            copying.graph,
            self._lowerings.candidates,
            in_place=copying.in_place,
            inputs_resident=copying.inputs_resident,
            outputs_resident=copying.inputs_resident,
        )
        if needed is not None:
            outcome = ExactOrder().solve(needed, deadline=deadline, seed=seed)
            self.peak_bound_bytes = outcome.lower_bound or 0

    def _try_all(self, requests: Iterable[Request], deadline: Deadline, seed: int) -> bool:
        """Try one after the other; return whether there was time for all."""
        for request in requests:
            if deadline.expired():
                return False
            self._try(request, deadline.within(_SHARE * deadline.remaining_s()), seed)
        return True

    def _try(self, request: Request, deadline: Deadline, seed: int) -> None:
        graph = self._lowerings.graph(request)
        names = graph.model.zero_copy
        shared: Request = frozenset() if isinstance(names, bool) else frozenset(names)
        if shared in self._bounds:
            return
        # What is not looked into is bounded by what holds for all.
        self._bounds[shared] = self.peak_bound_bytes
        copied = sum(c.copied_bytes for c in self._lowerings.candidates if c.name not in shared)
        best = self._worth
        problem = self._problem_of(graph)
        if best is not None and copied >= best.copied_bytes and self._is_lowest(best, problem):
            return
        value, self._bounds[shared] = valued(
            problem,
            deadline=deadline,
            seed=seed,
            to_beat=None if best is None else best.value,
            strictly=best is not None and copied >= best.copied_bytes,
        )
        if not shared:
            self.copying_bound_bytes = self._bounds[shared]
        if value is not None and (best is None or Worth(value, copied) < best):
            self._worth, self._request, self.graph = Worth(value, copied), request, graph

    def _is_lowest(self, worth: Worth, problem: PlanningProblem) -> bool:
        """Whether nothing but copies can still be saved: peak and arena are as low as possible."""
        unit = problem.target.nearest.alignment_bytes
        lowest = -(-self.peak_bound_bytes // unit) * unit
        return worth.value[0] == 0 and max(worth.value[1:]) <= lowest

    def _obvious(self) -> Iterator[Request]:
        candidates = self._lowerings.candidates
        yield frozenset()
        yield frozenset(c.name for c in candidates)
        yield frozenset(c.name for c in candidates if not c.joins)
        yield frozenset(c.name for c in candidates if c.joins)

    def _groups(self) -> list[Request]:
        """Candidates that share one storage if everybody shares, in the order of the model."""
        candidates = self._lowerings.candidates
        graph = self._lowerings.graph([c.name for c in candidates])
        groups: dict[int, list[Candidate]] = {}
        for candidate in candidates:
            whole = graph.tensors[candidate.parts[0].whole].storage
            groups.setdefault(whole, []).append(candidate)
        return [
            frozenset(c.name for c in members) for members in groups.values() if len(members) > 1
        ]
