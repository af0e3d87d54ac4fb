"""What lies alive across each cut of an operator sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.graph import StorageKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.graph import Graph


def crossing_bytes(graph: Graph) -> NDArray[np.int64]:
    """Per cut, bytes of every tensor that is there before it and read behind it.

    Of a storage that is read behind the cut in parts, the parts, but never more than all of it.
    """
    born: dict[int, int] = {}
    last: dict[int, dict[tuple[int, int], int]] = {}
    for index, node in enumerate(graph.operators):
        for t in node.outputs:
            born.setdefault(graph.tensors[t].storage, index + 1)
        for t in node.inputs:
            tensor = graph.tensors[t]
            if graph.storages[tensor.storage].kind is not StorageKind.CONSTANT:
                part = (tensor.offset_bytes, tensor.size_bytes)
                last.setdefault(tensor.storage, {})[part] = index
    crossing = np.zeros(len(graph.operators) + 2, dtype=np.int64)
    for storage, parts in last.items():
        whole = graph.storages[storage].size_bytes
        begin = born.get(storage, 1)
        for end in sorted(set(parts.values())):
            alive = sum(size for (_, size), until in parts.items() if until >= end)
            if begin <= end:
                crossing[begin] += min(alive, whole)
                crossing[end + 1] -= min(alive, whole)
                begin = end + 1
    return np.cumsum(crossing)[:-1]
