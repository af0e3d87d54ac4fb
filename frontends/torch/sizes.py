"""Shapes, byte ranges and storages of traced values; symbolic sizes are bound here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from planner.errors import LoweringError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DTYPES = {
    torch.bool: "bool",
    torch.float8_e4m3fn: "float8e4m3fn",
    torch.float8_e4m3fnuz: "float8e4m3fnuz",
    torch.float8_e5m2: "float8e5m2",
    torch.float8_e5m2fnuz: "float8e5m2fnuz",
}


class TracedTensor(NamedTuple):
    """What a value of the program occupies.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        ONNX's name of the element type.
    storage : StorageWeakRef
        Equal for values that share bytes.
    storage_bytes, offset_bytes, size_bytes : int
        Of the whole storage, and the range from its first to its last element.
    """

    shape: tuple[int, ...]
    dtype: str
    storage: StorageWeakRef
    storage_bytes: int
    offset_bytes: int
    size_bytes: int


class Sizes:
    """Makes numbers of symbolic sizes.

    Parameters
    ----------
    dims : mapping of str to int
        By the names that the program gives its symbols: ``s31``.
    hints : bool
        Symbols without a number have the size that the program was traced with.
    """

    def __init__(self, dims: Mapping[str, int], *, hints: bool = False) -> None:
        self._dims, self._hints = dims, hints
        self._used: set[str] = set()

    def tensor(self, value: torch.Tensor, name: str) -> TracedTensor:
        """Measure a value.

        Raises
        ------
        planner.errors.LoweringError
            If a size depends on a symbol that has no number; the message names it.
        """
        shape = tuple(self._number(size, name) for size in value.shape)
        item = value.element_size()
        offset, elements = 0, 1
        if value.layout is torch.strided:
            strides = [self._number(stride, name) for stride in value.stride()]
            offset = self._number(value.storage_offset(), name)
            for size, stride in zip(shape, strides, strict=True):
                elements = 0 if size == 0 else elements + (size - 1) * stride if elements else 0
            storage = value.untyped_storage()
            whole = self._number(storage.nbytes(), name)
        else:
            raise LoweringError(
                f'"{name}" is a {value.layout} tensor: only dense ones can be planned.'
            )
        dtype = _DTYPES.get(value.dtype, str(value.dtype).removeprefix("torch."))
        size_bytes = elements * item
        # A size that was rounded up in the trace may be smaller once it is bound.
        whole = max(whole, offset * item + size_bytes)
        return TracedTensor(shape, dtype, StorageWeakRef(storage), whole, offset * item, size_bytes)

    def refuse_unused(self) -> None:
        """Refuse bindings of symbols that no size depends on.

        Raises
        ------
        planner.errors.UsageError
        """
        unused = [name for name in self._dims if name not in self._used]
        if unused:
            raise UsageError(f"no dimension of the program is called {unused[0]!r}.")

    def _number(self, size: Any, name: str) -> int:
        if isinstance(size, int):
            return size
        expression = size.node.expr
        symbols = {str(symbol): symbol for symbol in expression.free_symbols}
        self._used.update(symbols)
        missing = [symbol for symbol in symbols if symbol not in self._dims]
        if missing and self._hints:
            known = {
                symbol: self._dims[text] for text, symbol in symbols.items() if text in self._dims
            }
            number = hint(size, expression.subs(known))
            if number is not None:
                return number
        if missing:
            raise LoweringError(
                f'"{name}" has the size {expression}. Bind {missing[0]}: '
                f"dims={{{missing[0]!r}: N}}, or --dim {missing[0]}=N."
            )
        bound = expression.subs({symbol: self._dims[text] for text, symbol in symbols.items()})
        return int(bound)


def hint(size: Any, expression: Any = None) -> int | None:
    """Return the number that a size had in the trace; None if it depends on data."""
    if isinstance(size, int):
        return size
    try:
        number = size.node.shape_env.optimization_hint(
            size.node.expr if expression is None else expression, fallback=None
        )
        return int(number)
    except Exception:  # each version of torch has its own for data-dependent sizes
        return None


def tensors_of(value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a node's value, each with the suffix that tells it from the others."""
    if isinstance(value, torch.Tensor):
        yield "", value
    elif isinstance(value, (tuple, list)):
        for index, element in enumerate(value):
            for suffix, tensor in tensors_of(element):
                yield f".{index}{suffix}", tensor


def storages_of(value: Any) -> list[StorageWeakRef]:
    """Storages of the dense tensors in a node's value."""
    return [
        StorageWeakRef(tensor.untyped_storage())
        for _, tensor in tensors_of(value)
        if tensor.layout is torch.strided
    ]
