"""What a sweep hands back: the best plan and the proven bounds at every capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner.problem import Objective, Status

if TYPE_CHECKING:
    from planner.footprint import Footprint
    from planner.graph import Graph
    from planner.plans import Plan
    from planner.target import Target

FORMAT = "planner.sweep"
VERSION = 1


@dataclass(frozen=True)
class SweepPoint:
    """One capacity.

    Attributes
    ----------
    capacity_bytes : int
    status : Status
        Of the sweep's objective: ``optimal`` where plan and bound meet, ``infeasible`` where no
        plan fits, proven; ``unknown`` where none was found.
    plan : Plan or None
        The best one known, for this capacity. Checked.
    found_at_bytes : int or None
        The capacity whose race found the plan: it fits here as well.
    traffic_lower_bound_bytes : int or None
    latency_lower_bound_s : float or None
    wall_s : float or None
        Of its own race; None where none was needed, or none had time.
    note : str
        Why there is no plan or no race, in one sentence.
    """

    capacity_bytes: int
    status: Status
    plan: Plan | None = None
    found_at_bytes: int | None = None
    traffic_lower_bound_bytes: int | None = None
    latency_lower_bound_s: float | None = None
    wall_s: float | None = None
    note: str = ""

    @property
    def arena_bytes(self) -> int | None:
        """Highest address in use in the nearest memory."""
        if self.plan is None:
            return None
        return self.plan.metrics.arena_bytes.get(self.plan.target.nearest.name, 0)

    @property
    def traffic_bytes(self) -> int | None:
        """Bytes moved beyond the compulsory."""
        return None if self.plan is None else self.plan.metrics.traffic_bytes

    @property
    def latency_s(self) -> float | None:
        """Simulated seconds."""
        return None if self.plan is None else self.plan.metrics.latency_s

    @property
    def contender(self) -> str:
        """Who made the plan."""
        return "" if self.plan is None else self.plan.provenance.contender

    def value(self, objective: Objective) -> float | None:
        """Return what the objective minimises: traffic or latency."""
        return self.latency_s if objective is Objective.LATENCY else self.traffic_bytes

    def lower_bound(self, objective: Objective) -> float | None:
        """Return the proven lower bound on `value`."""
        if objective is Objective.LATENCY:
            return self.latency_lower_bound_s
        return self.traffic_lower_bound_bytes

    def gap(self, objective: Objective) -> float | None:
        """How far above the bound, as a share of it; None without a plan or above a bound of 0."""
        value, bound = self.value(objective), self.lower_bound(objective)
        if value is None or bound is None:
            return None
        if value <= bound:
            return 0.0
        return (value - bound) / bound if bound else None


@dataclass(frozen=True)
class SweepResult:
    """Traffic and latency against capacity.

    From one point to the next, exclusive, the first one's plan fits: no capacity between them costs
    more. And none costs less than the second one's bound.

    Attributes
    ----------
    graph : Graph
    target : Target
        As given; the points' plans carry the swept capacity.
    memory : str
        The swept memory, which is the target's nearest.
    objective : Objective
        Traffic or latency.
    points : tuple of SweepPoint
        Capacities ascending.
    footprint : Footprint or None
        Of the largest operator; None where operands need not be in the nearest memory.
    footprint_capacity_bytes : int or None
        The capacity that the largest operator needs: its footprint and, where constants lie in the
        nearest memory, them. No plan fits below.
    zero_traffic_bytes : int or None
        Least capacity at which a plan without traffic is known.
    zero_traffic_lower_bound_bytes : int or None
        No plan without traffic fits below, proven.
    interrupted, timed_out : bool
        Not every point had its race: the user stopped the sweep, or time ran out.
    """

    graph: Graph
    target: Target
    memory: str
    objective: Objective
    points: tuple[SweepPoint, ...]
    footprint: Footprint | None = None
    footprint_capacity_bytes: int | None = None
    zero_traffic_bytes: int | None = None
    zero_traffic_lower_bound_bytes: int | None = None
    seed: int = 0
    time_limit_s: float = 0.0
    wall_s: float = 0.0
    interrupted: bool = False
    timed_out: bool = False
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object described in ``planner/schema/sweep.schema.json``."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.graph.model.name,
            "sha256": self.graph.model.sha256,
            "parameters": self.graph.model.parameters,
            "target": self.target.name,
            "memory": self.memory,
            "objective": self.objective.value,
            "operators": len(self.graph.operators),
            "tensors": len(self.graph.tensors),
            "constant_bytes": self.graph.constant_bytes,
            "largest_operator": self._largest_operator(),
            "footprint_capacity_bytes": self.footprint_capacity_bytes,
            "zero_traffic_bytes": self.zero_traffic_bytes,
            "zero_traffic_lower_bound_bytes": self.zero_traffic_lower_bound_bytes,
            "points": [self._point(point) for point in self.points],
            "seed": self.seed,
            "time_limit_s": float(self.time_limit_s),
            "wall_s": round(self.wall_s, 6),
            "interrupted": self.interrupted,
            "timed_out": self.timed_out,
            "notes": list(self.notes),
        }

    def _largest_operator(self) -> dict[str, Any] | None:
        if self.footprint is None:
            return None
        node = self.graph.operators[self.footprint.operator]
        return {
            "operator": self.footprint.operator,
            "name": node.name,
            "type": node.type,
            "bytes": self.footprint.size_bytes,
        }

    def _point(self, point: SweepPoint) -> dict[str, Any]:
        metrics = None if point.plan is None else point.plan.metrics
        return {
            "capacity_bytes": point.capacity_bytes,
            "status": point.status.value,
            "contender": point.contender or None,
            "found_at_bytes": point.found_at_bytes,
            "arena_bytes": point.arena_bytes,
            "peak_bytes": None if metrics is None else metrics.peak_bytes.get(self.memory, 0),
            "traffic_bytes": point.traffic_bytes,
            "traffic_lower_bound_bytes": point.traffic_lower_bound_bytes,
            "latency_s": point.latency_s,
            "latency_lower_bound_s": point.latency_lower_bound_s,
            "gap": point.gap(self.objective),
            "wall_s": None if point.wall_s is None else round(point.wall_s, 6),
            "note": point.note,
        }
