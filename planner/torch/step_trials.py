"""Plans put to the test: executed beside eager PyTorch, for peaks, gradients and times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._dynamo.backends.common import aot_autograd

from planner.torch.boxed import boxed
from planner.torch.emission import planned_halves
from planner.torch.joint_capture import captured_step
from planner.torch.live_bytes import measure
from planner.torch.planning import lowered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.fx import GraphModule

    from planner.training.schedule import TrainingSchedule

_REPETITIONS = 5


class Trial(NamedTuple):
    """What became of a planned step.

    Attributes
    ----------
    peak_bytes : int
        Measured, above what was live before the step.
    is_exact : bool
        Whether loss and gradients equal those of the eager step bit for bit.
    time_ratio : float
        CPU seconds on one thread over those of the eager step, the least of several of both in
        turn: what other programs do meanwhile counts little.
    """

    peak_bytes: int
    is_exact: bool
    time_ratio: float


def eager_peak(model: torch.nn.Module, inputs: Sequence[Any]) -> int:
    """Return the measured peak of a step of a model whose result is the loss."""
    return _peak(model, model, inputs)


def tried(model: torch.nn.Module, inputs: Sequence[Any], schedule: TrainingSchedule) -> Trial:
    """Execute a schedule of the step of a model whose result is the loss.

    Parameters
    ----------
    model : torch.nn.Module
        On the CPU. Its buffers move on as in any step.
    inputs : sequence
    schedule : TrainingSchedule
        Of the problem that `planner.torch.planning.lowered` makes of the captured step.
    """

    def halves(
        module: GraphModule,
        joint_inputs: Sequence[Any],
        *,
        num_fwd_outputs: int,
        static_lifetime_input_indices: Sequence[int] | None = None,
        **_: Any,
    ) -> tuple[GraphModule, GraphModule]:
        step = captured_step(module, num_fwd_outputs, static_lifetime_input_indices)
        return planned_halves(lowered(step), schedule)

    # What was compiled for another schedule of the same model would be taken again.
    torch._dynamo.reset()
    planned = torch.compile(
        model,
        backend=aot_autograd(fw_compiler=boxed, bw_compiler=boxed, partition_fn=halves),
        fullgraph=True,
        dynamic=False,
    )
    results = _results(planned, model, inputs), _results(model, model, inputs)
    is_exact = all(map(_equal, *results))
    peak_bytes = _peak(planned, model, inputs)
    return Trial(peak_bytes, is_exact, _time_ratio(planned, model, inputs))


def _peak(run: Callable[..., Any], model: torch.nn.Module, inputs: Sequence[Any]) -> int:
    model.zero_grad(set_to_none=True)
    return measure(lambda: run(*inputs).backward())


def _results(
    run: Callable[..., Any], model: torch.nn.Module, inputs: Sequence[Any]
) -> list[torch.Tensor | None]:
    model.zero_grad(set_to_none=True)
    loss = run(*inputs)
    loss.backward()
    return [loss.detach(), *(parameter.grad for parameter in model.parameters())]


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)


def _time_ratio(
    planned: Callable[..., Any], model: torch.nn.Module, inputs: Sequence[Any]
) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pairs = [
            [_seconds(run, model, inputs) for run in (planned, model)] for _ in range(_REPETITIONS)
        ]
    finally:
        torch.set_num_threads(threads)
    ours, eager = (min(column) for column in zip(*pairs, strict=True))
    return ours / eager


def _seconds(run: Callable[..., Any], model: torch.nn.Module, inputs: Sequence[Any]) -> float:
    model.zero_grad(set_to_none=True)
    started = time.process_time()
    run(*inputs).backward()
    return time.process_time() - started
