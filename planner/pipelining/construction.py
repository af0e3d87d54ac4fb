"""What the published constructors build for a race, one after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from planner.pipelining.result import ContenderReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.pipeline.constructors.catalogue import Constructor
    from solvers.protocol import Deadline


def built(
    constructors: Sequence[Constructor],
    problems: Mapping[str, PipelineProblem],
    fallback: str,
    deadline: Deadline,
) -> Iterator[tuple[ContenderReport, PipelineSchedule | None]]:
    """Yield every constructor's report and schedule in every placement that it is made for.

    None in place of a schedule that there is not; the report says why. The constructor named
    ``fallback`` builds even when no time is left.
    """
    from solvers.pipeline.constructors.catalogue import OUT_OF_TIME, InapplicableError

    # Those that only build take next to no time; of the others none may leave nothing to the next.
    for constructor in sorted(constructors, key=lambda constructor: constructor.searches):
        published = constructor.name != fallback
        for placement, problem in problems.items():
            if placement not in constructor.placements:
                continue
            report = ContenderReport(constructor.name, placement, "skipped", published=published)
            if published and deadline.expired():
                yield report._replace(note=OUT_OF_TIME), None
                continue
            wall, cpu = time.monotonic(), time.thread_time()
            schedule = None
            try:
                share = deadline.within(deadline.remaining_s() / 2)
                schedule = constructor.build(problem, share)
            except InapplicableError as reason:
                report = report._replace(note=str(reason))
            except Exception as error:  # who crashes loses, the race goes on
                report = report._replace(status="failed", note=crash(error))
            wall, cpu = time.monotonic() - wall, time.thread_time() - cpu
            yield report._replace(wall_s=wall, cpu_s=cpu), schedule


def crash(error: Exception) -> str:
    """Return what a contender that crashed is reported with."""
    return f"{type(error).__name__}: {error}"
