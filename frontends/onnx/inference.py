"""Result types of one node, from the types of its operands and the contents of constants.

ONNX's inference runs node by node here instead of over the whole graph. Its own data propagation
computes a `Range` or a chain of `Concat` of any length that a file asks for, and some of its
functions abort the process on negative dimensions; here contents are bounded and operands are
checked before.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import onnx
from onnx import NodeProto, TypeProto, numpy_helper, shape_inference

from frontends.onnx.nodes import read_node
from frontends.onnx.rules import type_of_constant, types_by_rule

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from onnx.defs import OpSchema

    from frontends.onnx.dtypes import TensorType
    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope

ONNX_INFERENCE = "ONNX shape inference"
MAX_CHECKS = 5000
"""So many different nodes are inferred whose results are known already, to find contradictions."""

_FUSED = {"com.microsoft.FusedConv": "Conv", "com.microsoft.FusedGemm": "Gemm"}
_MAX_FLOATS = 16  # longer lists of floats are weights, not scales of a Resize


class NodeInference:
    """Infers results node by node; equal nodes with equal operands are asked about once.

    Attributes
    ----------
    notes : list of str
        Where the file is believed although ONNX infers otherwise.
    unchecked : int
        Nodes whose declared results were taken on trust after `MAX_CHECKS` different others.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.unchecked = 0
        self._memo: dict[Hashable, Sequence[TypeProto | None]] = {}
        self._checks = 0

    def infer(self, node: Node, scope: Scope) -> None:
        """Note the types of the node's results.

        Raises
        ------
        LoweringError
            If they contradict what is known.
        """
        if node.type == "Constant":
            type_ = type_of_constant(node)
            if type_ is not None and node.results:
                scope.add(node.results[0], type_, "its Constant node")
            return
        node = _as_standard(node)
        schema = None if node.bodies else _schema(node.op_type, node.version, node.domain)
        if schema is not None:
            types = self._by_schema(schema, node, scope)
            for name, proto in zip(node.outputs, types, strict=False):
                if name and proto is not None and not self._is_padded(node, name, proto, scope):
                    scope.add_proto(name, proto, ONNX_INFERENCE)
        if any(name not in scope.types and name not in scope.kinds for name in node.results):
            by_rule = types_by_rule(node, scope)
            for name, type_ in zip(node.outputs, by_rule, strict=False):
                if name and type_ is not None and name not in scope.types:
                    scope.add(name, type_, f"the rule for {node.type}")

    def _by_schema(self, schema: OpSchema, node: Node, scope: Scope) -> Sequence[TypeProto | None]:
        operands: list[TensorType | bytes | None] = []
        contents: dict[str, NDArray[np.generic]] = {}
        for name in node.inputs:
            type_ = scope.type_of(name) if name else None
            hint = scope.hints.get(name) if type_ is None else None
            operands.append(hint.SerializeToString() if hint is not None else type_)
            value = scope.value_of(name) if name and scope.is_constant(name) else None
            if value is not None and (value.dtype.kind in "iub" or value.size <= _MAX_FLOATS):
                contents[name] = value
        key = (
            node.op_type,
            node.version,
            node.domain,
            tuple(name != "" for name in node.outputs),
            tuple(attribute.SerializeToString() for attribute in node.proto.attribute),
            tuple(operands),
            # Which operands are one and the same value matters to nobody's type.
            tuple(_key_of(contents.get(name)) for name in node.inputs),
        )
        types = self._memo.get(key)
        if types is None:
            if all(name in scope.types for name in node.results):
                self._checks += 1
                if self._checks > MAX_CHECKS:
                    self.unchecked += 1
                    return ()
            try:
                found = _infer(schema, node, scope, contents)
            except Exception:  # any of onnx's errors: the operands do not fit the operator
                found = {}
            types = [found.get(name) if name else None for name in node.outputs]
            self._memo[key] = types
        return types

    def _is_padded(self, node: Node, name: str, inferred: TypeProto, scope: Scope) -> bool:
        """Whether a `ConvTranspose` lacks only the `output_padding` that its declared result needs.

        A strided Conv maps several sizes to one. Generators of gradients declare the right one and
        leave the attribute out.
        """
        known = scope.types.get(name)
        if node.type != "ConvTranspose" or known is None or known.shape == ():
            return False
        if node.attribute("output_padding") or node.attribute("output_shape"):
            return False
        tensor = inferred.tensor_type
        dims = [dim.dim_value for dim in tensor.shape.dim]
        slack = (1, 1, *(node.integers("strides") or (1,) * len(dims[2:])))
        extra = [size - dim for size, dim in zip(known.shape, dims, strict=False)]
        if (
            tensor.elem_type != known.element
            or not len(known.shape) == len(dims) == len(slack)
            or not any(extra)
            or not all(0 <= more < limit for more, limit in zip(extra, slack, strict=True))
        ):
            return False
        self.notes.append(
            f'{node.label}: the file says {known} for "{name}", which takes an output_padding of '
            f"{extra[2:]} that the node lacks. The file is believed."
        )
        return True


def _as_standard(node: Node) -> Node:
    """Operators fused with an activation have the shapes of what they fuse."""
    twin = _FUSED.get(node.type)
    schema = None if twin is None else _schema(twin, node.versions.get("", 0), "")
    if twin is None or schema is None:
        return node
    proto = NodeProto(op_type=twin, input=node.inputs[: schema.max_input], output=node.outputs)
    proto.attribute.extend(a for a in node.proto.attribute if a.name in schema.attributes)
    return read_node(proto, node.versions)


def inference_message(node: Node, scope: Scope) -> str:
    """What ONNX has to say about a node whose results stay unknown; empty for nothing."""
    schema = None if node.bodies else _schema(node.op_type, node.version, node.domain)
    if schema is None:
        return ""
    try:
        _infer(schema, node, scope, {})
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0][:200] if lines else ""
    return ""


def _infer(
    schema: OpSchema, node: Node, scope: Scope, contents: Mapping[str, NDArray[np.generic]]
) -> Mapping[str, TypeProto]:
    types: dict[str, TypeProto] = {}
    for name in filter(None, node.inputs):
        type_ = scope.type_of(name)
        if type_ is not None:
            types[name] = onnx.helper.make_tensor_type_proto(type_.element, type_.shape)
        else:
            types[name] = scope.hints.get(name, TypeProto())
    tensors = {name: numpy_helper.from_array(value, name) for name, value in contents.items()}
    opsets = [onnx.helper.make_opsetid(*entry) for entry in node.versions.items()]
    return shape_inference.infer_node_outputs(
        schema, node.proto, types, tensors, opset_imports=opsets
    )


def _key_of(value: NDArray[np.generic] | None) -> Hashable:
    return None if value is None else (value.dtype.str, value.shape, value.tobytes())


@lru_cache(maxsize=1024)
def _schema(op_type: str, version: int, domain: str) -> OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except Exception:  # SchemaError is not exported under one name by all releases
        return None
