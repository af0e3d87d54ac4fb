"""Training steps executed as a test chooses them, without a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._dynamo.backends.common import aot_autograd

from planner.torch.boxed import boxed
from planner.torch.emission import planned_halves
from planner.torch.joint_capture import captured_step
from planner.torch.live_bytes import measure
from planner.torch.planning import lowered
from planner.training.memory import memory_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule


class ChosenStep(NamedTuple):
    """A compiled model whose halves are those of a chosen schedule."""

    call: Callable[..., Any]
    predicted: list[int]


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
