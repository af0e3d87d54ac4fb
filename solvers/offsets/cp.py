"""Solver ``cp``: rectangles that do not overlap, by constraint programming (CP-SAT)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.problem import Outcome, Status
from solvers.cp_sat import add_one_of, new_solver, solve_until
from solvers.milp.highs import ortools_available
from solvers.offsets.incumbent import Incumbent, smallest_height
from solvers.offsets.pairs import coarsest_grid, conflicting_pairs, count_overlaps
from solvers.offsets.rectangles import (
    disjoint_rectangles,
    permissive_rules,
    strict_groups,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from planner.problem import OffsetProblem, OffsetSolution
    from solvers import SharedBest
    from solvers.offsets.pairs import Pairs
    from solvers.offsets.rectangles import Rectangles
    from solvers.protocol import Availability, Deadline

MOST_BUFFERS = 2_000
MOST_PAIRS = 200_000
# Differences that no common rectangle constraint covers are one constraint each.
MOST_SINGLE_PAIRS = 20_000
# CP-SAT wants every sum well inside 64 bits.
MOST_UNITS = 2**40
# Presolve has claimed false proofs of other models with coefficients beyond this.
MOST_PRESOLVED_UNITS = 2**30
# Stopping takes a moment.
OVERRUN_S = 0.05
# A run is started anew below a packing that another solver found once it is this old, or twice as
# old as the one before.
FIRST_RUN_S = 1.0


class CpOffsets:
    """Rectangles of fixed time and variable offset that do not overlap, by CP-SAT.

    ``no_overlap_2d`` over all uses, and a redundant ``cumulative`` of the bytes in use with the
    height as its limit. Buffers that may overlap by a pair rule are in different groups of
    rectangles, and their differences are restricted one by one.
    """

    name = "cp"

    def available(self) -> Availability:
        """Needs ortools."""
        return ortools_available()

    def unsupported(self, problem: OffsetProblem) -> str:
        """Say why the problem is too large, or nothing."""
        count = len(problem.size)
        if count > MOST_BUFFERS:
            return f"there are {count:,} buffers; CP-SAT takes {MOST_BUFFERS:,}"
        overlaps = count_overlaps(problem)
        if overlaps > MOST_PAIRS:
            return f"up to {overlaps:,} pairs of buffers conflict; CP-SAT takes {MOST_PAIRS:,}"
        form = _Form.of(problem, conflicting_pairs(problem))
        if len(form.singles) > MOST_SINGLE_PAIRS:
            return (
                f"{len(form.singles):,} pairs of buffers have to be kept apart one by one; CP-SAT "
                f"takes {MOST_SINGLE_PAIRS:,}"
            )
        return form.too_high(smallest_height(problem))

    def solve(
        self,
        problem: OffsetProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: OffsetSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
        shared: SharedBest | None = None,
    ) -> Outcome[OffsetSolution]:
        """Solve, or hand back the best by the deadline.

        Alone, the same problem and seed give the same packing, unless the deadline cut in.
        """
        reason = self.unsupported(problem)
        if reason:
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        pairs = conflicting_pairs(problem)
        best = Incumbent(self.name, problem, pairs, shared, on_progress)
        best.begin(incumbent, deadline)
        form = _Form.of(problem, pairs)
        statistics: dict[str, Any] = {"runs": 0, "cpu_s": 0.0, "branches": 0, "conflicts": 0}
        patience_s = FIRST_RUN_S
        while not best.is_settled() and deadline.remaining_s() > OVERRUN_S:
            if reason := form.too_high(best.ceiling):
                statistics["stopped"] = reason
                break
            try:
                run = _Run(problem, pairs, form, best, seed, restarts=shared is not None)
            except ImportError as error:
                statistics["stopped"] = f"ortools cannot be loaded: {error}"
                break
            run.go(deadline, patience_s)
            statistics["runs"] += 1
            for name, value in run.statistics().items():
                statistics[name] += value
            if not run.outdated:
                break
            patience_s *= 2
        return best.outcome(**statistics)


class _Form(NamedTuple):
    """What the model consists of, whatever the height.

    Attributes
    ----------
    unit : int
        Bytes.
    step : int64 array of shape [buffers]
        Offsets are multiples of it, in units.
    roof : int
        Rectangles end at multiples of it, in units, though buffers may end below.
    rectangles : Rectangles
        In units.
    groups : list of set of int
        Buffers whose rectangles do not overlap.
    singles : list of int
        Pairs to restrict one by one.
    """

    unit: int
    step: NDArray[np.int64]
    roof: int
    rectangles: Rectangles
    groups: list[set[int]]
    singles: list[int]

    @classmethod
    def of(cls, problem: OffsetProblem, pairs: Pairs) -> _Form:
        rectangles = disjoint_rectangles(problem)
        permissive = permissive_rules(problem)
        groups = strict_groups(len(problem.size), permissive)
        ruled = {(min(r.first, r.second), max(r.first, r.second)) for r in problem.pair_rules}
        singles = []
        if ruled:
            singles = [
                pair
                for pair, (u, v) in enumerate(
                    zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
                )
                if (u, v) in ruled or not any(u in group and v in group for group in groups)
            ]
        single = np.isin(pairs.owner, singles)
        grid = coarsest_grid(
            problem, (rectangles.begin, rectangles.end, pairs.low[single], pairs.high[single])
        )
        unit = math.gcd(grid.unit, *problem.size.tolist())
        return cls(
            unit,
            grid.step * (grid.unit // unit),
            grid.unit // unit,
            rectangles._replace(begin=rectangles.begin // unit, end=rectangles.end // unit),
            groups,
            singles,
        )

    def too_high(self, height: int) -> str:
        """Say why a model up to a height is beyond CP-SAT, or nothing."""
        if height // self.unit > MOST_UNITS:
            return (
                f"its height is {height // self.unit:,} units of {self.unit:,} bytes or more; "
                f"CP-SAT takes {MOST_UNITS:,}"
            )
        return ""


class _Run:
    """One model with one limit on the height, solved once."""

    def __init__(
        self,
        problem: OffsetProblem,
        pairs: Pairs,
        form: _Form,
        best: Incumbent,
        seed: int,
        *,
        restarts: bool,
    ) -> None:
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self._best = best
        self._form = form
        self._minimise = problem.capacity is None
        self._ceiling = self._reached = best.ceiling
        self._size = problem.size
        self._restarts = restarts
        self.outdated = False
        self._model = cp_model.CpModel()
        self._offsets: list[Any] = []
        self.variables: list[Any] = []
        self._feasible = self._build(problem, pairs)
        # The other core is the native search's.
        small = self._ceiling // form.unit <= MOST_PRESOLVED_UNITS
        self._solver = new_solver(seed, presolve=small and not form.singles)
        # Without these two MiniMalloc's instances A and C are never solved, with them now and then.
        self._solver.parameters.use_area_energetic_reasoning_in_no_overlap_2d = True
        self._solver.parameters.use_energetic_reasoning_in_no_overlap_2d = True
        self._cpu_s = 0.0

    def _build(self, problem: OffsetProblem, pairs: Pairs) -> bool:
        """Add everything; False if the bounds alone leave nothing."""
        model, form = self._model, self._form
        top = self._ceiling // form.unit
        bound = -(-self._best.bound // form.unit)
        size = (problem.size // form.unit).tolist()
        if bound > top or max(size) > top:
            return False
        self._height = model.new_int_var(bound, top, "height")
        for v, step in enumerate(form.step.tolist()):
            if problem.fixed is not None and problem.fixed[v] >= 0:
                fixed = int(problem.fixed[v]) // form.unit
                if fixed + size[v] > top:
                    return False
                variable = model.new_constant(fixed // step)
            else:
                variable = model.new_int_var(0, (top - size[v]) // step, f"offset_{v}")
            self.variables.append(variable)
            self._offsets.append(step * variable)
            model.add(step * variable + size[v] <= self._height)
        self._add_rectangles(top)
        self._add_singles(pairs, top)
        if self._minimise:
            model.minimize(self._height)
        if self._best.offsets is not None:
            for v, offset in enumerate((self._best.offsets // form.unit).tolist()):
                if problem.fixed is None or problem.fixed[v] < 0:
                    model.add_hint(self.variables[v], offset // int(form.step[v]))
        return True

    def _add_rectangles(self, top: int) -> None:
        model, form = self._model, self._form
        roof = self._height
        if form.roof > 1:
            # The topmost buffer may go without its padding, the rectangles may not.
            multiple = model.new_int_var(0, -(-top // form.roof), "roof")
            roof = form.roof * multiple
            model.add(roof >= self._height)
            model.add(roof <= self._height + form.roof - 1)
        columns = [values.tolist() for values in form.rectangles]
        times, addresses, demands = [], [], []
        for v, lower, upper, begin, end in zip(*columns, strict=True):
            times.append(model.new_fixed_size_interval_var(lower, upper - lower, ""))
            start = self._offsets[v] + begin
            addresses.append(model.new_fixed_size_interval_var(start, end - begin, ""))
            demands.append(end - begin)
        for group in form.groups:
            chosen = [i for i, v in enumerate(columns[0]) if v in group]
            model.add_no_overlap_2d([times[i] for i in chosen], [addresses[i] for i in chosen])
            model.add_cumulative([times[i] for i in chosen], [demands[i] for i in chosen], roof)

    def _add_singles(self, pairs: Pairs, top: int) -> None:
        unit = self._form.unit
        for pair in self._form.singles:
            span = slice(int(pairs.start[pair]), int(pairs.start[pair + 1]))
            low, high = (pairs.low[span] // unit).tolist(), (pairs.high[span] // unit).tolist()
            difference = self._offsets[pairs.second[pair]] - self._offsets[pairs.first[pair]]
            add_one_of(self._model, difference, zip([-top, *high], [*low, top], strict=True))

    def go(self, deadline: Deadline, patience_s: float) -> None:
        """Solve, and watch the deadline, Ctrl-C and the other solvers."""
        if not self._feasible:
            self._best.offer_bound(self._ceiling + 1)
            return
        patient_until = time.monotonic() + patience_s

        def stop() -> bool:
            self._best.exchange()
            if self._restarts and time.monotonic() > patient_until:
                self.outdated = self.outdated or self._best.ceiling < self._reached
            return self._best.is_settled() or self.outdated

        self._solver.best_bound_callback = self._take_bound
        status, self._cpu_s = solve_until(
            self._solver,
            self._model,
            deadline.within(deadline.remaining_s() - OVERRUN_S),
            stop=stop,
            callback=self._callback(),
        )
        if status == self._cp.INFEASIBLE:
            self._best.offer_bound(self._ceiling + 1)
        elif status == self._cp.OPTIMAL and self._minimise:
            self._best.offer_bound(round(self._solver.objective_value) * self._form.unit)

    def _take_bound(self, bound: float) -> None:
        if self._minimise and math.isfinite(bound):
            self._best.offer_bound(math.ceil(bound - 1e-6) * self._form.unit)

    def _callback(self) -> Any:
        """Return what CP-SAT calls with every solution."""
        run = self

        class Publish(self._cp.CpSolverSolutionCallback):
            def on_solution_callback(self) -> None:
                run.take([self.value(variable) for variable in run.variables])

        return Publish()

    def take(self, values: list[int]) -> None:
        """Take the offsets of a solution, in steps."""
        offsets = np.array(values, dtype=np.int64) * self._form.step * self._form.unit
        self._best.offer(offsets)
        height = int((offsets + self._size).max())
        self._reached = min(self._reached, height - 1)

    def statistics(self) -> dict[str, float]:
        """Return what the run has cost."""
        if not self._feasible:
            return {}
        return {
            "cpu_s": self._cpu_s,
            "branches": self._solver.num_branches,
            "conflicts": self._solver.num_conflicts,
        }
