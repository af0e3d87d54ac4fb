"""A partition as Megatron-LM is told it: whole layers per stage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from planner.pipelining.partitioning.gradient_rules import LOOKUPS

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.pipelining.partitioning.partition import Partition

_LAYER = re.compile(r"(?P<path>.*?[A-Za-z_])[._/]?(?P<number>\d+)[._/]")


def megatron_layout(partition: Partition, graph: Graph) -> str | None:
    """Return the value of ``--pipeline-model-parallel-layout`` nearest to a partition.

    ``E`` stands for the embedding, ``t`` for a layer, ``L`` for the output layer and the loss, and
    ``|`` ends a stage: ``Et*2|t*4|t*4|t*2L``. A layer, known by the number in the names of its
    operators, goes to the stage that has most of its multiply-accumulates.

    Returns
    -------
    str or None
        None if the graph is no language model whose operators are named by layers, or the placement
        is one that Megatron-LM does not have: it interleaves the stages.
    """
    lookups = any(operator.type in LOOKUPS for operator in graph.operators)
    if partition.placement == "v" or not lookups:
        return None
    layers = _layers(graph)
    if len(layers) < 2:
        return None
    counts = [0] * len(partition.stages)
    for operators in layers:
        macs = [
            sum(graph.operators[o].macs for o in operators if stage.first <= o <= stage.last)
            for stage in partition.stages
        ]
        counts[macs.index(max(macs))] += 1
    stages = [_repeated(count) for count in counts]
    return "|".join(("E" + stages[0], *stages[1:])) + "L"


def _layers(graph: Graph) -> list[list[int]]:
    """Operators of each layer of the series that does the most work, in order."""
    series: dict[str, dict[int, list[int]]] = {}
    for index, operator in enumerate(graph.operators):
        if found := _LAYER.match(operator.name):
            layers = series.setdefault(found["path"], {})
            layers.setdefault(int(found["number"]), []).append(index)
    if not series:
        return []

    def work(layers: dict[int, list[int]]) -> int:
        return sum(graph.operators[o].macs for members in layers.values() for o in members)

    layers = max(series.values(), key=work)
    return [layers[number] for number in sorted(layers)]


def _repeated(count: int) -> str:
    return "t" * count if count < 2 else f"t*{count}"
