"""The shape cascade: a concrete type for every value, from whichever source knows it first.

Sources, in order; each only fills gaps, and two that contradict each other are an error:

1. the user's ``--shape`` and what the file declares, symbolic dimensions bound before;
2. ONNX's shape inference over the whole graph;
3. node by node: the same inference with the contents of computed constants (reshape targets),
   rules for results that inference leaves open, the bodies of control flow;
4. ONNX Runtime's symbolic inference, where installed and something is still unknown.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, numpy_helper, shape_inference

from frontends.onnx.constants import constant_tensor
from frontends.onnx.rules import type_of_constant, types_by_rule
from frontends.onnx.scope import MAX_VALUE_ELEMENTS, stored_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import TensorProto as Tensor
    from onnx import ValueInfoProto
    from onnx.defs import OpSchema

    from frontends.onnx.dims import Bindings
    from frontends.onnx.dtypes import TensorType
    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope

ONNX_INFERENCE = "ONNX shape inference"
SYMBOLIC_INFERENCE = "ONNX Runtime's symbolic shape inference"
SYMBOLIC_TIME_LIMIT_S = 60


def add_declared(
    scope: Scope, values: Iterable[ValueInfoProto], bindings: Bindings, source: str = "the file"
) -> None:
    """Note what the file declares about values, with symbolic dimensions bound."""
    for value in values:
        kind = value.type.WhichOneof("value")
        shape = bindings.shape_of(value) if kind == "tensor_type" else None
        if shape is not None and all(isinstance(dim, int) for dim in shape):
            bound = onnx.helper.make_tensor_type_proto(value.type.tensor_type.elem_type, shape)
            scope.add_proto(value.name, bound, source)
        elif kind is not None:
            scope.add_proto(value.name, value.type, source)


def infer_graph(model: ModelProto, source: str, scope: Scope) -> None:
    """Whole-graph inference by ONNX, which is one fast pass but stops at unknown operators.

    Without its data propagation, which computes a `Range` or a chain of `Concat` of any length
    that the file asks for: the walk node by node propagates contents within bounds.

    Parameters
    ----------
    model : ModelProto
        A copy made by `bare_model`, so that what the file declares cannot bend the result.
    """
    try:
        inferred = shape_inference.infer_shapes(model)
    except Exception:  # InferenceError, ValidationError, ...: the walk node by node goes further
        return
    _add_values(scope, inferred, source)


def infer_symbolically(model: ModelProto, scope: Scope) -> None:
    """Fill gaps with ONNX Runtime's symbolic inference; quietly nothing without it.

    Parameters
    ----------
    model : ModelProto
        A copy made by `bare_model`.
    """
    if find_spec("onnxruntime") is None:
        return
    worker = Path(__file__).with_name("symbolic_worker.py")
    try:
        with tempfile.TemporaryDirectory() as folder:
            # -P: the worker's folder must not shadow modules by the names of ours.
            run = subprocess.run(
                [sys.executable, "-P", str(worker)],
                input=model.SerializeToString(),
                capture_output=True,
                cwd=folder,
                timeout=SYMBOLIC_TIME_LIMIT_S,
                check=True,
            )
        inferred = ModelProto.FromString(run.stdout)
    except (OSError, subprocess.SubprocessError, DecodeError, EncodeError):
        return
    _add_values(scope, inferred, SYMBOLIC_INFERENCE)


def _add_values(scope: Scope, inferred: ModelProto, source: str) -> None:
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        scope.add_proto(value.name, value.type, source)


def bare_model(
    model: ModelProto,
    nodes: Sequence[Node],
    inputs: Mapping[str, ValueInfoProto],
    outputs: Iterable[str],
    scope: Scope,
    *,
    declare: bool = False,
) -> ModelProto:
    """A copy for inference: the nodes, concrete inputs, and contents of small constants only.

    Large or absent constants become graph inputs, because symbolic inference reads every constant
    it sees. The model itself is never changed.

    Parameters
    ----------
    declare : bool
        Put all types known so far in as ``value_info``.
    """
    bare = ModelProto(ir_version=max(model.ir_version, 4))
    bare.opset_import.extend(model.opset_import)
    known_domains = {entry.domain for entry in model.opset_import}
    for node in nodes:
        for domain, version in node.versions.items():
            if domain not in known_domains:
                known_domains.add(domain)
                bare.opset_import.add(domain=domain, version=version)
        break
    graph = bare.graph
    graph.name = "graph"
    for name, declared in inputs.items():
        type_ = scope.types.get(name)
        graph.input.add(name=name, type=declared.type if type_ is None else _type_proto(type_))
    for name, tensor in scope.initializers.items():
        if tensor is not None and _is_small(tensor):
            graph.initializer.append(tensor)
        else:
            graph.input.add(name=name, type=_type_proto(scope.types[name]))
    protos: list[NodeProto] = []
    written: list[str] = []
    for node in nodes:
        tensor = constant_tensor(node) if node.type == "Constant" else None
        if tensor is not None and not _is_small(tensor):
            graph.input.add(name=node.outputs[0], type=_type_proto(stored_type(tensor)))
        else:
            protos.append(node.proto)
            written.extend(node.results)
    graph.node.extend(protos)
    for name in outputs:
        graph.output.add(name=name)
    if declare:
        for name in written:
            if name in scope.types:
                graph.value_info.add(name=name, type=_type_proto(scope.types[name]))
    return bare


def infer_node(node: Node, scope: Scope) -> None:
    """Types of the results of one node from those of its operands and constant contents."""
    if node.type == "Constant":
        type_ = type_of_constant(node)
        if type_ is not None:
            scope.add(node.outputs[0], type_, "its Constant node")
        return
    schema = _schema(node.op_type, node.version, node.domain)
    if schema is not None and not node.bodies:
        for name, proto in _infer_by_schema(schema, node, scope).items():
            if name:
                scope.add_proto(name, proto, ONNX_INFERENCE)
    if any(name not in scope.types and name not in scope.kinds for name in node.results):
        by_rule = types_by_rule(node, scope)
        for name, type_ in zip(node.outputs, by_rule, strict=False):
            if name and type_ is not None and name not in scope.types:
                scope.add(name, type_, f"the rule for {node.type}")


def _infer_by_schema(schema: OpSchema, node: Node, scope: Scope) -> Mapping[str, TypeProto]:
    types: dict[str, TypeProto] = {}
    contents: dict[str, Tensor] = {}
    for name in node.inputs:
        if not name:
            continue
        type_ = scope.type_of(name)
        types[name] = scope.hints.get(name, TypeProto()) if type_ is None else _type_proto(type_)
        value = scope.value_of(name)
        if value is not None:
            contents[name] = numpy_helper.from_array(value, name)
    opsets = [onnx.helper.make_opsetid(*entry) for entry in node.versions.items()]
    try:
        return shape_inference.infer_node_outputs(
            schema, node.proto, types, contents, opset_imports=opsets
        )
    except Exception:  # any of onnx's errors: the operands do not fit the operator
        return {}


def strict_message(model: ModelProto) -> str:
    """What ONNX's strict inference has to say about the model, first line; empty for nothing."""
    try:
        shape_inference.infer_shapes(model, strict_mode=True)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0][:200] if lines else ""
    return ""


@lru_cache(maxsize=1024)
def _schema(op_type: str, version: int, domain: str) -> OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except Exception:  # SchemaError is not exported under one name by all releases
        return None


def _is_small(tensor: Tensor) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return False
    return 0 <= stored_type(tensor).elements <= MAX_VALUE_ELEMENTS


def _type_proto(type_: TensorType) -> TypeProto:
    return onnx.helper.make_tensor_type_proto(type_.element, type_.shape)
