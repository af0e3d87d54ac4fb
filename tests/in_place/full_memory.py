"""Graphs whose default order fills a memory at nearly every step, with overwrites among them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from frontends.bare_graph import bare_graph
from planner.graph import InPlaceOption

if TYPE_CHECKING:
    import random

    from planner.graph import Graph


def full_memory_graph(rng: random.Random, operators: int, height: int, blocks: int) -> Graph:
    """Make a graph that fits ``height`` bytes in its default order, which is its peak.

    Blocks side by side fill the memory. Elementwise operators overwrite a block, those with two
    operands either of them, and leave the other one's bytes free; others fill what is free.
    """
    cuts = [0, *sorted(rng.sample(range(1, height), blocks - 1)), height]
    sizes = [0]  # of each tensor; the input has none
    operands: list[tuple[list[int], list[int]]] = []
    elementwise: set[int] = set()
    blocks_now: list[tuple[int, int, int]] = []  # offset, size, tensor
    free: list[tuple[int, int]] = []

    def make(offset: int, size: int) -> int:
        sizes.append(size)
        blocks_now.append((offset, size, len(sizes) - 1))
        return len(sizes) - 1

    operands.append(([0], [make(low, high - low) for low, high in pairwise(cuts)]))
    while len(operands) < operators:
        read = blocks_now.pop(rng.randrange(len(blocks_now)))
        if free and rng.random() < 0.5:
            offset, size = free.pop(rng.randrange(len(free)))
            at = rng.randint(1, size - 1) if size > 1 and rng.random() < 0.5 else size
            written = [make(offset, at), *([make(offset + at, size - at)] if at < size else [])]
            operands.append(([read[2]], written))
            if rng.random() < 0.6 and len(blocks_now) > 2:
                free = _joined([*free, read[:2]])
            else:
                blocks_now.append(read)
            continue
        alike = [block for block in blocks_now if block[1] == read[1]]
        elementwise.add(len(operands))
        if alike and rng.random() < 0.7:
            other = rng.choice(alike)
            blocks_now.remove(other)
            free = _joined([*free, other[:2]])
            operands.append(([read[2], other[2]], [make(read[0], read[1])]))
        else:
            operands.append(([read[2]], [make(read[0], read[1])]))
    sizes.append(0)
    operands.append(([tensor for _, _, tensor in blocks_now], [len(sizes) - 1]))
    return with_overwrites(bare_graph("full memory", sizes, operands), elementwise)


def _joined(free: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for offset, size in sorted(free):
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + size)
        else:
            joined.append((offset, size))
    return joined


def with_overwrites(graph: Graph, elementwise: set[int]) -> Graph:
    """Let these operators overwrite each operand of their result's size that is no graph input."""
    nodes = list(graph.operators)
    for operator in elementwise:
        node = nodes[operator]
        result = graph.tensors[node.outputs[0]]
        options = tuple(
            InPlaceOption(node.outputs[0], operand)
            for operand in node.inputs
            if graph.producer[operand] >= 0
            and graph.tensors[operand].size_bytes == result.size_bytes
        )
        nodes[operator] = replace(node, in_place=options)
    return replace(graph, operators=tuple(nodes))
