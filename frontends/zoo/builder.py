"""Writes one weightless ONNX graph: nodes, the static shape of every tensor, absent weights."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IR_VERSION = 10
OPSET = 20
WEIGHT_FILE = "weights.bin"
# beyond these an option has a digit too many; the largest network of the zoo is far below
MAX_NODES = 50_000
MAX_ELEMENTS = 1 << 40

ELEMENT_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int8": TensorProto.INT8,
}
_ITEM_BYTES = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT8: 1,
}
_LOWEST = {
    TensorProto.FLOAT: float(np.finfo(np.float32).min),
    TensorProto.FLOAT16: float(np.finfo(np.float16).min),
    TensorProto.BFLOAT16: -3.3895313892515355e38,
    TensorProto.INT8: -128.0,
}


class Value(NamedTuple):
    """A tensor of the graph under construction.

    Attributes
    ----------
    name : str
    shape : tuple of int
    element_type : int
        ``TensorProto.DataType``.
    """

    name: str
    shape: tuple[int, ...]
    element_type: int


class GraphBuilder:
    """Collects nodes and tensors of one network.

    Parameters
    ----------
    name : str
        Name of the graph.
    dtype : str
        Element type of activations and weights, a key of `ELEMENT_TYPES`. ONNX defines no int8
        `Conv`, `Gemm` or `LayerNormalization`, and before opset 22 no bfloat16 `Conv`: such a
        graph has the right bytes for planning and cannot be executed.
    fold_batchnorm : bool
        Whether a `BatchNormalization` right after a convolution becomes the convolution's bias, as
        in graphs made for deployment.

    Raises
    ------
    UsageError
        If the element type is unknown.
    """

    def __init__(self, name: str, *, dtype: str, fold_batchnorm: bool = False) -> None:
        if dtype not in ELEMENT_TYPES:
            raise UsageError(
                f"{name} cannot have element type {dtype!r}. Choose from: "
                f"{', '.join(ELEMENT_TYPES)}."
            )
        self.name = name
        self.element_type = ELEMENT_TYPES[dtype]
        self.fold_batchnorm = fold_batchnorm
        self._nodes: list[NodeProto] = []
        self._values: list[Value] = []
        self._inputs: list[Value] = []
        self._outputs: dict[str, str] = {}
        self._initializers: list[TensorProto] = []
        self._constants: dict[tuple[int, tuple[int, ...], tuple[float, ...]], Value] = {}
        self._weight_bytes = 0
        self._scope: tuple[str, ...] = ()
        self._last_suffix: dict[str, int] = {}

    @property
    def lowest(self) -> float:
        """Smallest finite number of the element type: what masks add to attention scores."""
        return _LOWEST[self.element_type]

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of everything made inside."""
        self._scope = (*self._scope, name)
        try:
            yield
        finally:
            self._scope = self._scope[:-1]

    def input(self, name: str, shape: Sequence[int], element_type: int | None = None) -> Value:
        """Declare a graph input, in the element type of the network unless another is given.

        Raises
        ------
        UsageError
            If the shape is not one of a tensor that can be planned.
        """
        value = self._value(name, shape, element_type or self.element_type)
        self._inputs.append(value)
        return value

    def parameter(self, name: str, shape: Sequence[int]) -> Value:
        """Declare a weight: dims and type, and data in a file that does not exist."""
        value = self._value(self._qualified(name), shape, self.element_type)
        length = math.prod(shape) * _ITEM_BYTES[self.element_type]
        tensor = TensorProto(
            name=value.name,
            data_type=self.element_type,
            dims=shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, text in (
            ("location", WEIGHT_FILE),
            ("offset", str(self._weight_bytes)),
            ("length", str(length)),
        ):
            tensor.external_data.add(key=key, value=text)
        self._weight_bytes += length
        self._initializers.append(tensor)
        return value

    def constant(
        self, values: Sequence[float], *, shape: Sequence[int], element_type: int | None = None
    ) -> Value:
        """Store a small tensor inside the file; equal ones are stored once."""
        kind = element_type or self.element_type
        key = (kind, tuple(shape), tuple(values))
        if key not in self._constants:
            value = self._value("constant", shape, kind)
            self._initializers.append(helper.make_tensor(value.name, kind, shape, values))
            self._constants[key] = value
        return self._constants[key]

    def integers(self, values: Sequence[int]) -> Value:
        """Store a vector of int64, such as the target of a Reshape."""
        return self.constant(values, shape=(len(values),), element_type=TensorProto.INT64)

    def scalar(self, value: float) -> Value:
        """Store a number in the element type of the network."""
        return self.constant((value,), shape=())

    def node(
        self,
        op_type: str,
        inputs: Sequence[Value],
        shape: Sequence[int],
        *,
        name: str = "",
        element_type: int | None = None,
        **attributes: Any,
    ) -> Value:
        """Append a node with one result of the given shape; node and result share the name."""
        (result,) = self.node_with_results(
            op_type, inputs, [shape], name=name, element_type=element_type, **attributes
        )
        return result

    def node_with_results(
        self,
        op_type: str,
        inputs: Sequence[Value],
        shapes: Sequence[Sequence[int]],
        *,
        name: str = "",
        element_type: int | None = None,
        **attributes: Any,
    ) -> list[Value]:
        """Append a node with one result per shape, in the type of its first input by default."""
        kind = element_type or inputs[0].element_type
        label = self._qualified(name or op_type.lower())
        results = [self._value(label, shape, kind) for shape in shapes]
        if len(self._nodes) == MAX_NODES:
            raise UsageError(
                f"{self.name}: these options make more than {MAX_NODES:,} nodes. Use smaller ones."
            )
        self._nodes.append(
            helper.make_node(
                op_type,
                [value.name for value in inputs],
                [value.name for value in results],
                name=results[0].name,
                **attributes,
            )
        )
        self._values.extend(results)
        return results

    def output(self, name: str, value: Value) -> None:
        """Make a node's result a graph output and give it a name of its own."""
        self._outputs[value.name] = self._unique(name)

    def model(self) -> ModelProto:
        """Return the finished model, with ``value_info`` for every intermediate tensor."""
        for node in self._nodes:
            node.input[:] = [self._outputs.get(name, name) for name in node.input]
            node.output[:] = [self._outputs.get(name, name) for name in node.output]
        declared = {value.name: value for value in self._values}
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [_value_info(value) for value in self._inputs],
            [_value_info(declared[old]._replace(name=new)) for old, new in self._outputs.items()],
            self._initializers,
            value_info=[
                _value_info(value) for value in self._values if value.name not in self._outputs
            ],
        )
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="tensor-planner zoo",
        )

    def _value(self, name: str, shape: Sequence[int], element_type: int) -> Value:
        if math.prod(shape) > MAX_ELEMENTS or min(shape, default=1) < 1:
            raise UsageError(
                f"{self.name}: tensor {name!r} would have shape {'x'.join(map(str, shape))}. "
                f"Every dimension must be at least 1, and the elements at most {MAX_ELEMENTS:,}."
            )
        return Value(self._unique(name), tuple(shape), element_type)

    def _qualified(self, name: str) -> str:
        return ".".join((*self._scope, name))

    def _unique(self, name: str) -> str:
        suffix = self._last_suffix.get(name)
        if suffix is None:
            self._last_suffix[name] = 0
            return name
        self._last_suffix[name] = suffix + 1
        return self._unique(f"{name}_{suffix + 1}")


def _value_info(value: Value) -> ValueInfoProto:
    return helper.make_tensor_value_info(value.name, value.element_type, value.shape)


def parameters(model: ModelProto) -> int:
    """Count the trainable numbers of a model of the zoo.

    Running means and variances of BatchNormalization are stored like weights and are not counted;
    nor are constants stored inside the file.
    """
    statistics = {
        name
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[3:5]
    }
    return sum(
        math.prod(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL and tensor.name not in statistics
    )
