"""Published schedules by name, built without hurry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from solvers.pipeline.constructors.catalogue import CONSTRUCTORS, Constructor
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule

NO_HURRY = Deadline(math.inf)


def constructor(name: str) -> Constructor:
    """Return the constructor of this name."""
    (found,) = (one for one in CONSTRUCTORS if one.name == name)
    return found


def construct(name: str, problem: PipelineProblem) -> PipelineSchedule:
    """Build the schedule of this name."""
    return constructor(name).build(problem, NO_HURRY)
