"""Products of joint graphs are those that torch counts; lookups and strided reads cost less."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch.utils.flop_counter import flop_registry

from frontends.torch import load_torch
from planner.cost import memory_seconds
from planner.target_file import read_target

from .joint_graphs import joint_graph, model_graph

aten = torch.ops.aten
# Torch has no formula for the CPU's attention; these two compute the same.
SAME = {
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        aten._scaled_dot_product_flash_attention_backward
    ),
}


def torch_flops(module):
    total = 0
    for node in module.graph.nodes:
        packet = getattr(node.target, "_overloadpacket", None)
        formula = flop_registry.get(SAME.get(packet, packet))
        if formula is not None:
            args = torch.fx.node.map_arg(node.args, lambda operand: operand.meta["val"])
            total += formula(*args, out_val=node.meta["val"])
    return total


@pytest.mark.parametrize("name", ["mlp", "gpt2", "llama", "bert", "resnet"])
def test_products_of_both_halves_are_those_that_torch_counts(name):
    module = model_graph(name).module
    graph = load_torch(module)
    assert 2 * sum(operator.macs for operator in graph.operators) == torch_flops(module) > 0


def test_a_transposed_convolution_counts_in_both_halves():
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)

    def loss(x):
        return torch.nn.functional.conv_transpose2d(x * weight.sum(), weight, stride=2).sum()

    module = joint_graph(loss, (torch.randn(2, 4, 5, 5),)).module
    graph = load_torch(module)
    assert 2 * sum(operator.macs for operator in graph.operators) == torch_flops(module) > 0


def test_a_lookup_reads_of_its_table_what_it_gives_out():
    table = torch.randn(1000, 8, requires_grad=True)
    indices = torch.tensor([1, 2, 3])
    graph = load_torch(
        joint_graph(
            lambda i: torch.nn.functional.embedding(i, table).sin().sum(), (indices,)
        ).module
    )
    position = next(i for i, o in enumerate(graph.operators) if o.type == "aten.embedding")
    moved = 3 * 8 * 4 + 3 * 8 + 3 * 8 * 4
    seconds = sum(memory_seconds(graph, read_target("cpu-core"), position).values())
    assert seconds == pytest.approx(moved / 8e9)


def test_a_part_with_gaps_is_read_without_them():
    weight = torch.randn(64, 4, requires_grad=True)
    graph = load_torch(joint_graph(lambda x: (weight[:, :1] * x).sum(), (torch.ones(()),)).module)
    position = next(i for i, o in enumerate(graph.operators) if o.type == "aten.mul")
    seconds = sum(memory_seconds(graph, read_target("cpu-core"), position).values())
    assert seconds == pytest.approx((64 * 4 + 4 + 64 * 4) / 8e9)
