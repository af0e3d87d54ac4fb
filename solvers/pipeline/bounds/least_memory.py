"""The least memory limits under which a pipeline has any schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.pipeline.bounds.paths import path

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem


def least_limits(problem: PipelineProblem) -> tuple[int, ...]:
    """Return, per device, bytes below which there is no schedule.

    When F of a device's last stage runs, the microbatch holds the activations of all stages of the
    device, as each B waits for that F; and S of the vocabulary layer runs before any B. So the sum
    is needed, and it is enough without sharded weights: one microbatch after the other needs no
    more. Gathered weights of a stage are held besides while it runs its F.

    With offloading only the pass that runs needs its activations on the device; all of those at
    once must fit into the device and the host together.
    """
    return tuple(_least_limit(problem, device) for device in range(problem.devices))


def _least_limit(problem: PipelineProblem, device: int) -> int:
    stages, own = problem.stages, problem.stages_of[device]
    sizes = [stages[index].activation_bytes for index in own]
    if problem.vocabulary is not None:
        sizes.append(problem.vocabulary.activation_bytes)
    if problem.offloading is not None:
        return max(*sizes, _beyond_host(problem, device), 0)
    least = sum(sizes)
    if problem.sharding is not None:
        held = 0
        for index, size in zip(own, sizes, strict=False):
            held += size
            if stages[index].forward:
                least = max(least, held + problem.sharding.parameter_bytes[index])
    return least


def _beyond_host(problem: PipelineProblem, device: int) -> int:
    """Return what one microbatch holds for some time, less what the host takes of it."""
    host = problem.offloading.host_bytes if problem.offloading is not None else None
    if host is None:
        return 0
    ways, stages, own = path(problem), problem.stages, problem.stages_of[device]
    held = sum(
        stages[index].activation_bytes
        for index in own
        if ways.backward[index] + stages[index].backward > ways.forward[own[-1]]
    )
    if problem.vocabulary is not None and problem.vocabulary.forward:
        held += problem.vocabulary.activation_bytes
    return held - host


def why_infeasible(problem: PipelineProblem) -> str | None:
    """Return, for people, why no schedule fits the memory limits; None if one may."""
    for device, (limit, least) in enumerate(
        zip(problem.limits, least_limits(problem), strict=True)
    ):
        if limit is not None and limit < least:
            own = problem.stages_of[device]
            stages = f"stage {own[0]}" if len(own) == 1 else f"stages {', '.join(map(str, own))}"
            return (
                f"device {device} may hold {limit:,} B, but no schedule needs less than "
                f"{least:,} B there: one microbatch's activations of {stages}" + _besides(problem)
            )
    return None


def _besides(problem: PipelineProblem) -> str:
    parts = []
    if problem.vocabulary is not None and problem.vocabulary.activation_bytes:
        parts.append("the output layer's")
    if problem.sharding is not None:
        parts.append("the gathered weights")
    text = "".join(f" and {part}" for part in parts)
    if problem.offloading is not None:
        host = problem.offloading.host_bytes
        text += ", of which one stage at a time must be on the device"
        if host is not None:
            text += f", and what {host:,} B of the host cannot take"
    return text
