"""Bare operator graphs: sizes and operands, nothing else.

Numbers separated by white space: ``n m``, then m tensor sizes in bytes, then per operator the
number of its inputs, the inputs, the number of its outputs, the outputs. A tensor that no operator
produces is a graph input, one that no operator reads a graph output. Operators stand in their
default order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import BadFileError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.regular_file import read_regular

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

_LARGEST_FILE = 64 * 1024**2
# Addresses and sums of bytes stay exact as 64-bit floating-point numbers.
_MOST_BYTES = 1 << 52


def read_bare_graph(path: str | os.PathLike[str]) -> Graph:
    """Read a bare graph.

    Raises
    ------
    BadFileError
        If the file cannot be read, or is no such graph.
    """
    text = read_regular(path, _LARGEST_FILE)
    try:
        numbers = iter([int(word) for word in text.split()])
        operators, tensors = next(numbers), next(numbers)
        sizes = [next(numbers) for _ in range(tensors)]
        operands = [(_row(numbers), _row(numbers)) for _ in range(operators)]
        if next(numbers, None) is not None:
            raise ValueError("numbers follow the last operator")
        return bare_graph(str(path), sizes, operands)
    except StopIteration:
        raise BadFileError(f"{path}: the file ends before its last operator.") from None
    except (ValueError, IndexError) as error:
        raise BadFileError(f"{path}: no bare operator graph: {error}.") from None


def _row(numbers: Iterator[int]) -> list[int]:
    return [next(numbers) for _ in range(next(numbers))]


def bare_graph(
    name: str, sizes: Sequence[int], operands: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> Graph:
    """Make a graph of tensors with a storage each.

    Parameters
    ----------
    sizes : sequence of int
        Bytes per tensor.
    operands : sequence of (inputs, outputs)
        Tensors per operator.

    Raises
    ------
    ValueError
        If a size is negative, all together too large to count, a tensor unknown or produced twice,
        or the order not topological.
    """
    produced = {tensor for _, outputs in operands for tensor in outputs}
    read = {tensor for inputs, _ in operands for tensor in inputs}
    if not produced | read <= set(range(len(sizes))):
        raise ValueError("an operand is not among the tensors")
    if any(size < 0 for size in sizes):
        raise ValueError("a tensor has a negative size")
    if sum(sizes) > _MOST_BYTES:
        raise ValueError(f"its tensors take more than {_MOST_BYTES:,} bytes together")
    storages = tuple(
        Storage(
            f"t{tensor}",
            size,
            StorageKind.ACTIVATION if tensor in produced else StorageKind.INPUT,
            is_output=tensor in produced and tensor not in read,
        )
        for tensor, size in enumerate(sizes)
    )
    tensors = tuple(
        Tensor(f"t{tensor}", (size,), "uint8", tensor, 0, size) for tensor, size in enumerate(sizes)
    )
    operators = tuple(
        Operator(
            f"op{index}", "Operator", tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(outputs))
        )
        for index, (inputs, outputs) in enumerate(operands)
    )
    return Graph(ModelReference(name), operators, tensors, storages)
