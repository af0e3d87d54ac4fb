"""The races of a sweep, and what each of them says about the other capacities.

A plan that fits a memory fits every larger one; so does one whose arena leaves room: it fits every
memory down to its arena. A bound that holds for a memory holds for every smaller one, and so does
a proof that nothing fits. Races run at the largest capacity, at the smallest that can fit, and
then at the middle of what is between, so that plan and bound soon meet over whole stretches.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.api import plan as plan_model
from planner.checker import check
from planner.errors import DoesNotFitError
from planner.footprint import Footprint, largest_footprint
from planner.problem import Objective, Status
from planner.report.quantities import format_size
from planner.scoreboard import objective_value, rank
from planner.sweeps.result import SweepPoint, SweepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from planner.graph import Graph
    from planner.plans import Plan
    from planner.result import PlanResult
    from planner.target import Target


_SLOPE_STEPS = 4


class _Bound(NamedTuple):
    """Proven at one capacity, valid there and below."""

    traffic_bytes: int = 0
    latency_s: float | None = None


class _Found(NamedTuple):
    """A plan, the least capacity that it fits, and the one whose race found it."""

    least_bytes: int
    capacity_bytes: int
    plan: Plan


class Curve:
    """Collects the plans, bounds and misfits of the races at single capacities.

    Parameters
    ----------
    options : mapping
        Of `planner.plan`: ``solvers``, ``seed`` and ``in_place``.
    deadline : float
        Of the whole sweep, on the clock of `time.monotonic`.
    """

    def __init__(
        self,
        graph: Graph,
        target: Target,
        objective: Objective,
        options: Mapping[str, Any],
        *,
        deadline: float,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._graph = graph
        self._target = target
        self._near = target.nearest.name
        self._objective = objective
        self._options = options
        self._deadline = deadline
        self._on_progress = on_progress
        self._held = graph.constant_bytes if target.constant_memory == self._near else 0
        self._capacities: list[int] = []
        self._found: list[_Found] = []
        self._bounds: dict[int, _Bound] = {}
        self._misfits: dict[int, DoesNotFitError] = {}
        self._wall_s: dict[int, float] = {}
        self._crashes: dict[str, tuple[int, str]] = {}
        self._least_peak = 0
        self._zero_traffic: int | None = None
        self._zero_traffic_bound: int | None = None
        self._interrupted = False
        self._timed_out = False

    def run(
        self, capacities: Sequence[int], *, with_corners: bool = False, with_slope: bool = False
    ) -> None:
        """Race at the capacities, and at others within them that matter, where there is need.

        Parameters
        ----------
        with_corners : bool
            Add the capacity that the largest operator needs, and the least one without traffic.
        with_slope : bool
            Add three in equal steps between these two. The one in the middle is COSMA's M_H.

        Raises
        ------
        DoesNotFitError
            If no plan was found at any capacity.
        KeyboardInterrupt
            If interrupted before the first plan was found.
        """
        self._capacities = list(capacities)
        try:
            self._race_all(with_corners=with_corners, with_slope=with_slope)
        except KeyboardInterrupt:
            self._interrupted = True
        if not self._found:
            if self._interrupted:
                raise KeyboardInterrupt
            raise self._no_plan()

    def _race_all(self, *, with_corners: bool, with_slope: bool) -> None:
        highest = self._capacities[-1]
        footprint = self._footprint_capacity if self._graph.operators else None
        too_small = [c for c in self._capacities if c < (footprint or 0)]
        if too_small:  # refused at once, and so is everything below
            self._race(too_small[-1], len(self._capacities))
        if with_corners and footprint is not None:
            self._add(footprint)
        if self._objective is Objective.LATENCY:
            # Says from which capacity on there is no traffic, which a fast plan need not show.
            self._race(highest, len(self._capacities) + 1, Objective.TRAFFIC)
        if self._misfit(highest) is None:
            self._race(highest, len(self._capacities))
        corner = self._zero_traffic
        if with_corners and corner is not None:
            self._add(corner)
        if with_slope and footprint is not None and corner is not None:
            unit = self._target.nearest.alignment_bytes
            for step in range(1, _SLOPE_STEPS):
                part = (corner - footprint) * step // _SLOPE_STEPS
                self._add(footprint + part // unit * unit)
        waiting = deque(self._in_race_order())
        while waiting:
            capacity = waiting.popleft()
            if self._needs_race(capacity):
                if time.monotonic() >= self._deadline:
                    self._timed_out = True
                    return
                self._race(capacity, 1 + sum(map(self._needs_race, waiting)))

    def result(self, *, seed: int, time_limit_s: float, wall_s: float) -> SweepResult:
        """Return the curve, each plan checked once more at the capacity that it stands for."""
        return SweepResult(
            graph=self._graph,
            target=self._target,
            memory=self._near,
            objective=self._objective,
            points=tuple(self._point(capacity) for capacity in self._capacities),
            footprint=self._footprint,
            footprint_capacity_bytes=self._footprint_capacity,
            zero_traffic_bytes=self._zero_traffic,
            zero_traffic_lower_bound_bytes=self._zero_traffic_bound,
            seed=seed,
            time_limit_s=time_limit_s,
            wall_s=wall_s,
            interrupted=self._interrupted,
            timed_out=self._timed_out,
            notes=(*self._graph.notes, *self._own_notes(time_limit_s)),
        )

    def _own_notes(self, time_limit_s: float) -> Iterator[str]:
        if self._timed_out:
            yield (
                f"The time limit of {time_limit_s:g} s was over before every capacity had its "
                "race; those without one have the plans and bounds of the others."
            )
        if self._interrupted:
            yield "The sweep was interrupted: not every capacity had its race."
        for name, (capacity, reason) in self._crashes.items():
            yield f"solver {name} failed at {capacity:,} bytes: {reason}. Please report it."

    def _race(self, capacity: int, sharing: int, objective: Objective | None = None) -> None:
        """Race at one capacity with an equal share of the time that is left."""
        remaining = max(self._deadline - time.monotonic(), 1e-3)
        started = time.monotonic()
        where = format_size(capacity)
        try:
            result = plan_model(
                self._graph,
                target=self._at(capacity),
                objective=objective or self._objective,
                time_limit=remaining / sharing,
                on_progress=lambda line: self._tell(f"{where}: {line}"),
                **self._options,
            )
        except DoesNotFitError as error:
            self._misfits[capacity] = error
        else:
            self._enter(capacity, result)
            if result.interrupted:
                raise KeyboardInterrupt
        finally:
            self._wall_s[capacity] = self._wall_s.get(capacity, 0.0) + time.monotonic() - started
        left = sum(map(self._needs_race, self._capacities))
        self._tell(
            f"{where}: {'does not fit' if capacity in self._misfits else 'done'}, {left} left"
        )

    def _enter(self, capacity: int, result: PlanResult) -> None:
        plan, metrics = result.plan, result.plan.metrics
        for report in result.contenders:
            if report.status == "failed":
                self._crashes.setdefault(report.name, (capacity, report.note))
        self._keep(_Found(min(capacity, self._arena(plan) + self._held), capacity, plan))
        known = self._bounds.get(capacity, _Bound())
        latencies = [s for s in (known.latency_s, metrics.latency_lower_bound_s) if s is not None]
        self._bounds[capacity] = _Bound(
            max(known.traffic_bytes, metrics.traffic_lower_bound_bytes or 0),
            max(latencies, default=None),
        )
        if metrics.traffic_bytes == 0:
            self._least_peak = max(self._least_peak, metrics.peak_lower_bound_bytes or 0)
            self._zero_traffic_bound = max(
                self._whole_units(self._least_peak), self._footprint_capacity or 0
            )
            least = self._whole_units(self._arena(plan))
            self._zero_traffic = min(self._zero_traffic or least, least)

    def _keep(self, new: _Found) -> None:
        """Keep plans that are best at some capacity."""

        def beaten(one: _Found, other: _Found) -> bool:
            return other.least_bytes <= one.least_bytes and rank(
                other.plan, self._objective
            ) <= rank(one.plan, self._objective)

        if not any(beaten(new, old) for old in self._found):
            self._found = [*(old for old in self._found if not beaten(old, new)), new]

    def _tell(self, line: str) -> None:
        if self._on_progress is not None:
            self._on_progress(line)

    def _at(self, capacity: int) -> Target:
        return self._target.with_capacities({self._near: capacity})

    def _whole_units(self, size_bytes: int) -> int:
        unit = self._target.nearest.alignment_bytes
        return -(-size_bytes // unit) * unit + self._held

    @cached_property
    def _footprint(self) -> Footprint | None:
        if not self._target.operands_resident:
            return None
        return largest_footprint(
            self._graph,
            in_place=self._options["in_place"],
            alignment_bytes=self._target.nearest.alignment_bytes,
        )

    @property
    def _footprint_capacity(self) -> int | None:
        footprint = self._footprint
        return None if footprint is None else footprint.size_bytes + self._held

    def _add(self, capacity: int) -> None:
        low, high = self._capacities[0], self._capacities[-1]
        if low < capacity < high:
            self._capacities = sorted({*self._capacities, capacity})

    def _in_race_order(self) -> Iterator[int]:
        """Yield those that can fit, both ends first and then halving."""
        able = [capacity for capacity in self._capacities if self._misfit(capacity) is None]
        yield from able[-1:]
        yield from able[:1]
        spans = deque([(0, len(able) - 1)])
        while spans:
            first, last = spans.popleft()
            middle = (first + last) // 2
            if first < middle < last:
                yield able[middle]
                spans += [(first, middle), (middle, last)]

    def _needs_race(self, capacity: int) -> bool:
        if capacity in self._wall_s or self._misfit(capacity) is not None:
            return False
        best = self._best(capacity)
        return best is None or not self._meets(best.plan, capacity)

    def _meets(self, plan: Plan, capacity: int) -> bool:
        bound = self._bound(capacity)
        limit = bound.latency_s if self._objective is Objective.LATENCY else bound.traffic_bytes
        return limit is not None and objective_value(plan, self._objective) <= limit

    def _arena(self, plan: Plan) -> int:
        return plan.metrics.arena_bytes.get(self._near, 0)

    def _best(self, capacity: int) -> _Found | None:
        """Return the best plan that fits."""
        fitting = [found for found in self._found if found.least_bytes <= capacity]
        return min(fitting, key=lambda found: rank(found.plan, self._objective), default=None)

    def _bound(self, capacity: int) -> _Bound:
        """Return the best bounds of this capacity and all larger ones.

        Where operands have to be resident, a smallest peak above the capacity is one as well: at
        the worst step of any order the excess is elsewhere, and is read back later.
        """
        above = [bound for where, bound in self._bounds.items() if where >= capacity]
        latencies = [bound.latency_s for bound in above if bound.latency_s is not None]
        excess = self._least_peak + self._held - capacity if self._target.operands_resident else 0
        return _Bound(
            max(0, excess, *(bound.traffic_bytes for bound in above)),
            max(latencies, default=None),
        )

    def _misfit(self, capacity: int) -> tuple[int, DoesNotFitError] | None:
        """Return the proof that nothing fits, from the smallest capacity that has one."""
        above = [(c, e) for c, e in self._misfits.items() if c >= capacity and e.proven]
        return min(above, key=lambda misfit: misfit[0], default=None)

    def _point(self, capacity: int) -> SweepPoint:
        wall_s = self._wall_s.get(capacity)
        misfit = self._misfit(capacity)
        if misfit is not None:
            note = str(misfit[1]) if misfit[0] == capacity else f"nor at {misfit[0]:,}: {misfit[1]}"
            return SweepPoint(capacity, Status.INFEASIBLE, wall_s=wall_s, note=note)
        bound = self._bound(capacity)
        best = self._best(capacity)
        if best is None:
            error = self._misfits.get(capacity)
            note = "not reached" if error is None else str(error)
            return SweepPoint(
                capacity,
                Status.UNKNOWN,
                traffic_lower_bound_bytes=bound.traffic_bytes,
                latency_lower_bound_s=bound.latency_s,
                wall_s=wall_s,
                note=note,
            )
        _, where, plan = best
        status = Status.OPTIMAL if self._meets(plan, capacity) else Status.FEASIBLE
        note = ""
        if where != capacity:
            note = f"the plan found at {where:,} fits"
            if wall_s is None and status is not Status.OPTIMAL:
                note += "; not reached by itself"
        return SweepPoint(
            capacity,
            status,
            self._moved(plan, capacity, status, bound),
            where,
            bound.traffic_bytes,
            bound.latency_s,
            wall_s,
            note,
        )

    def _moved(self, plan: Plan, capacity: int, status: Status, bound: _Bound) -> Plan:
        """Return the plan as one for this capacity, judged anew."""
        moved = replace(
            plan,
            target=self._at(capacity),
            metrics=replace(
                plan.metrics,
                traffic_lower_bound_bytes=bound.traffic_bytes,
                latency_lower_bound_s=bound.latency_s,
            ),
            provenance=replace(
                plan.provenance, status=status.value, objective=self._objective.value
            ),
        )
        violations = check(self._graph, moved.target, moved)
        if violations:
            raise RuntimeError(
                f"the plan found for another capacity is illegal at {capacity:,}: "
                f"{violations[0].message}"
            )
        return moved

    def _no_plan(self) -> Exception:
        """Explain a sweep without any plan by its largest capacity."""
        largest = max(self._misfits, default=None)
        if largest is None:
            return RuntimeError("a sweep without a race")
        error = self._misfits[largest]
        count = len(self._capacities)
        return DoesNotFitError(
            f"none of {count:,} capacities from {self._capacities[0]:,} to "
            f"{self._capacities[-1]:,} bytes fits; the largest: {error}",
            proven=error.proven and largest == self._capacities[-1],
        )
