"""What planning hands back: the plan, its proofs, and how every contender did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan
    from planner.problem import Objective, Status
    from planner.simulator import Timeline


class ContenderReport(NamedTuple):
    """How one contender did.

    Attributes
    ----------
    name : str
    status : str
        ``optimal``, ``feasible``, ``infeasible``, ``unknown``, ``skipped`` or ``failed``.
    value : int, float or None
        The objective's value of its best plan, in bytes or seconds.
    bound : int, float or None
        The best lower bound it proved.
    wall_s : float
    note : str
        Why it was skipped or stopped, in one sentence.
    arena_bytes : int or None
        Of its best plan, in the nearest memory.
    """

    name: str
    status: str
    value: float | None = None
    bound: float | None = None
    wall_s: float = 0.0
    note: str = ""
    arena_bytes: int | None = None


@dataclass(frozen=True)
class Bounds:
    """Proven lower bounds on the plans of one problem; None where nothing is known.

    Attributes
    ----------
    peak_bytes : int or None
        Of plans that move nothing but what is compulsory.
    footprint_bytes : int or None
        Of every plan: the largest operator needs that much.
    traffic_bytes : int or None
    latency_s : float or None
    """

    peak_bytes: int | None = None
    footprint_bytes: int | None = None
    traffic_bytes: int | None = None
    latency_s: float | None = None


class ZeroCopy(NamedTuple):
    """Which operators do without a copy.

    Attributes
    ----------
    operators : tuple of str
        Their first results, in the order of the model.
    candidates : int
        Operators whose layout allows it, not necessarily of all at once.
    bytes_not_copied : int
        Size of their results.
    peak_bound_bytes : int or None
        Proven bound on the peak of every plan that moves nothing, whichever operators share.
    """

    operators: tuple[str, ...]
    candidates: int
    bytes_not_copied: int
    peak_bound_bytes: int | None = None

    def summary(self) -> str:
        """Return one line for reports."""
        return (
            f"{len(self.operators):,} of {self.candidates:,} operators, "
            f"{self.bytes_not_copied:,} bytes not copied"
        )


@dataclass(frozen=True)
class PlanResult:
    """The best plan found, checked, with bounds and the contenders' table.

    Attributes
    ----------
    plan : Plan
    graph : Graph
    objective : Objective
    status : Status
        ``optimal`` when the plan meets a proven bound of its objective. With zero copy the bound is
        that of the lowering chosen; ``zero_copy.peak_bound_bytes`` holds for all of them.
    contenders : tuple of ContenderReport
    timeline : Timeline or None
        The simulated run; None where the target gives no rates.
    load_s, solve_s, wall_s : float
        Seconds for reading and lowering, for the race, and in all.
    interrupted : bool
        The race was stopped by the user; the plan is the best until then.
    zero_copy : ZeroCopy or None
        None where it was not asked for.
    """

    plan: Plan
    graph: Graph
    objective: Objective
    status: Status
    contenders: tuple[ContenderReport, ...]
    timeline: Timeline | None = None
    load_s: float = 0.0
    solve_s: float = 0.0
    wall_s: float = 0.0
    interrupted: bool = False
    notes: tuple[str, ...] = field(default=())
    zero_copy: ZeroCopy | None = None

    @property
    def lower_bound(self) -> float | None:
        """The proven lower bound on the objective."""
        metrics = self.plan.metrics
        return {
            "peak": metrics.peak_lower_bound_bytes,
            "traffic": metrics.traffic_lower_bound_bytes,
            "latency": metrics.latency_lower_bound_s,
        }[self.objective.value]

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``plan solve --json`` prints."""
        metrics, near = self.plan.metrics, self.plan.target.nearest.name
        return {
            "format": "planner.result",
            "version": 1,
            "model": self.plan.model.name,
            "target": self.plan.target.name,
            "objective": self.objective.value,
            "status": self.status.value,
            "contender": self.plan.provenance.contender,
            "operators": len(self.graph.operators),
            "tensors": len(self.graph.tensors),
            "constant_bytes": self.graph.constant_bytes,
            "arena_bytes": metrics.arena_bytes.get(near, 0),
            "peak_bytes": metrics.peak_bytes.get(near, 0),
            "peak_lower_bound_bytes": metrics.peak_lower_bound_bytes,
            "traffic_bytes": metrics.traffic_bytes,
            "relocated_bytes": metrics.relocated_bytes,
            "traffic_lower_bound_bytes": metrics.traffic_lower_bound_bytes,
            "latency_s": metrics.latency_s,
            "latency_lower_bound_s": metrics.latency_lower_bound_s,
            "zero_copy": None
            if self.zero_copy is None
            else {**self.zero_copy._asdict(), "operators": list(self.zero_copy.operators)},
            "checked": True,
            "interrupted": self.interrupted,
            "wall_s": round(self.wall_s, 6),
            "load_s": round(self.load_s, 6),
            "solve_s": round(self.solve_s, 6),
            "contenders": [report._asdict() for report in self.contenders],
            "notes": list(self.notes),
        }
