"""Check how nodes and values hang together, and put nodes into a topological order."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from planner.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from frontends.onnx.nodes import Node


def sorted_nodes(
    nodes: Sequence[Node], given: Collection[str], outputs: Iterable[str], where: str
) -> tuple[list[Node], bool]:
    """The nodes in a topological order: their own if it is one, else the nearest to it.

    Parameters
    ----------
    given : collection of str
        Values that exist without any node: inputs, initializers, what a body captures.
    outputs : iterable of str
        Values the graph must produce.
    where : str
        The graph's name for messages.

    Returns
    -------
    list of Node
    bool
        Whether the file's own order was topological.

    Raises
    ------
    LoweringError
        If a value is written twice, is read but never written, or depends on itself.
    """
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.results:
            if name in producer or name in given:
                other = nodes[producer[name]].label if name in producer else "an input"
                raise LoweringError(
                    f'value "{name}" of {where} is written twice: by {other} and by {node.label}.'
                )
            producer[name] = index
    in_order = True
    for index, node in enumerate(nodes):
        for name in node.reads:
            if name in producer:
                in_order = in_order and producer[name] < index
            elif name not in given:
                raise LoweringError(
                    f'{node.label} of {where} reads "{name}", which nothing produces.'
                )
    for name in outputs:
        if name not in producer and name not in given:
            raise LoweringError(f'nothing produces "{name}", an output of {where}.')
    if in_order:
        return list(nodes), True
    return _topological(nodes, producer, where), False


def _topological(nodes: Sequence[Node], producer: dict[str, int], where: str) -> list[Node]:
    before = [sorted({producer[name] for name in node.reads if name in producer}) for node in nodes]
    after: list[list[int]] = [[] for _ in nodes]
    for index, row in enumerate(before):
        for earlier in row:
            after[earlier].append(index)
    missing = [len(row) for row in before]
    ready = [index for index, count in enumerate(missing) if count == 0]
    heapify(ready)
    order: list[Node] = []
    while ready:
        index = heappop(ready)
        order.append(nodes[index])
        for later in after[index]:
            missing[later] -= 1
            if missing[later] == 0:
                heappush(ready, later)
    if len(order) < len(nodes):
        cycle = _cycle(before, missing)
        shown = " -> ".join(nodes[index].label for index in cycle[:6])
        more = f" -> ... ({len(cycle):,} nodes)" if len(cycle) > 6 else ""
        raise LoweringError(f"the nodes of {where} form a cycle: {shown}{more}.")
    return order


def _cycle(before: Sequence[Sequence[int]], missing: Sequence[int]) -> list[int]:
    """Nodes of one cycle, in the order data flows; every node left waits for another one left."""
    index = next(index for index, count in enumerate(missing) if count > 0)
    path: dict[int, int] = {}
    while index not in path:
        path[index] = len(path)
        index = next(earlier for earlier in before[index] if missing[earlier] > 0)
    backwards = list(path)[path[index] :]
    return [backwards[0], *reversed(backwards[1:]), backwards[0]]
