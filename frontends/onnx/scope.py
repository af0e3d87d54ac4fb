"""What is known about the values of one graph: types, constness, small constant contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frontends.onnx.dtypes import (
    INT64,
    MAX_BYTES,
    MAX_RANK,
    STRING,
    TensorType,
    element_name,
    is_element_type,
)
from planner.errors import LoweringError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import SparseTensorProto, TensorProto, TypeProto

MAX_VALUE_ELEMENTS = 1024
"""Contents of larger constants are not looked at: no shape is that long."""


class Scope:
    """Knowledge about values by name; a body sees the scopes around it.

    Attributes
    ----------
    parent : Scope or None
        The graph around this body.
    types : dict of str to TensorType
        Values with a concrete shape and element type.
    sources : dict of str to str
        Who supplied each type or hint, for messages about contradictions.
    kinds : dict of str to str
        Values that are no tensors: ``sequence``, ``optional``, ``map``, ``sparse tensor``.
    hints : dict of str to TypeProto
        What is known of a tensor without a concrete shape.
    initializers : dict of str to TensorProto or None
        Contents in the file, None for a sparse one.
    constants : set of str
        Values that depend on no input: initializers and results of folded nodes.
    values : dict of str to array
        Contents of small constants.
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.types: dict[str, TensorType] = {}
        self.sources: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.hints: dict[str, TypeProto] = {}
        self.initializers: dict[str, TensorProto | None] = {}
        self.constants: set[str] = set()
        self.values: dict[str, NDArray[np.generic]] = {}

    def add(self, name: str, type_: TensorType, source: str) -> None:
        """Note a type, from the first source that knows it.

        Raises
        ------
        LoweringError
            If another source says otherwise, or the size is absurd.
        """
        known = self.types.get(name)
        if known is None:
            # Dimensions first: the product of millions of them would take for ever.
            too_many = len(type_.shape) > MAX_RANK
            if too_many or type_.size_bytes > MAX_BYTES:
                raise LoweringError(
                    f'tensor "{name}" has the shape {type_} ({source}): more than '
                    f"{f'{MAX_RANK:,} dimensions' if too_many else '2^53 bytes'}. "
                    "Nothing that large can be planned."
                )
            hint = self.hints.get(name)
            if hint is not None and not _fits(type_, hint):
                raise self._contradiction(name, _hint_text(hint), str(type_), source)
            self.types[name] = type_
            self.sources[name] = source
            self.hints.pop(name, None)
        elif known != type_ and not _one_element(known, type_):
            raise self._contradiction(name, str(known), str(type_), source)

    def add_proto(self, name: str, proto: TypeProto, source: str) -> None:
        """Note what a `TypeProto` says: a concrete type, a kind that is no tensor, or a hint.

        Raises
        ------
        LoweringError
            If another source says otherwise, or the size is absurd.
        """
        kind = proto.WhichOneof("value")
        if kind is None:
            return
        if kind != "tensor_type":
            self.kinds.setdefault(name, kind.removesuffix("_type").replace("_", " "))
            return
        tensor = proto.tensor_type
        if not is_element_type(tensor.elem_type):
            return
        if tensor.HasField("shape"):
            dims = tensor.shape.dim
            if all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
                shape = tuple(dim.dim_value for dim in dims)
                self.add(name, TensorType(shape, tensor.elem_type), source)
                return
        type_, hint = self.types.get(name), self.hints.get(name)
        element = type_.element if type_ else hint.tensor_type.elem_type if hint else 0
        if element not in (0, tensor.elem_type):
            text = str(type_) if type_ else element_name(element)
            raise self._contradiction(name, text, element_name(tensor.elem_type), source)
        if type_ is None and not (hint and hint.tensor_type.HasField("shape")):
            self.hints[name] = _without_negative_dims(proto)
            self.sources[name] = source

    def _contradiction(self, name: str, known: str, new: str, source: str) -> LoweringError:
        return LoweringError(
            f'tensor "{name}": {self.sources[name]} says {known}, {source} says {new}. '
            "One of them is wrong; correct the file or the --dim and --shape given."
        )

    def add_initializer(self, tensor: TensorProto) -> None:
        """A constant of the file.

        Raises
        ------
        LoweringError
            If a dimension is negative, the element type unknown or the name taken.
        """
        name = tensor.name
        if name in self.initializers:
            raise LoweringError(f'two initializers have the name "{name}".')
        self.add(name, stored_type(tensor), "its initializer")
        self.initializers[name] = tensor
        self.constants.add(name)

    def add_sparse_initializer(self, sparse: SparseTensorProto) -> None:
        """A sparse constant of the file; sized as the dense tensor that operators see."""
        name, shape = sparse.values.name, tuple(sparse.dims)
        if any(dim < 0 for dim in shape) or not is_element_type(sparse.values.data_type):
            raise LoweringError(f'sparse initializer "{name}" has a malformed type.')
        if name in self.initializers:
            raise LoweringError(f'two initializers have the name "{name}".')
        self.add(name, TensorType(shape, sparse.values.data_type), "its initializer")
        self.initializers[name] = None
        self.constants.add(name)

    def type_of(self, name: str) -> TensorType | None:
        """Type of a value of this graph or of one around it."""
        scope: Scope | None = self
        while scope is not None:
            if (known := scope.types.get(name)) is not None:
                return known
            scope = scope.parent
        return None

    def is_constant(self, name: str) -> bool:
        """Whether the value depends on no input of the model."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.constants:
                return True
            if name in scope.types:
                return False
            scope = scope.parent
        return False

    def value_of(self, name: str) -> NDArray[np.generic] | None:
        """Content of a small constant, or None if it is unknown, large or absent."""
        scope: Scope | None = self
        while scope is not None:
            if (value := scope.values.get(name)) is not None:
                return value
            if name in scope.initializers:
                value = _content(scope.initializers[name])
                if value is not None:
                    scope.values[name] = value
                return value
            if name in scope.types:
                return None
            scope = scope.parent
        return None


def stored_type(tensor: TensorProto) -> TensorType:
    """Type of a tensor stored in the file.

    Raises
    ------
    LoweringError
        If a dimension is negative or the element type unknown.
    """
    shape = tuple(tensor.dims)
    if any(dim < 0 for dim in shape):
        raise LoweringError(f'initializer "{tensor.name}" has a negative dimension: {list(shape)}.')
    if not is_element_type(tensor.data_type):
        raise LoweringError(
            f'initializer "{tensor.name}" has the unknown element {element_name(tensor.data_type)}.'
        )
    return TensorType(shape, tensor.data_type)


def scalar(element: int = INT64) -> TensorType:
    """Type of a scalar."""
    return TensorType((), element)


def _without_negative_dims(proto: TypeProto) -> TypeProto:
    """Negative dims are open ones; ONNX's inference aborts the process on some of them."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    for dim in copy.tensor_type.shape.dim:
        if dim.dim_value < 0:
            dim.Clear()
    return copy


def _fits(type_: TensorType, hint: TypeProto) -> bool:
    """Whether the element and every dimension that the hint fixes are those of the type."""
    tensor = hint.tensor_type
    if tensor.elem_type != type_.element:
        return False
    if not tensor.HasField("shape"):
        return True
    dims = tensor.shape.dim
    if len(dims) != len(type_.shape):
        return type_.elements == 1 and len(dims) + len(type_.shape) == 1
    return all(
        not dim.HasField("dim_value") or dim.dim_value == size
        for dim, size in zip(dims, type_.shape, strict=True)
    )


def _hint_text(hint: TypeProto) -> str:
    tensor = hint.tensor_type
    dims = [str(d.dim_value) if d.HasField("dim_value") else "?" for d in tensor.shape.dim]
    return f"{'x'.join(dims[:16])} {element_name(tensor.elem_type)}".lstrip()


def _content(tensor: TensorProto | None) -> NDArray[np.generic] | None:
    from onnx import TensorProto, numpy_helper

    if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
        return None
    type_ = stored_type(tensor)
    if type_.elements > MAX_VALUE_ELEMENTS or type_.element == STRING:
        return None
    try:
        return numpy_helper.to_array(tensor)
    except Exception:  # damaged content, by whatever exception onnx or numpy notice it
        return None


def _one_element(first: TensorType, second: TensorType) -> bool:
    """Exporters write a scalar as ``[]`` or ``[1]`` without care; it makes no difference here."""
    shapes = {first.shape, second.shape}
    return first.element == second.element and shapes == {(), (1,)}
