"""Planning a training step of a PyTorch model to a peak in bytes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from planner.errors import UsageError
from planner.target import Target
from planner.target_file import read_target
from planner.torch.joint_capture import CapturedStep, capture
from planner.torch.plan_options import PlanOptions
from planner.torch.planned_step import PlannedStep
from planner.torch.saved_sets import affordable_budgets, torch_seeds
from planner.training.host import host_link
from planner.training.misfit import misfit
from planner.training.race import plan_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from frontends.torch.joint import JointProgram
    from planner.training.result import TrainingResult

_CPU_TARGET, _GPU_TARGET = "cpu-core", "gpu-80g"


def plan(
    model: Callable[..., Any],
    inputs: Any,
    *,
    budget_bytes: int,
    loss: Callable[[Any], Any] | None = None,
    target: str | Target | None = None,
    host_bytes: int = 0,
    time_limit: float = 30.0,
    seed: int = 0,
    torch_budgets: tuple[float, ...] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PlannedStep:
    """Plan one training step without running it.

    Parameters
    ----------
    model : torch.nn.Module or callable
    inputs : tensor, tuple or dict
        The model's argument, its arguments, or its keyword arguments; they may be fake tensors, or
        lie on the ``meta`` device, as may the model's parameters.
    budget_bytes : int
        Most bytes live at once, above parameters, buffers and inputs.
    loss : callable, optional
        Takes the model's result. Without it, gradients of all results come from outside.
    target : str or Target, optional
        Whose rates give the durations. Default: ``cpu-core``, or ``gpu-80g`` for a step on CUDA.
    host_bytes : int
        Most bytes to offload to the host; the target has to describe it.
    time_limit : float
        Seconds of planning.
    seed : int
    torch_budgets : tuple of float, optional
        Budgets at which PyTorch's own partitioner is asked for plans to start from. Default: from 0
        to 1 in steps of 0.05, or a few of them where the step has many operators.
    on_progress : callable, optional
        Receives one line per improvement.

    Raises
    ------
    planner.errors.DoesNotFitError
        If no plan keeps the budget, or none was found.
    planner.errors.LoweringError
        If the step is not one graph of tensors of known sizes.
    planner.errors.UsageError
        If the model cannot be called so, nothing in it asks for a gradient, or an option is wrong.
    """
    options = PlanOptions(budget_bytes, target, host_bytes, time_limit, seed, torch_budgets)
    if on_progress is not None and not callable(on_progress):
        raise UsageError(f"on_progress is {on_progress!r}; give a function that takes a line.")
    return plan_captured(capture(model, inputs, loss), options, on_progress)


def plan_captured(
    captured: CapturedStep,
    options: PlanOptions,
    on_progress: Callable[[str], None] | None = None,
) -> PlannedStep:
    """Plan a traced step.

    Raises
    ------
    planner.errors.DoesNotFitError
        If no plan keeps the budget, or none was found.
    planner.errors.LoweringError
        If the step's tensors have no known sizes.
    """
    joint = lowered(captured, options.target, options.host_bytes)
    result = raced(joint, options, on_progress)
    if not result.fits:
        raise misfit(result)
    return PlannedStep(joint, result)


def raced(
    joint: JointProgram,
    options: PlanOptions,
    on_progress: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Let the solvers compete, from PyTorch's own saved sets on."""
    started = time.monotonic()
    budgets = options.torch_budgets
    seeds = torch_seeds(joint, affordable_budgets(joint) if budgets is None else budgets)
    # A plan that came late beats none.
    left = max(options.time_limit - (time.monotonic() - started), options.time_limit / 10)
    return plan_training(
        joint.problem,
        options.budget_bytes,
        seeds=seeds,
        time_limit=left,
        seed=options.seed,
        on_progress=on_progress,
    )


def lowered(
    captured: CapturedStep, target: str | Target | None = None, host_bytes: int = 0
) -> JointProgram:
    """Lower a traced step to a training problem.

    Raises
    ------
    planner.errors.LoweringError
        If the step's tensors have no known sizes.
    planner.errors.UsageError
        If the target is unknown, has no rates, or has no host for ``host_bytes``.
    """
    from frontends.torch.joint import joint_program
    from frontends.torch.workspaces import workspace_bytes

    machine = _target(captured, target)
    host = host_link(machine, host_bytes)
    if host is None and host_bytes:
        raise UsageError(
            f'target "{machine.name}" describes no host memory to offload to. Give one that does, '
            f"such as {_GPU_TARGET}, or host_bytes=0."
        )
    return joint_program(
        captured.module,
        num_fwd_outputs=captured.num_fwd_outputs,
        static_lifetime_input_indices=captured.static_input_indices,
        target=machine,
        workspaces=workspace_bytes,
        host=host,
    )


def _target(captured: CapturedStep, target: str | Target | None) -> Target:
    if isinstance(target, Target):
        return target
    if target is None:
        values = [n.meta.get("val") for n in captured.module.graph.find_nodes(op="placeholder")]
        on_gpu = any(isinstance(v, torch.Tensor) and v.device.type == "cuda" for v in values)
        target = _GPU_TARGET if on_gpu else _CPU_TARGET
    return read_target(target)
