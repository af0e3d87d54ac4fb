"""Which operators may be executed a second time: those without chance, memory or an effect."""

from __future__ import annotations

import operator as python_operator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import CheckpointPolicy

if TYPE_CHECKING:
    from torch.fx import Node

# Operators of other libraries may keep state that their schemas do not tell.
_KNOWN = frozenset(
    (
        "aten",
        "prims",
        "_quantized",
        "fbgemm",
        "mkldnn",
        "mkl",
        "quantized_decomposed",
        "torchvision",
    )
)
_PURE_HIGHER_ORDER = frozenset(
    ("flex_attention", "flex_attention_backward", "triton_kernel_wrapper_functional")
)
# They write over their statistics, and their schemas do not say so.
_WITH_STATISTICS = frozenset(("aten::cudnn_batch_norm", "aten::miopen_batch_norm"))


def is_mutation(node: Node) -> bool:
    """Whether a node's operator writes over an operand."""
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def is_random(node: Node) -> bool:
    """Whether two runs of a node's operator give different results.

    An operator that applies dropout in passing does not if the rate is zero.
    """
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    return operand(node, "dropout_p", default=None) not in (0, 0.0)


def is_collective(node: Node) -> bool:
    """Whether a node's operator takes part in communication, its wait included."""
    return getattr(node.target, "namespace", "") in ("_c10d_functional", "c10d_functional", "c10d")


def is_wait(node: Node) -> bool:
    """Whether a node waits for a collective, which reads its operands until then."""
    return is_collective(node) and "wait_tensor" in str(node.target)


def may_run_again(node: Node) -> bool:
    """Whether a second execution gives the same results and has no effect.

    State that the program writes over is another matter: see `frontends.torch.halves`.
    """
    target = node.target
    if isinstance(target, torch._ops.HigherOrderOperator):
        return target._name in _PURE_HIGHER_ORDER
    if not isinstance(target, torch._ops.OpOverload):
        return _is_python_arithmetic(target)
    if is_mutation(node) or is_random(node) or target.namespace not in _KNOWN:
        return False
    if target._schema.name in _WITH_STATISTICS and operand(node, "training", default=True):
        return operand(node, "running_mean", default=None) is None
    if torch.Tag.data_dependent_output in target.tags or node.is_impure(impure_random=False):
        return False
    return node.meta.get("recompute") is not CheckpointPolicy.MUST_SAVE


def operand(node: Node, name: str, *, default: Any) -> Any:
    """Operand of an ATen operator by the name that its schema gives it."""
    schema = getattr(node.target, "_schema", None)
    for position, argument in enumerate(schema.arguments if schema is not None else ()):
        if argument.name == name:
            if position < len(node.args):
                return node.args[position]
            return node.kwargs.get(name, argument.default_value)
    return default


def _is_python_arithmetic(target: Any) -> bool:
    """Whether a function computes with symbolic sizes, or takes tuples apart."""
    module = getattr(target, "__module__", "")
    return target is python_operator.getitem or module in (
        *("_operator", "math", "builtins"),
        *("torch", "torch.fx.experimental.sym_node", "torch.utils._sympy.functions"),
    )
