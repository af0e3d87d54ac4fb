"""The joint forward and backward graph of a training step, traced without running the model."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._dynamo import exc
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.descriptors import InputMutationAOTOutput

from planner.errors import LoweringError, PlannerError, UsageError
from planner.torch.fake_steps import without_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.fx import GraphModule


class CapturedStep(NamedTuple):
    """What AOTAutograd hands to a partitioner.

    Attributes
    ----------
    module : torch.fx.GraphModule
        Takes primals and tangents; returns the forward's results, then the gradients.
    num_fwd_outputs : int
    static_input_indices : tuple of int
        Primals that are parameters or buffers.
    mutated_input_indices : tuple of int
        Primals that the forward writes over.
    """

    module: GraphModule
    num_fwd_outputs: int
    static_input_indices: tuple[int, ...]
    mutated_input_indices: tuple[int, ...]


class _Captured(exc.ShortenTraceback):
    """Ends the compilation as soon as the graph is there: nothing is compiled or cached."""

    def __init__(self, step: CapturedStep) -> None:
        super().__init__("captured", first_useful_frame=None)
        self.step = step


class _NothingToTrain(exc.ShortenTraceback):
    def __init__(self) -> None:
        super().__init__("no gradients", first_useful_frame=None)


def capture(
    model: Callable[..., Any], inputs: Any, loss: Callable[[Any], Any] | None = None
) -> CapturedStep:
    """Trace one training step through ``torch.compile`` and AOTAutograd.

    No operator of the model is executed and no state changes, that of random generators included:
    everything happens on tensors without data. Parameters, buffers and inputs may therefore be fake
    tensors, or lie on the ``meta`` device: then the step is that of the same tensors on the CPU.

    Parameters
    ----------
    model : torch.nn.Module or callable
    inputs : tensor, tuple or dict
        The model's argument, its arguments, or its keyword arguments.
    loss : callable, optional
        Takes the model's result.

    Raises
    ------
    planner.errors.UsageError
        If the model cannot be called so, or nothing in it asks for a gradient.
    planner.errors.LoweringError
        If the step is not one graph of tensors of known shapes.
    """
    if not callable(model):
        raise UsageError(f"cannot call a {type(model).__name__}; give a torch.nn.Module.")
    if loss is not None and not callable(loss):
        raise UsageError(f"loss is {loss!r}; give a function of the model's result.")
    positional, named = arguments_of(inputs)
    _check_arguments(model, positional, named)
    model, positional, named, mode = without_data(model, positional, named)

    def step(*values: Any, **options: Any) -> Any:
        result = model(*values, **options)
        return result if loss is None else loss(result)

    compiled = torch.compile(
        step,
        backend=aot_autograd(fw_compiler=_refuse, partition_fn=_stop),
        fullgraph=True,
        dynamic=False,
    )
    try:
        with torch.enable_grad(), mode:
            compiled(*positional, **named)
    except _Captured as done:
        return done.step
    except _NothingToTrain:
        pass
    except PlannerError:
        raise
    except Exception as error:
        raise _explained(error) from error
    raise UsageError(
        "nothing to train: no parameter or input that the result depends on requires a gradient."
    )


def arguments_of(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments of a call with ``inputs``."""
    if isinstance(inputs, dict):
        return (), inputs
    return (tuple(inputs), {}) if isinstance(inputs, (tuple, list)) else ((inputs,), {})


def _check_arguments(
    model: Callable[..., Any], positional: tuple[Any, ...], named: dict[str, Any]
) -> None:
    try:
        signature = inspect.signature(getattr(model, "forward", model))
    except (TypeError, ValueError):
        return  # such as a builtin function, which tells none
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise UsageError(
            f"the model cannot be called with these inputs: {error}. Give a tensor, a tuple of the "
            "arguments, or a dict of arguments by name."
        ) from None


def captured_step(
    module: GraphModule,
    num_fwd_outputs: int,
    static_lifetime_input_indices: Sequence[int] | None = None,
) -> CapturedStep:
    """Return what a partitioner was called with."""
    static = tuple(static_lifetime_input_indices or ())
    return CapturedStep(module, num_fwd_outputs, static, _mutated_inputs(module, num_fwd_outputs))


def _mutated_inputs(module: GraphModule, num_fwd_outputs: int) -> tuple[int, ...]:
    """Return the primals that the forward of a joint graph writes over, once it has ended."""
    described = module.graph.output_node().meta.get("desc", ())[:num_fwd_outputs]
    written = {d.mutated_input for d in described if isinstance(d, InputMutationAOTOutput)}
    placeholders = module.graph.find_nodes(op="placeholder")
    return tuple(i for i, node in enumerate(placeholders) if node.meta.get("desc") in written)


def _stop(
    module: GraphModule,
    joint_inputs: Any,
    *,
    num_fwd_outputs: int,
    static_lifetime_input_indices: Sequence[int] | None = None,
    **_: Any,
) -> Any:
    raise _Captured(captured_step(module, num_fwd_outputs, static_lifetime_input_indices))


def _refuse(module: GraphModule, example_inputs: Any) -> Any:
    raise _NothingToTrain


def _explained(error: Exception) -> PlannerError:
    inner = getattr(error, "inner_exception", error)
    if isinstance(inner, PlannerError):
        return inner
    reason = "\n".join(line for line in str(inner).splitlines() if line.strip())
    if isinstance(inner, exc.UserError) or "data-dependent" in reason.lower():
        return LoweringError(
            "the step's shapes depend on the values of its tensors, so its bytes are not known "
            f"before it runs. PyTorch says: {reason}"
        )
    if isinstance(inner, exc.Unsupported):
        return LoweringError(
            "the step is not one graph: PyTorch's tracer breaks it. Plan the parts on their own, "
            f"or remove the break. PyTorch says: {reason}"
        )
    return LoweringError(f"PyTorch cannot trace the step: {type(inner).__name__}: {reason}")
