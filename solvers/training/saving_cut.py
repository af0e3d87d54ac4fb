"""The cheapest set of storages to save: a minimum cut between what is read and what is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem

# Capacities are scaled to this total, so that sums stay far from 64 bits.
_SCALE = 10**14


class SavingCuts:
    """Minimum cuts of one step at several prices of a byte.

    A storage that is read in the backward half is saved, at its price, or its producer is
    recomputed, at its duration, and reads in turn. For one price the best choice is a minimum cut;
    over all prices these are the corners of the trade of saved bytes against recomputation.

    Parameters
    ----------
    wanted : storages
        Read in the backward half; `TrainingProblem.boundary` of the step.
    price_bytes : int array of shape [storages]
        What saving a storage counts; its size by rights.
    """

    def __init__(
        self, problem: TrainingProblem, wanted: Iterable[int], price_bytes: NDArray[np.int64]
    ) -> None:
        self.problem = problem
        self.wanted = sorted(set(wanted))
        self.price_bytes = price_bytes
        forward = problem.forward_operators.tolist()
        self.operators = [o for o in forward if problem.recomputable[o]]
        self.producer = problem.producer
        # What only the backward half needs runs once in any case.
        self.cost = np.where(problem.in_forward, problem.duration_ps, 0)
        self.arcs = self._arcs()

    def _arcs(self) -> tuple[NDArray[np.int64], ...]:
        """Return tails, heads, and of which storage or operator the capacity is, else -1."""
        problem = self.problem
        operators, sink, source = len(problem.operator_names), 0, 1
        rows: list[tuple[int, int, int, int]] = []
        forward = ~problem.is_backward
        for operator in problem.forward_operators.tolist():
            node = 2 + operator
            recomputed = operator if problem.recomputable[operator] else -1
            rows.append((node, sink, -1, recomputed))
            for storage in problem.write_rows[operator]:
                rows.append((2 + operators + storage, node, storage, -1))
            for storage in problem.read_rows[operator]:
                maker = int(self.producer[storage])
                if maker >= 0 and forward[maker]:
                    rows.append((node, 2 + operators + storage, -1, -1))
        rows += [(source, 2 + operators + storage, -1, -1) for storage in self.wanted]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
        return tuple(columns)

    def saved(self, ps_per_byte: float) -> frozenset[int]:
        """Return what to save at a price."""
        if not self.wanted:
            return frozenset()
        from ortools.graph.python import max_flow

        problem = self.problem
        tails, heads, storage, operator = self.arcs
        byte_total = ps_per_byte * float(self.price_bytes.sum()) + 1e-9
        scale = _SCALE / (byte_total + float(self.cost.sum()))
        capacity = np.full(len(tails), 2 * _SCALE, dtype=np.int64)
        price = np.rint(self.price_bytes * (ps_per_byte * scale)).astype(np.int64)
        cost = np.rint(self.cost * scale).astype(np.int64)
        capacity[storage >= 0] = price[storage[storage >= 0]]
        capacity[operator >= 0] = cost[operator[operator >= 0]]
        flow = max_flow.SimpleMaxFlow()
        flow.add_arcs_with_capacity(tails, heads, capacity)  # pyright: ignore[reportArgumentType]
        flow.solve(1, 0)
        side = np.zeros(2 + len(problem.operator_names) + len(problem.size_bytes), dtype=np.bool_)
        side[flow.get_source_side_min_cut()] = True
        needed = np.flatnonzero(side[2 + len(problem.operator_names) :])
        made_again = side[2 + self.producer[needed]]
        return frozenset(needed[~made_again].tolist())

    def recomputed(self, saved: Iterable[int]) -> set[int]:
        """Return the operators that have to run again when these storages are saved."""
        saved = set(saved)
        stack = [s for s in self.wanted if s not in saved]
        again: set[int] = set()
        while stack:
            maker = int(self.producer[stack.pop()])
            if maker not in again:
                again.add(maker)
                stack += [s for s in self.problem.read_rows[maker] if s not in saved]
        return again

    def corners(self, most: int) -> list[frozenset[int]]:
        """Return choices along the convex hull, most saved first: at most about ``most``."""
        everything = frozenset(self.wanted)
        least = self.saved(self.dear())
        found = {self._point(everything): everything, self._point(least): least}
        queue = [(self._point(everything), self._point(least))]
        while queue and len(found) < most:
            (many, cheap), (few, dear) = queue.pop(0)
            if many <= few or dear <= cheap:
                continue
            choice = self.saved((dear - cheap) / (many - few))
            middle = self._point(choice)
            if middle not in found:
                found[middle] = choice
                queue += [((many, cheap), middle), (middle, (few, dear))]
        return [found[point] for point in sorted(found, reverse=True)]

    def dear(self) -> float:
        """Return a price at which bytes matter most, and durations still break ties."""
        return 1e5 * float(self.cost.sum() + 1) / max(1.0, float(self.price_bytes.sum()))

    def _point(self, saved: Sequence[int] | frozenset[int]) -> tuple[int, int]:
        again = self.recomputed(saved)
        return int(self.price_bytes[list(saved)].sum()), int(self.cost[list(again)].sum())
