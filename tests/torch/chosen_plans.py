"""Training steps executed as a test chooses them, without a search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._dynamo.backends.common import aot_autograd

from planner.torch.boxed import boxed
from planner.torch.emission import planned_halves
from planner.torch.joint_capture import captured_step
from planner.torch.live_bytes import measure
from planner.torch.planning import lowered
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import Offload

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule


class ChosenStep(NamedTuple):
    """A compiled model whose halves are those of a chosen schedule."""

    call: Callable[..., Any]
    predicted: list[int]


def everything_kept(problem: TrainingProblem) -> TrainingSchedule:
    """Save whatever the backward half reads."""
    return just_in_time(problem, problem.boundary.tolist())


def everything_offloaded(problem: TrainingProblem) -> TrainingSchedule:
    """Move all that is saved to the host between its last use and its next."""
    kept = everything_kept(problem)
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    for step, operator in enumerate(kept.forward):
        touched = (*problem.reads.row(operator).tolist(), *problem.writes.row(operator).tolist())
        last.update(dict.fromkeys(touched, step))
    for step, operator in reversed(list(enumerate(kept.backward))):
        first.update(dict.fromkeys(problem.reads.row(operator).tolist(), step))
    moved = [s for s in kept.saved if s in first]
    return replace(kept, offloads=tuple(Offload(s, last[s], last[s], first[s]) for s in moved))


def compiled(
    model: Callable[..., Any], choose: Callable[[TrainingProblem], TrainingSchedule]
) -> ChosenStep:
    """Compile a model; ``predicted`` receives the peak of each graph."""
    predicted: list[int] = []

    def partition(module, inputs, *, num_fwd_outputs, static_lifetime_input_indices=(), **_):
        joint = lowered(captured_step(module, num_fwd_outputs, static_lifetime_input_indices))
        schedule = choose(joint.problem)
        predicted.append(memory_profile(joint.problem, schedule).peak_bytes)
        return planned_halves(joint, schedule)

    backend = aot_autograd(fw_compiler=boxed, bw_compiler=boxed, partition_fn=partition)
    return ChosenStep(
        torch.compile(model, backend=backend, fullgraph=True, dynamic=False), predicted
    )


def gradients(model: nn.Module, call: Callable[..., Any], inputs: Any) -> list[torch.Tensor | None]:
    """Run one step from cleared gradients, and return the new ones."""
    model.zero_grad(set_to_none=True)
    call(*inputs).backward()
    return [parameter.grad for parameter in model.parameters()]


def measured(model: nn.Module, call: Callable[..., Any], inputs: Any) -> int:
    """Return the peak of one step from cleared gradients."""
    model.zero_grad(set_to_none=True)
    return measure(lambda: call(*inputs).backward())


def equal(first: list[torch.Tensor | None], second: list[torch.Tensor | None]) -> bool:
    """Whether gradients are the same bit for bit."""
    return len(first) == len(second) and all(
        a is b is None or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(first, second, strict=True)
    )
