"""Elementwise operators of the published bare graphs, told by where they stand.

The files name no operators. What counts is what HMCOS lets work in place, Relu, Add, Mul,
BatchNorm and Sum with results of their operands' size:

- every operator with several operands of its result's size: sums, since a concatenation is larger;
- in DenseNet the four operators of one size that follow a convolution or concatenation
  (BatchNorm, its Mul and Add, Relu), unless a convolution of the same size is the fifth;
- in the networks of cells (`_im`, `_cif`) the Relu that begins each relu-depthwise-pointwise
  sequence, the Relu before a 1x1 convolution, and that before a factorized reduction;
- in RandWire the Relu that begins each node after its sum.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from frontends.bare_graph import read_bare_graph

from .full_memory import with_overwrites

if TYPE_CHECKING:
    from planner.graph import Graph


def published_graph(name: str) -> Graph:
    """Read a graph of the data folder and let its elementwise operators overwrite operands."""
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("needs PLANNER_DATA: the graphs of the design tables are not in the project")
    graph = read_bare_graph(Path(folder, "graphs", f"{name}.txt"))
    return with_overwrites(graph, _elementwise(graph, name))


def _elementwise(graph: Graph, name: str) -> set[int]:
    size = [storage.size_bytes for storage in graph.storages]
    nodes = graph.operators
    keeps_size = [
        bool(node.inputs) and all(size[t] == size[node.outputs[0]] for t in node.inputs)
        for node in nodes
    ]
    several = {v for v, node in enumerate(nodes) if len(node.inputs) > 1 and keeps_size[v]}
    if name.startswith("densenet"):
        return several | _runs_of_four(graph, keeps_size)
    chains = _chains(graph)
    if name.startswith("randwire"):
        first = {
            chain[at] for chain in chains if len(chain) % 3 == 0 for at in range(0, len(chain), 3)
        }
    elif name.endswith(("_im", "_cif")):
        first = _relus_of_cells(graph, chains)
    else:
        first = set()
    return several | {v for v in first if keeps_size[v]}


def _runs_of_four(graph: Graph, keeps_size: list[bool]) -> set[int]:
    found: set[int] = set()
    run = 0
    for v, node in enumerate(graph.operators):
        run = run + 1 if len(node.inputs) == 1 and keeps_size[v] and run < 4 else 0
        if run:
            found.add(v)
    return found


def _readers(graph: Graph) -> list[list[int]]:
    readers: list[list[int]] = [[] for _ in graph.tensors]
    for v, node in enumerate(graph.operators):
        for tensor in node.inputs:
            readers[tensor].append(v)
    return readers


def _chains(graph: Graph) -> list[list[int]]:
    """Sequences of operators with one operand, each the only reader of the one before."""
    readers = _readers(graph)
    chain_of: dict[int, list[int]] = {}
    chains: list[list[int]] = []
    for v, node in enumerate(graph.operators):
        if len(node.inputs) != 1:
            continue
        before = graph.producer[node.inputs[0]]
        if before in chain_of and len(readers[node.inputs[0]]) == 1:
            chain_of[v] = chain_of[before]
        else:
            chain_of[v] = []
            chains.append(chain_of[v])
        chain_of[v].append(v)
    return chains


def _relus_of_cells(graph: Graph, chains: list[list[int]]) -> set[int]:
    """Twice relu, depthwise, pointwise; once that; relu and 1x1; relu before two poolings.

    A factorized reduction is a Relu whose result is pooled and convolved, and shifted, pooled and
    convolved. The shift is no Relu.
    """
    readers = _readers(graph)
    length_from = {chain[0]: len(chain) for chain in chains}
    relus: set[int] = set()
    shifts: set[int] = set()
    for chain in chains:
        following = readers[graph.operators[chain[0]].outputs[0]]
        if len(chain) == 1 and sorted(length_from.get(v, 0) for v in following) == [2, 3]:
            relus.add(chain[0])
            shifts.update(v for v in following if length_from[v] == 3)
        elif len(chain) in (2, 3, 6):
            relus.update(chain[::3])
    return relus - shifts
