"""The peak of a training step as it is, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frontends.torch.module_paths import module_path
from planner.torch.eager_dropout import with_eager_dropout
from planner.torch.joint_capture import capture
from planner.torch.planning import lowered
from planner.training.culprits import Culprit, culprits, step_name
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from frontends.torch.joint import JointProgram
    from planner.training.problem import TrainingProblem

_LISTED = 10


@dataclass(frozen=True)
class Estimate:
    """What a training step holds at its peak if nothing is planned.

    Attributes
    ----------
    peak_bytes : int
        The most bytes live at once, above parameters, buffers and inputs.
    peak_step : str
        The operator during which that is.
    peak_half : str
        ``forward``, ``backward``, or ``between`` them.
    peak_module : str
        Path of the module that calls the operator, or for whose result it computes a gradient.
    culprits : tuple of Culprit
        What is live then, largest first.
    static_bytes : int
        Parameters, buffers and inputs.
    gradient_bytes : int
        What the step leaves behind.
    saved_bytes : int
        What crosses from the forward to the backward half.
    """

    peak_bytes: int
    peak_step: str
    peak_half: str
    peak_module: str
    culprits: tuple[Culprit, ...]
    static_bytes: int
    gradient_bytes: int
    saved_bytes: int

    def text(self) -> str:
        """Return a report for people."""
        where = f"{self.peak_step} ({self.peak_half}"
        where += f", in {self.peak_module})" if self.peak_module else ")"
        lines = [
            f"peak {self.peak_bytes:,} bytes above {self.static_bytes:,} of parameters, buffers "
            f"and inputs, at {where}",
            f"saved for the backward half {self.saved_bytes:,} bytes, "
            f"gradients {self.gradient_bytes:,} bytes",
            "live at the peak:",
        ]
        lines += [f"  {c.size_bytes:>14,}  {c.name} ({c.role})" for c in self.culprits[:_LISTED]]
        more = self.culprits[_LISTED:]
        if more:
            size = sum(c.size_bytes for c in more)
            lines.append(f"  {size:>14,}  in {len(more):,} smaller ones")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def _kept(problem: TrainingProblem) -> set[int]:
    """Return what the backward half needs of the forward half as autograd divides them.

    What the forward's results do not need, autograd computes when it goes backward.
    """
    kept: set[int] = set()
    seen: set[int] = set()
    stack = [*problem.backward_operators.tolist()]
    wanted = problem.gradients.tolist()
    while stack or wanted:
        while wanted:
            storage = wanted.pop()
            operator = int(problem.producer[storage])
            if operator < 0 or problem.is_backward[operator]:
                continue
            if problem.in_forward[operator]:
                kept.add(storage)
            elif operator not in seen:
                seen.add(operator)
                stack.append(operator)
        if stack:
            wanted = problem.reads.row(stack.pop()).tolist()
    return kept


def estimate(
    model: Callable[..., Any], inputs: Any, *, loss: Callable[[Any], Any] | None = None
) -> Estimate:
    """Predict the peak of a training step that keeps whatever its backward half reads.

    That is what eager PyTorch does, apart from two things which the estimate leaves out: values
    that the model's own code holds on to after their last use, and values that it computes twice.

    Parameters
    ----------
    model : torch.nn.Module or callable
    inputs : tensor, tuple or dict
        The model's argument, its arguments, or its keyword arguments; they may be fake tensors, or
        lie on the ``meta`` device, as may the model's parameters.
    loss : callable, optional
        Takes the model's result. Without it, gradients of all results come from outside.

    Raises
    ------
    planner.errors.LoweringError
        If the step is not one graph of tensors of known sizes.
    planner.errors.UsageError
        If the model cannot be called so, or nothing in it asks for a gradient.
    """
    return estimate_of(lowered(capture(model, inputs, loss)))


def estimate_of(joint: JointProgram) -> Estimate:
    """Predict the peak of a step that is lowered already."""
    problem = with_eager_dropout(joint)
    schedule = just_in_time(problem, _kept(problem))
    profile = memory_profile(problem, schedule)
    step = profile.peak_step
    operator = schedule.operator_at(step)
    if operator is None:
        half, module = "between", ""
    else:
        half = "forward" if step < profile.forward_steps else "backward"
        module = module_path(joint.nodes[operator])
    return Estimate(
        profile.peak_bytes,
        step_name(problem, schedule, step),
        half,
        module,
        culprits(problem, schedule, step),
        problem.static_bytes,
        int(problem.size_bytes[np.setdiff1d(problem.gradients, problem.tangents)].sum()),
        int(problem.size_bytes[list(schedule.saved)].sum()),
    )
