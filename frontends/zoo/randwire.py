"""RandWire: convolutional networks wired at random, with a graph sampler of our own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from frontends.zoo.builder import GraphBuilder
from frontends.zoo.convolution import (
    conv_batch_norm,
    pooled_classifier,
    relu_separable_batch_norm,
)
from frontends.zoo.operators import add, elementwise, relu
from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

    from frontends.zoo.builder import Value

_STAGES = 3
_NEIGHBOURS = 4
_REWIRED = 0.75
_MAX_NODES = 1024


def randwire(
    *,
    batch: int = 1,
    image: int = 224,
    channels: int = 78,
    nodes: int = 32,
    head_channels: int = 0,
    seed: int = 1,
    dtype: str = "float32",
    fold_batchnorm: bool = True,
) -> ModelProto:
    """RandWire-WS(4, 0.75): three randomly wired stages of 32 nodes, 78 channels at first.

    A node adds its operands and applies Relu, a separable 3x3 convolution and BatchNormalization;
    nodes without a predecessor read the stage's input at stride 2; the results of nodes without a
    successor are averaged. Left out are the scalar weights of the additions, about 250 numbers.
    Parameters and multiply-accumulates depend on the seed: 4.3e6 and 5.6e8, give or take 2 %; with
    ``head_channels=1280``, the paper's classifier, 5.7e6 and 5.8e8 (published: 5.6e6 and 5.8e8).

    Xie et al., Exploring Randomly Wired Neural Networks for Image Recognition, ICCV 2019
    (arXiv 1904.01569).

    Parameters
    ----------
    channels : int
        Channels of the first stage; each further stage doubles them. Even.
    nodes : int
        Nodes per stage, from 5 to 1,024.
    head_channels : int
        Channels of the 1x1 convolution before the classifier; 0 leaves it out.
    seed : int
        Of the wiring.

    Raises
    ------
    UsageError
        If an option is out of range.
    """
    if channels < 2 or channels % 2:
        raise UsageError(f"randwire: channels={channels} must be a positive even number.")
    if not _NEIGHBOURS < nodes <= _MAX_NODES:
        raise UsageError(
            f"randwire: nodes={nodes:,} must be from {_NEIGHBOURS + 1} to {_MAX_NODES:,}."
        )
    if head_channels < 0:
        raise UsageError(f"randwire: head_channels={head_channels} must not be negative.")
    sampler = random.Random(seed)
    b = GraphBuilder("randwire", dtype=dtype, fold_batchnorm=fold_batchnorm)
    x = b.input("image", (batch, 3, image, image))
    with b.scope("stem"):
        x = relu(b, conv_batch_norm(b, x, channels // 2, 3, stride=2, name="conv0"))
        x = conv_batch_norm(b, x, channels, 3, stride=2, name="conv1")
    for stage in range(_STAGES):
        edges = watts_strogatz(nodes, _NEIGHBOURS, _REWIRED, sampler)
        with b.scope(f"stage{stage + 1}"):
            x = _random_stage(b, x, channels << stage, nodes, edges)
    x = relu(b, x)
    if head_channels:
        x = relu(b, conv_batch_norm(b, x, head_channels, 1, name="head"))
    b.output("logits", pooled_classifier(b, x, 1000))
    return b.model()


def watts_strogatz(
    nodes: int, neighbours: int, rewired: float, sampler: random.Random
) -> list[tuple[int, int]]:
    """Sample a small-world graph and direct its edges from the lower to the higher node.

    Starts from a ring in which every node is connected to ``neighbours // 2`` nodes on either
    side. Lap by lap, the edge from each node to its next neighbour clockwise is replaced, with
    probability ``rewired``, by one to a node drawn uniformly among those not yet connected to it
    (Watts and Strogatz, Nature 393, 1998).

    Returns
    -------
    list of (int, int)
        Ascending, distinct; ``nodes * neighbours / 2`` of them.
    """
    adjacent: list[set[int]] = [set() for _ in range(nodes)]
    for node in range(nodes):
        for distance in range(1, neighbours // 2 + 1):
            other = (node + distance) % nodes
            adjacent[node].add(other)
            adjacent[other].add(node)
    for distance in range(1, neighbours // 2 + 1):
        for node in range(nodes):
            old = (node + distance) % nodes
            free = [v for v in range(nodes) if v != node and v not in adjacent[node]]
            if sampler.random() >= rewired or not free:
                continue
            # random() is the one method whose sequence Python guarantees across versions
            new = free[int(sampler.random() * len(free))]
            adjacent[node].remove(old)
            adjacent[old].remove(node)
            adjacent[node].add(new)
            adjacent[new].add(node)
    return [
        (node, other)
        for node in range(nodes)
        for other in sorted(adjacent[node] - set(range(node)))
    ]


def _random_stage(
    b: GraphBuilder, x: Value, width: int, nodes: int, edges: Sequence[tuple[int, int]]
) -> Value:
    results: list[Value] = []
    for node in range(nodes):
        operands = [results[source] for source, sink in edges if sink == node]
        results.append(
            relu_separable_batch_norm(
                b,
                _sum(b, operands) if operands else x,
                width,
                3,
                stride=1 if operands else 2,
                name=f"node{node}",
            )
        )
    sources = {source for source, _ in edges}
    leaves = [results[node] for node in range(nodes) if node not in sources]
    return elementwise(b, "Div", _sum(b, leaves), b.scalar(len(leaves)))


def _sum(b: GraphBuilder, operands: Sequence[Value]) -> Value:
    total = operands[0]
    for operand in operands[1:]:
        total = add(b, total, operand)
    return total
