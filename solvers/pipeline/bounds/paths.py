"""How far apart the passes of one microbatch are at the least, whatever the schedule."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem


class Path(NamedTuple):
    """The passes of one microbatch if nothing ever waited; ticks count from its first start.

    The fused pass D is B followed at once by W, with the gradient sent later and the memory given
    back later than the two would; so what holds of every schedule of F, B and W holds with D too.

    Attributes
    ----------
    forward, backward : tuple of int
        Per stage, the tick at which F and B start.
    drain : tuple of int
        Per stage, ticks from the end of its B to the end of the last of the B and W that follow on
        this and all earlier stages.
    """

    forward: tuple[int, ...]
    backward: tuple[int, ...]
    drain: tuple[int, ...]


@lru_cache(maxsize=64)
def path(problem: PipelineProblem) -> Path:
    """Return the path of a microbatch through the pipeline."""
    stages, hops = problem.stages, problem.hops
    last = len(stages) - 1
    forward = [0]
    for stage, hop in zip(stages[:-1], hops, strict=True):
        forward.append(forward[-1] + stage.forward + hop)
    turn = forward[last] + stages[last].forward
    layer = problem.vocabulary
    if layer is not None:
        turn += layer.forward + layer.barrier
        if problem.devices > 1:
            turn += layer.broadcast
        if layer.barriers == 2:
            turn += layer.backward + layer.barrier
    backward = [turn]
    for stage in range(last, 0, -1):
        backward.append(backward[-1] + stages[stage].backward + hops[stage - 1])
    backward.reverse()
    drain = [stages[0].weight]
    for stage in range(1, last + 1):
        onward = hops[stage - 1] + stages[stage - 1].backward + drain[-1]
        drain.append(max(stages[stage].weight, onward))
    return Path(tuple(forward), tuple(backward), tuple(drain))
