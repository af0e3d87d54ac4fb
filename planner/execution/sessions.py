"""ONNX Runtime sessions without any optimisation, for one node or for many, on one thread.

Unoptimised, because only then a model gives bit for bit what its nodes give one by one.
"""

from __future__ import annotations

import ctypes
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from planner.errors import UsageError
from planner.interruption import listening_for_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import GraphProto

PROVIDERS = ["CPUExecutionProvider"]

# Smaller weights are part of the session's model: shape inference reads them.
_EMBEDDED_BYTES = 1 << 16
_OLDEST_IR = 4  # before, every initializer had to be an input as well
# Types for which numpy has no array that ONNX Runtime would take.
_WITHOUT_ARRAYS = frozenset(
    number
    for number in TensorProto.DataType.values()
    if number
    not in {
        TensorProto.FLOAT,
        TensorProto.UINT8,
        TensorProto.INT8,
        TensorProto.UINT16,
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.BOOL,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
        TensorProto.UINT32,
        TensorProto.UINT64,
    }
)


_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
# The file, line and signature of the function that refused.
_SOURCE_LINE = re.compile(r"/onnxruntime_src/\S+:\d+ .*?\) (?=[A-Z\[])")

_UNROUNDED = "/before rounding"


class ValueType(NamedTuple):
    """Element type (``TensorProto.DataType``) and shape of a value."""

    element: int
    shape: tuple[int, ...]


class Weight(NamedTuple):
    """A weight as ONNX Runtime takes it: small or unusual ones whole, others as a value beside."""

    proto: TensorProto
    value: Any


class RuntimeRefusalError(Exception):
    """ONNX Runtime does not take a model, or fails while it runs. Holds its message."""


def runtime() -> Any:
    """Return the module onnxruntime.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        with listening_for_ctrl_c() as ctrl_c:
            if ctrl_c.heard:  # extension modules make it an error of the import
                raise KeyboardInterrupt from None
        raise UsageError(
            "executing a model needs ONNX Runtime. Install it: pip install 'tensor-planner[run]'"
        ) from None
    return onnxruntime


def prepared_weight(tensor: TensorProto) -> Weight:
    """Prepare an initializer for `node_session`, without a copy of large ones."""
    size = len(tensor.raw_data)
    if size <= _EMBEDDED_BYTES or tensor.data_type in _WITHOUT_ARRAYS:
        return Weight(tensor, None)
    values = numpy_helper.to_array(tensor)
    proto = TensorProto(
        name=tensor.name,
        data_type=tensor.data_type,
        dims=tensor.dims,
        data_location=TensorProto.EXTERNAL,
    )
    proto.external_data.add(key="location", value="beside")
    return Weight(proto, runtime().OrtValue.ortvalue_from_numpy(values))


def node_session(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, ValueType],
    outputs: Iterable[str],
    weights: Mapping[str, Weight],
    versions: Mapping[str, int],
    ir_version: int,
    *,
    prepacks: bool,
) -> Any:
    """Return a session that runs some nodes.

    Parameters
    ----------
    nodes : sequence of NodeProto
        In topological order.
    weights : mapping of str to Weight
        Those that the nodes read, bodies included.
    versions : mapping of str to int
        Operator-set versions by domain.
    prepacks : bool
        As for `open_session`.

    Raises
    ------
    RuntimeRefusalError
        If ONNX Runtime does not take them.
    """
    graph = helper.make_graph(
        list(nodes),
        "steps",
        [
            helper.make_tensor_value_info(name, type_.element, type_.shape)
            for name, type_ in inputs.items()
        ],
        [ValueInfoProto(name=name) for name in outputs],
        [entry.proto for entry in weights.values()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, v) for domain, v in versions.items()],
        ir_version=max(_OLDEST_IR, ir_version),
    )
    beside = {name: entry.value for name, entry in weights.items() if entry.value is not None}
    return open_session(model.SerializeToString(), beside, prepacks=prepacks)


def rounded(nodes: Sequence[NodeProto], halves: frozenset[str]) -> list[NodeProto]:
    """Keep ONNX Runtime from leaving out the rounding to half precision between two nodes.

    It computes many half-precision operators in single precision, between two conversions, and
    drops conversions that meet: two nodes at once do not give what they give one by one. An
    Identity between them prevents it, as long as its result leaves the graph.

    Parameters
    ----------
    halves : frozenset of str
        Values in half precision.
    """
    if len(nodes) < 2 or halves.isdisjoint(name for node in nodes for name in node.output):
        return list(nodes)
    result: list[NodeProto] = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.output[:] = [name + _UNROUNDED if name in halves else name for name in node.output]
        result.append(copy)
        result += [
            helper.make_node("Identity", [name + _UNROUNDED], [name])
            for name in node.output
            if name in halves
        ]
    return result


def open_session(serialized: bytes, beside: Mapping[str, Any], *, prepacks: bool) -> Any:
    """Return a session of a serialized model; ``beside`` has the values of external weights.

    Parameters
    ----------
    prepacks : bool
        Whether kernels may rearrange weights beforehand. It changes the order of their sums: not
        for a model in which the same weights are operands elsewhere.

    Raises
    ------
    RuntimeRefusalError
        If ONNX Runtime does not take it.
    """
    module = runtime()
    options = module.SessionOptions()
    options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # what it keeps is not used again
    if not prepacks:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if beside:
        options.add_external_initializers(list(beside), list(beside.values()))
    try:
        return module.InferenceSession(serialized, options, providers=PROVIDERS)
    except Exception as error:
        raise RuntimeRefusalError(first_line(error)) from None


def model_session(model: ModelProto, weights: Mapping[str, Weight], *, prepacks: bool) -> Any:
    """Return a session of a whole model as it is.

    Parameters
    ----------
    weights : mapping of str to Weight
        Its initializers.
    prepacks : bool
        As for `open_session`.

    Raises
    ------
    RuntimeRefusalError
        If ONNX Runtime does not take it.
    """
    bare = ModelProto()
    for message, copy, left_out in (
        (model, bare, "graph"),
        (model.graph, bare.graph, "initializer"),
    ):
        for field, value in message.ListFields():
            if field.name == left_out:
                continue
            if field.is_repeated:
                getattr(copy, field.name).extend(value)
            elif field.message_type is not None:
                getattr(copy, field.name).CopyFrom(value)
            else:
                setattr(copy, field.name, value)
    _name_nodes(bare.graph)
    bare.graph.initializer.extend(entry.proto for entry in weights.values())
    beside = {name: entry.value for name, entry in weights.items() if entry.value is not None}
    return open_session(bare.SerializeToString(), beside, prepacks=prepacks)


def _name_nodes(graph: GraphProto) -> None:
    """Name nodes without a name after their results: ONNX Runtime names what it refuses."""
    taken = {node.name for node in graph.node}
    for node in graph.node:
        name = next(filter(None, node.output), "")
        if not node.name and name not in taken:
            node.name = name
            taken.add(name)


def run_session(session: Any, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """Run a session on OrtValues and return its results as such.

    Raises
    ------
    RuntimeRefusalError
        If it fails.
    """
    try:
        return session.run_with_ort_values(list(outputs), dict(feeds))
    except Exception as error:
        raise RuntimeRefusalError(first_line(error)) from None


def ort_value(content: bytes | NDArray[Any], type_: ValueType) -> Any:
    """Return an OrtValue with a copy of these bytes.

    Raises
    ------
    RuntimeRefusalError
        If ONNX Runtime has no tensors of that type.
    """
    module = runtime()
    size = math.prod(type_.shape)
    if type_.element in _WITHOUT_ARRAYS or size == 0:
        try:
            value = module.OrtValue.ortvalue_from_shape_and_type(
                list(type_.shape), type_.element, "cpu"
            )
        except RuntimeError as error:
            raise RuntimeRefusalError(first_line(error)) from None
        raw_bytes(value)[:] = np.frombuffer(content, dtype=np.uint8)
        return value
    dtype = helper.tensor_dtype_to_np_dtype(type_.element)
    values = np.frombuffer(content, dtype=dtype).reshape(type_.shape).copy()
    return module.OrtValue.ortvalue_from_numpy(values)


def raw_bytes(value: Any) -> NDArray[np.uint8]:
    """Bytes of an OrtValue, without a copy: it has to outlive them."""
    size = value.tensor_size_in_bytes()
    if size == 0:
        return np.empty(0, dtype=np.uint8)
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(value.data_ptr()))


def first_line(error: Exception) -> str:
    """Return what ONNX Runtime says, without its codes and file names."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    text = _CODE.sub("", text)
    return _SOURCE_LINE.sub("", text)[:500]
