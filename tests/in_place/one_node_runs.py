"""One operator run by ONNX Runtime's CPU kernel, its result on top of an operand or not."""

from __future__ import annotations

import math
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, defs, helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import NodeProto

    Array = NDArray[Any]

ort = pytest.importorskip("onnxruntime")
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_state  # noqa: E402

OLDEST_OPSET = 7
"""The oldest that ONNX Runtime promises to run."""

TYPES: Mapping[str, tuple[int, Any]] = {
    "float": (TensorProto.FLOAT, np.float32),
    "double": (TensorProto.DOUBLE, np.float64),
    "float16": (TensorProto.FLOAT16, np.float16),
    "bfloat16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
    "float8e4m3fn": (TensorProto.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
    "float8e4m3fnuz": (TensorProto.FLOAT8E4M3FNUZ, ml_dtypes.float8_e4m3fnuz),
    "float8e5m2": (TensorProto.FLOAT8E5M2, ml_dtypes.float8_e5m2),
    "float8e5m2fnuz": (TensorProto.FLOAT8E5M2FNUZ, ml_dtypes.float8_e5m2fnuz),
    "int8": (TensorProto.INT8, np.int8),
    "int16": (TensorProto.INT16, np.int16),
    "int32": (TensorProto.INT32, np.int32),
    "int64": (TensorProto.INT64, np.int64),
    "uint8": (TensorProto.UINT8, np.uint8),
    "uint16": (TensorProto.UINT16, np.uint16),
    "uint32": (TensorProto.UINT32, np.uint32),
    "uint64": (TensorProto.UINT64, np.uint64),
    "bool": (TensorProto.BOOL, np.bool_),
}

_SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1.0, -1.0, 3e38, -3e38, 1e-310)


@cache
def kernel_versions(op_type: str, domain: str = "") -> frozenset[int]:
    """First versions of all CPU kernels; empty where ONNX Runtime runs a function's nodes."""
    return frozenset(
        kernel.version_range[0]
        for kernel in runtime_state.get_all_opkernel_def()
        if (kernel.op_name, kernel.domain, kernel.provider)
        == (op_type, domain, "CPUExecutionProvider")
    )


def opsets(op_type: str, domain: str) -> list[int]:
    """One for every kernel and every definition of an operator type, and the newest."""
    if domain:
        return [newest_opset()]
    defined = {
        schema.since_version
        for schema in defs.get_all_schemas_with_history()
        if (schema.name, schema.domain) == (op_type, "")
    }
    first = max(min(defined), OLDEST_OPSET)
    later = {version for version in defined | kernel_versions(op_type) if version > first}
    return sorted({first, newest_opset(), *(v for v in later if v <= newest_opset())})


@cache
def newest_opset() -> int:
    """The newest version that onnx and ONNX Runtime both know."""
    for opset in range(defs.onnx_opset_version(), OLDEST_OPSET, -1):
        try:
            Session(one_node("Relu", "", ["x"], {}), {"x": "float"}, "float", opset)
        except Exception:  # ONNX Runtime raises its own, unrelated kinds
            continue
        return opset
    raise AssertionError("no opset can be run")


def one_node(
    op_type: str, domain: str, names: Sequence[str], attributes: Mapping[str, Any]
) -> NodeProto:
    """A node with the result ``y``."""
    return helper.make_node(op_type, names, ["y"], domain=domain, **attributes)


class Operand(NamedTuple):
    """Values as a vector, and their shape."""

    values: Array
    shape: tuple[int, ...]


class Session:
    """One operator with operands of given types and of any shapes.

    Parameters
    ----------
    operands : mapping of str to str
        Type by name, those that are omitted left out.
    """

    def __init__(
        self, node: NodeProto, operands: Mapping[str, str], result: str, opset: int
    ) -> None:
        self.operands = operands
        self.result = result
        graph = helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info(n, TYPES[k][0], None) for n, k in operands.items()],
            [helper.make_tensor_value_info("y", TYPES[result][0], None)],
        )
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, ir_version=8 if opset < 21 else 10, opset_imports=imports)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, operands: Mapping[str, Operand], shape: Sequence[int], over: str | None) -> bytes:
        """Bytes of the result, written over an operand or to a place of its own."""
        buffers = {name: _aligned(operand.values) for name, operand in operands.items()}
        number, dtype = TYPES[self.result]
        if over is None:
            place = _aligned(np.zeros(math.prod(shape), dtype))
        else:
            place = buffers[over]
        binding = self._session.io_binding()
        for name, kind in self.operands.items():
            address, own = buffers[name].ctypes.data, list(operands[name].shape)
            binding.bind_input(name, "cpu", 0, TYPES[kind][0], own, address)
        binding.bind_output("y", "cpu", 0, number, list(shape), place.ctypes.data)
        self._session.run_with_iobinding(binding)
        return place.tobytes()


def _aligned(values: Array) -> Array:
    """A copy at a multiple of 64 bytes, as in an arena."""
    room = np.empty(values.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


@cache
def drawn(label: str, kind: str, shape: Sequence[int]) -> Array:
    """Values of all magnitudes, special ones among them, as a vector; the same for a label."""
    rng = np.random.default_rng(zlib.crc32(label.encode()))
    dtype = np.dtype(TYPES[kind][1])
    count = math.prod(shape)
    if dtype == np.bool_:
        return rng.integers(0, 2, count).astype(bool)
    bits = rng.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype)
    if dtype.kind in "iu":
        return bits
    with np.errstate(over="ignore", under="ignore"):
        values = (rng.normal(size=count) * 3).astype(dtype)
        special = np.resize(np.array(_SPECIAL), count).astype(dtype)
    which = rng.integers(0, 8, count)
    return np.where(which == 0, special, np.where(which < 3, bits, values))
