"""What pipeline planning hands back: a schedule with times, its proofs, and how all did."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.pipelining.delayed_starts import cost_ticks
from planner.pipelining.memory import device_memory, host_memory
from planner.pipelining.partitioning.partition import partition_fields
from planner.pipelining.simulator import bubble_rate, simulate_pipeline
from planner.problem import Status

if TYPE_CHECKING:
    from planner.pipelining.partitioning.partition import Partition
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.simulator import PipelineTimeline

NOT_NEEDED = "nothing was left to find"
OVER_LIMIT = "over limit"


class ContenderReport(NamedTuple):
    """How one constructor or search did in one placement.

    Attributes
    ----------
    name : str
    placement : str
    status : str
        ``optimal``, ``feasible``, ``infeasible``, ``unknown``, ``skipped``, ``failed``, or
        ``over limit`` for a schedule that needs more memory than there is.
    value_ticks : int or None
        What its schedule costs, also of one over the limit.
    bound_ticks : int or None
        Proven by it for this placement.
    peak_bytes : int or None
        The most that a device holds.
    published : bool
        Whether it is a constructor of a published schedule, not a search.
    wall_s, cpu_s : float
    note : str
        One sentence: why it was skipped, or what is remarkable.
    """

    name: str
    placement: str
    status: str
    value_ticks: int | None = None
    bound_ticks: int | None = None
    peak_bytes: int | None = None
    published: bool = False
    wall_s: float = 0.0
    cpu_s: float = 0.0
    note: str = ""


class BoundReport(NamedTuple):
    """A proven bound on the objective in one placement, and what proves it."""

    placement: str
    ticks: int
    name: str


@dataclass(frozen=True)
class PipelineResult:
    """The best schedule found, checked, with bound and the contenders' table.

    Attributes
    ----------
    problem : PipelineProblem
        In the placement of the timeline.
    placement : str
    timeline : PipelineTimeline or None
        None if none within the limits was found.
    status : Status
        About the objective, over all placements that took part.
    bound_ticks : int
        Proven for every placement that took part.
    contender : str
        What found the schedule; empty without one.
    bounds : tuple of BoundReport
    contenders : tuple of ContenderReport
    wall_s : float
    interrupted : bool
        Stopped by the user; the schedule is the best until then.
    notes : tuple of str
    partition : Partition or None
        The stages of the model, in this placement; None where costs were given.
    """

    problem: PipelineProblem
    placement: str
    timeline: PipelineTimeline | None
    status: Status
    bound_ticks: int
    contender: str = ""
    bounds: tuple[BoundReport, ...] = ()
    contenders: tuple[ContenderReport, ...] = ()
    wall_s: float = 0.0
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    partition: Partition | None = None

    @property
    def schedule(self) -> PipelineSchedule | None:
        """The orders without times; None without a timeline."""
        return None if self.timeline is None else self.timeline.schedule

    @property
    def value_ticks(self) -> int | None:
        """What the objective counts of the timeline; None without one."""
        return None if self.timeline is None else cost_ticks(self.problem, self.timeline)

    @cached_property
    def makespan_ticks(self) -> int | None:
        """Ticks from the first start to the last end if every pass starts as early as it can.

        The timeline of the least longest stage starts some devices late, which serves no
        iteration with a barrier.
        """
        if self.timeline is None:
            return None
        return min(
            self.timeline.makespan,
            simulate_pipeline(self.problem, self.timeline.schedule).makespan,
        )

    @property
    def bubble(self) -> float | None:
        """Idle share of the busiest device; None without a timeline."""
        value = self.value_ticks
        return None if value is None else bubble_rate(self.problem, value)

    @property
    def bubble_lower_bound(self) -> float:
        """The bubble at the bound."""
        return max(0.0, bubble_rate(self.problem, self.bound_ticks))

    @cached_property
    def peak_bytes(self) -> tuple[int, ...]:
        """Per device the most bytes held at once; empty without a timeline."""
        return self._peaks(keep_until_weight=False)

    @cached_property
    def peak_bytes_until_weight(self) -> tuple[int, ...]:
        """The same if all activations are held until the gradient of the weights."""
        return self._peaks(keep_until_weight=True)

    def _peaks(self, *, keep_until_weight: bool) -> tuple[int, ...]:
        if self.timeline is None:
            return ()
        profiles = device_memory(self.problem, self.timeline, keep_until_weight=keep_until_weight)
        return tuple(profile.peak for profile in profiles)

    @cached_property
    def host_peak_bytes(self) -> tuple[int, ...]:
        """Per device the most bytes on the host; empty without copies."""
        if self.timeline is None or not self.timeline.schedule.copies:
            return ()
        return tuple(profile.peak for profile in host_memory(self.problem, self.timeline))

    def seconds(self, ticks: int) -> float:
        """Return ticks in seconds."""
        return float(ticks * self.problem.tick_s)

    def best_published(self) -> ContenderReport | None:
        """Return the published schedule of the least cost among those that fit."""
        fitting = [
            report
            for report in self.contenders
            if report.published and report.status in (Status.FEASIBLE, Status.OPTIMAL)
        ]
        return min(fitting, key=lambda report: report.value_ticks or 0, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``plan pipeline --json`` prints."""
        problem, timeline = self.problem, self.timeline

        def seconds(ticks: int | None) -> float | None:
            return None if ticks is None else self.seconds(ticks)

        return {
            "format": "planner.pipeline-result",
            "version": 1,
            "devices": problem.devices,
            "microbatches": problem.microbatches,
            "stages": len(problem.stages),
            "placement": self.placement,
            "objective": problem.objective.value,
            "schedule": None if timeline is None else timeline.schedule.name,
            "contender": self.contender,
            "status": self.status.value,
            "fits": timeline is not None,
            "checked": timeline is not None,
            "bubble": self.bubble,
            "bubble_lower_bound": self.bubble_lower_bound,
            "lower_bound_s": self.seconds(self.bound_ticks),
            "longest_stage_s": seconds(None if timeline is None else timeline.longest_stage),
            "makespan_s": seconds(self.makespan_ticks),
            "ideal_s": self.seconds(problem.ideal_ticks),
            "tick_s": float(problem.tick_s),
            "peak_activation_bytes": list(self.peak_bytes),
            "peak_activation_bytes_until_weight": list(self.peak_bytes_until_weight),
            "peak_host_bytes": list(self.host_peak_bytes),
            "memory_limit_bytes": list(problem.limits),
            "interrupted": self.interrupted,
            "wall_s": round(self.wall_s, 6),
            "bounds": [
                {"placement": b.placement, "name": b.name, "lower_bound_s": self.seconds(b.ticks)}
                for b in self.bounds
            ],
            "contenders": [
                {
                    "name": report.name,
                    "placement": report.placement,
                    "status": report.status,
                    "value_s": seconds(report.value_ticks),
                    "lower_bound_s": seconds(report.bound_ticks),
                    "peak_bytes": report.peak_bytes,
                    "published": report.published,
                    "wall_s": report.wall_s,
                    "cpu_s": report.cpu_s,
                    "note": report.note,
                }
                for report in self.contenders
            ],
            "notes": list(self.notes),
            "partition": None if self.partition is None else partition_fields(self.partition),
        }
