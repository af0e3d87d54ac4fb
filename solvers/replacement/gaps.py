"""Gap selection: which gaps between two uses a storage spends elsewhere, as a MIP (HiGHS).

A gap is either kept or dropped as a whole: keeping a part of it costs the same traffic and more
space. The model is a relaxation of the whole problem, moves included: whatever the addresses, a
storage that is absent during any step of a gap is read back once for that gap, and whatever is
resident occupies its bytes. Conflicts between addresses enter as cuts, see `benders.py`.
"""

from __future__ import annotations

import datetime
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.replacement.capacity_rows import add_capacity_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from solvers.protocol import Deadline
    from solvers.replacement.demand import Demand

# The objective is scaled down to coefficients of about this size: larger ones hurt HiGHS.
LARGEST_COEFFICIENT = 1e6
# Relative error allowed for in a floating point bound.
BOUND_TOLERANCE = 1e-9
# MathOpt's HiGHS cannot be interrupted. It starts with this limit, and each later one doubles,
# so a cancelled solve ends after at most about the time it has already taken.
FIRST_LIMIT_S = 2.0


class Gap(NamedTuple):
    """``storage`` is not used in steps ``before + 1 .. after - 1``, but at both ends."""

    storage: int
    before: int
    after: int


class Cut(NamedTuple):
    """At least one of these gaps is dropped, or a storage moves more often than stated.

    Attributes
    ----------
    gaps : tuple of int
        Indices of gaps.
    moves : mapping of int to int
        Per storage, the number of moves that does not suffice.
    """

    gaps: tuple[int, ...]
    moves: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Selection:
    """What the model chose.

    Attributes
    ----------
    dropped : frozenset of int
        Indices of gaps.
    moves : dict of int to int
        Number of moves per storage that moves.
    traffic_bytes : int
        Exact.
    """

    dropped: frozenset[int]
    moves: dict[int, int]
    traffic_bytes: int


class Answer(NamedTuple):
    """The model's best selection, None without one, and a bound on the value of any."""

    selection: Selection | None
    bound: int


def find_gaps(demand: Demand) -> list[Gap]:
    """All gaps, by storage and time. Uses in consecutive steps have none between them."""
    return [
        Gap(storage, before, after)
        for storage, uses in enumerate(demand.uses)
        for before, after in itertools.pairwise(uses)
        if after - before > 1
    ]


def deficits(demand: Demand, gaps: Sequence[Gap], fraction: float = 1.0) -> np.ndarray:
    """Rounded bytes per step that exceed the limits if every gap is kept (int64 [steps])."""
    change = np.zeros(demand.steps + 1, dtype=np.int64)
    for gap in gaps:
        change[gap.before + 1] += demand.rounded[gap.storage]
        change[gap.after] -= demand.rounded[gap.storage]
    live = np.cumsum(change[:-1]) + np.array(demand.footprint, dtype=np.int64)
    return live - np.array(demand.limits(fraction), dtype=np.int64)


def selection_traffic(
    demand: Demand, gaps: Sequence[Gap], dropped: Iterable[int], moves: Mapping[int, int]
) -> int:
    """Bytes read and written for dropped gaps and moves."""
    reads: dict[int, int] = dict(moves)
    for gap in dropped:
        storage = gaps[gap].storage
        reads[storage] = reads.get(storage, 0) + 1
    return sum(
        demand.size[storage] * (count + (not demand.has_copy[storage]))
        for storage, count in reads.items()
        if count
    )


class GapModel:
    """The MIP: binaries for dropped gaps, one row per overfull step, cuts added over time.

    With a fraction below 1 it leaves slack for the packer, and its bound means nothing.
    """

    def __init__(self, demand: Demand, gaps: Sequence[Gap], fraction: float = 1.0) -> None:
        from ortools.math_opt.python import mathopt

        self._mathopt = mathopt
        self._demand = demand
        self._gaps = gaps
        self._model = mathopt.Model()
        self._dropped = [self._model.add_binary_variable() for _ in gaps]
        self._written: dict[int, mathopt.Variable] = {}
        self._moves: dict[int, list[mathopt.Variable]] = {}
        sizes = [demand.size[storage] for storage, uses in enumerate(demand.uses) if uses]
        self._exact_unit = math.gcd(*sizes)
        self._unit = max(self._exact_unit, max(sizes) / LARGEST_COEFFICIENT)
        self._limit_s = FIRST_LIMIT_S
        self._objective = []
        for gap, variable in zip(gaps, self._dropped, strict=True):
            self._pays_for(gap.storage, variable)
        self._deficit = deficits(demand, gaps, fraction)
        self._add_capacity_rows()
        self._model.minimize(mathopt.fast_sum(self._objective))

    def _pays_for(self, storage: int, leaves) -> None:
        """Charge one read for a binary, and the storage's write if it is the first to leave."""
        cost = self._demand.size[storage] / self._unit
        self._objective.append(cost * leaves)
        if not self._demand.has_copy[storage]:
            if storage not in self._written:
                self._written[storage] = self._model.add_variable(lb=0.0, ub=1.0)
                self._objective.append(cost * self._written[storage])
            self._model.add_linear_constraint(self._written[storage] >= leaves)

    def _add_capacity_rows(self) -> None:
        """Demand that dropped gaps make up each step's deficit, in exact integer units."""
        if not self._gaps:
            return
        unit = math.gcd(*(self._demand.rounded[gap.storage] for gap in self._gaps))
        units = [self._demand.rounded[gap.storage] // unit for gap in self._gaps]
        add_capacity_rows(self._model, self._gaps, self._dropped, units, -(-self._deficit // unit))

    def add(self, cut: Cut) -> None:
        """Add a cut; a move beyond those it names is charged like one more read."""
        terms = [self._dropped[gap] for gap in cut.gaps]
        for storage, insufficient in sorted(cut.moves.items()):
            moves = self._moves.setdefault(storage, [])
            while len(moves) <= insufficient:
                move = self._model.add_binary_variable()
                self._pays_for(storage, move)
                if moves:
                    self._model.add_linear_constraint(moves[-1] >= move)
                moves.append(move)
            terms.append(moves[insufficient])
        self._model.add_linear_constraint(lb=1.0, expr=self._mathopt.fast_sum(terms))
        self._model.minimize(self._mathopt.fast_sum(self._objective))

    def solve(self, deadline: Deadline) -> Answer:
        """Solve until proven optimal or the deadline; exact rows are checked in integers."""
        mathopt = self._mathopt
        selection: Selection | None = None
        hint = []
        bound = 0
        while not deadline.expired():
            limit = min(self._limit_s, deadline.remaining_s())
            result = mathopt.solve(
                self._model,
                mathopt.SolverType.HIGHS,
                params=mathopt.SolveParameters(
                    time_limit=datetime.timedelta(seconds=limit), relative_gap_tolerance=0.0
                ),
                model_params=mathopt.ModelSolveParameters(solution_hints=hint),
            )
            proven = result.termination.reason == mathopt.TerminationReason.OPTIMAL
            bound = max(bound, self._bytes_bound(result.dual_bound()))
            if result.has_primal_feasible_solution():
                values = result.variable_values()
                hint = [mathopt.SolutionHint(variable_values=values)]
                found = self._read(values)
                overfull = self._overfull_after(found)
                if overfull is not None:
                    self.add(overfull)
                    continue
                selection = found
            elif result.termination.reason == mathopt.TerminationReason.INFEASIBLE:
                break
            if proven:
                break
            self._limit_s *= 2
        return Answer(selection, bound)

    def _read(self, values: Mapping) -> Selection:
        dropped = frozenset(i for i, d in enumerate(self._dropped) if values[d] > 0.5)
        moves = {
            storage: sum(values[move] > 0.5 for move in moves)
            for storage, moves in self._moves.items()
        }
        moves = {storage: count for storage, count in moves.items() if count}
        traffic = selection_traffic(self._demand, self._gaps, dropped, moves)
        return Selection(dropped, moves, traffic)

    def _overfull_after(self, selection: Selection) -> Cut | None:
        """Return a cut for the fullest step that the selection leaves overfull, None if none."""
        change = np.zeros(self._demand.steps + 1, dtype=np.int64)
        for i in selection.dropped:
            gap = self._gaps[i]
            change[gap.before + 1] += self._demand.rounded[gap.storage]
            change[gap.after] -= self._demand.rounded[gap.storage]
        left = self._deficit - np.cumsum(change[:-1])
        step = int(left.argmax())
        if left[step] <= 0:
            return None
        kept = (
            i
            for i, gap in enumerate(self._gaps)
            if gap.before < step < gap.after and i not in selection.dropped
        )
        return Cut(tuple(kept), {})

    def _bytes_bound(self, bound: float) -> int:
        """Round a floating point bound up to a value that traffic can have."""
        if not math.isfinite(bound) or bound <= 0.0:
            return 0
        exact = bound * self._unit / self._exact_unit
        return math.ceil(exact - max(1e-6, BOUND_TOLERANCE * exact)) * self._exact_unit
