"""Execution of a graph module that holds no value longer than its last use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.fx.graph import _BoxedCodeGen

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.fx import GraphModule


def boxed(module: GraphModule, example_inputs: Any = None) -> Callable[[list[Any]], Any]:
    """Return a function that takes its arguments in a list, which it empties.

    Every value, the arguments included, is dropped after the operator that reads it last. Autograd
    records nothing meanwhile: it would keep every operand a second time.

    Parameters
    ----------
    module : torch.fx.GraphModule
        Its code becomes that of the returned function.
    example_inputs
        Unused; compilers of AOTAutograd are called with them.
    """
    module.graph.set_codegen(_BoxedCodeGen())
    module.recompile()
    forward = module.forward

    def run(arguments: list[Any]) -> Any:
        with torch.no_grad():
            return forward(arguments)

    run._boxed_call = True  # pyright: ignore[reportFunctionMemberAccess]
    return run
