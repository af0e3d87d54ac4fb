"""Clauses on which uses of a storage share a stay, for the cheapest levels that meet every cut."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Clause(NamedTuple):
    """Met if a pair of `parted` is not in one stay, or one of `joined` is, or one is absent.

    Attributes
    ----------
    parted, joined : list of (storage, point, point)
        Points are the moments at which the storage has to be resident.
    absent : list of int
        Storages.
    """

    parted: list[tuple[int, int, int]]
    joined: list[tuple[int, int, int]]
    absent: list[int]


class StayModel:
    """Variables of a CP-SAT model for the points that clauses speak of.

    Each point belongs to the stay of the first such point in it; a storage has at most one stay
    more than it has absences.
    """

    def __init__(
        self,
        model: Any,
        clauses: Sequence[Clause],
        shared_stay: Callable[[int, int, int], list[int]],
    ) -> None:
        """Add the points of the clauses.

        Parameters
        ----------
        shared_stay : callable
            Of a storage and two points: all points in one stay with two that are.
        """
        self._model = model
        self._clauses = clauses
        self._pairs: dict[tuple[int, int, int], Any] = {}
        self._first: dict[int, dict[tuple[int, int], Any]] = {}
        touched: dict[int, set[int]] = {}
        for clause in clauses:
            for storage, a, b in (*clause.parted, *clause.joined):
                touched.setdefault(storage, set()).update((a, b))
        for storage, points in sorted(touched.items()):
            self._add_storage(storage, sorted(points))
        for (storage, a, b), same in self._pairs.items():
            for c in shared_stay(storage, a, b):
                if c in touched[storage] and c not in (a, b):
                    model.add_implication(same, self._pairs[storage, min(a, c), max(a, c)])
                    model.add_implication(same, self._pairs[storage, min(b, c), max(b, c)])

    def _add_storage(self, storage: int, points: list[int]) -> None:
        model = self._model
        first = {(a, b): model.new_bool_var("") for b in points for a in points if a <= b}
        self._first[storage] = first
        for b in points:
            model.add_exactly_one(first[a, b] for a in points if a <= b)
            for a in points:
                if a < b:
                    model.add_implication(first[a, b], first[a, a])
        for b, c in combinations(points, 2):
            same = model.new_bool_var("")
            self._pairs[storage, b, c] = same
            for a in points:
                if a <= b:
                    model.add_bool_or([same, ~first[a, b], ~first[a, c]])
                    model.add_bool_or([~same, ~first[a, b], first[a, c]])

    def most_levels(self) -> dict[int, int]:
        """Of each storage with points, the level at which they may all be in different stays."""
        return {
            storage: sum(a == b for a, b in first) - 1 for storage, first in self._first.items()
        }

    def add(self, reached: dict[tuple[int, int], Any]) -> None:
        """Add the clauses; ``reached`` is the literal of a storage and a level."""
        for storage, most in self.most_levels().items():
            stays = sum(v for (a, b), v in self._first[storage].items() if a == b)
            levels = sum(reached[storage, level] for level in range(1, most + 1))
            self._model.add(stays <= levels + 1)
        for clause in self._clauses:
            self._model.add_bool_or(
                [~self._pairs[storage, min(a, b), max(a, b)] for storage, a, b in clause.parted]
                + [self._pairs[storage, min(a, b), max(a, b)] for storage, a, b in clause.joined]
                + [reached[storage, 1] for storage in clause.absent]
            )
