"""The shape cascade: a concrete type for every value, from whichever source knows it first.

Sources, in order; each only fills gaps, and two that contradict each other are an error:

1. the user's ``--shape`` and what the file declares, symbolic dimensions bound before;
2. ONNX's shape inference, node by node and of declared values too, with the contents of computed
   constants (reshape targets), and rules for results that it leaves open (`inference`, `rules`);
3. what crosses the border of control-flow bodies (`control_flow`);
4. ONNX Runtime's symbolic inference, where installed and something is still unknown.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto, NodeProto, TensorProto, TypeProto

from frontends.onnx.constants import constant_tensor
from frontends.onnx.inlining import operator_versions
from frontends.onnx.scope import MAX_VALUE_ELEMENTS, stored_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import TensorProto as Tensor
    from onnx import ValueInfoProto

    from frontends.onnx.dims import Bindings
    from frontends.onnx.dtypes import TensorType
    from frontends.onnx.nodes import Node
    from frontends.onnx.scope import Scope

FILE = "the file"
SYMBOLIC_INFERENCE = "ONNX Runtime's symbolic shape inference"
SYMBOLIC_TIME_LIMIT_S = 60


def add_declared(scope: Scope, values: Iterable[ValueInfoProto], bindings: Bindings) -> None:
    """Note what the file declares about values, with symbolic dimensions bound."""
    for value in values:
        kind = value.type.WhichOneof("value")
        shape = bindings.shape_of(value) if kind == "tensor_type" else None
        if shape is not None and all(isinstance(dim, int) for dim in shape):
            bound = onnx.helper.make_tensor_type_proto(value.type.tensor_type.elem_type, shape)
            scope.add_proto(value.name, bound, FILE)
        elif kind is not None:
            scope.add_proto(value.name, value.type, FILE)


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
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        scope.add_proto(value.name, value.type, SYMBOLIC_INFERENCE)


def bare_model(
    model: ModelProto,
    nodes: Sequence[Node],
    inputs: Mapping[str, ValueInfoProto],
    outputs: Iterable[str],
    scope: Scope,
) -> ModelProto:
    """A copy for inference: the nodes, all types known, and contents of small constants only.

    Large or absent constants become graph inputs, because symbolic inference reads every constant
    it sees. The model itself is never changed.
    """
    bare = ModelProto(ir_version=max(model.ir_version, 4))
    bare.opset_import.extend(model.opset_import)
    imported = set(operator_versions(model))
    for versions in {id(node.versions): node.versions for node in nodes}.values():
        for domain in sorted(versions.keys() - imported):  # of functions that were inlined
            bare.opset_import.add(domain=domain, version=versions[domain])
            imported.add(domain)
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
        if tensor is not None and node.results and not _is_small(tensor):
            graph.input.add(name=node.results[0], type=_type_proto(stored_type(tensor)))
        else:
            protos.append(node.proto)
            written.extend(node.results)
    graph.node.extend(protos)
    for name in outputs:
        graph.output.add(name=name)
    for name in written:
        if name in scope.types:
            graph.value_info.add(name=name, type=_type_proto(scope.types[name]))
    return bare


def _is_small(tensor: Tensor) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return False
    return 0 <= stored_type(tensor).elements <= MAX_VALUE_ELEMENTS


def _type_proto(type_: TensorType) -> TypeProto:
    return onnx.helper.make_tensor_type_proto(type_.element, type_.shape)
