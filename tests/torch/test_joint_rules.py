"""What may run twice, what lives how long: each rule of training graphs on the smallest model."""

from __future__ import annotations

import operator

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.fx import Graph, GraphModule

from frontends.torch import zoo
from frontends.torch.duplicates import without_duplicates
from frontends.torch.halves import divide
from frontends.torch.kept_state import keep_state_for_backward
from planner.errors import LoweringError

from .joint_graphs import joint_graph, model_graph

aten = torch.ops.aten
functional = nn.functional


def weight(*shape):
    return torch.randn(*shape, requires_grad=True)


def operator_of(program, name):
    return next(i for i, node in enumerate(program.nodes) if node.name == name)


def named(program, target):
    return [i for i, node in enumerate(program.nodes) if node.target is target]


def test_a_tuple_operator_writes_its_parts_and_parts_are_saved():
    w = weight(8)
    program = joint_graph(
        lambda x: functional.layer_norm(x * w, (8,)).sin().sum(), (torch.randn(4, 8),)
    ).program()
    (norm,) = named(program, aten.native_layer_norm.default)
    written = program.problem.writes.row(norm).tolist()
    assert [program.problem.size_bytes[s] for s in written] == [128, 16, 16]
    assert all(program.values[s].target is operator.getitem for s in written)
    assert all(
        not isinstance(program.values[s].meta["val"], tuple) for s in program.problem.boundary
    )


def test_what_nobody_reads_of_a_tuple_is_written_and_dies():
    w = weight(8)

    def loss(x):
        top, _ = (x * w).detach().topk(2)
        return (top.sum() * w).sum()

    program = joint_graph(loss, (torch.randn(4, 8),)).program()
    (top,) = named(program, aten.topk.default)
    values, indices = program.problem.writes.row(top).tolist()
    assert program.problem.size_bytes[indices] == 64
    readers = [o for o in range(len(program.nodes)) if indices in program.problem.reads.row(o)]
    assert not readers
    assert values in program.problem.reads.row(operator_of(program, "sum_1"))


def test_who_reads_a_view_reads_its_base():
    w = weight(8, 8)
    program = joint_graph(
        lambda x: ((x @ w).view(2, 2, 8).transpose(0, 1)[0]).sin().sum(), (torch.randn(4, 8),)
    ).program()
    (product, *_) = named(program, aten.mm.default)
    (base,) = program.problem.writes.row(product).tolist()
    (cosine,) = named(program, aten.cos.default)
    assert base in program.problem.reads.row(cosine)
    assert program.values[base] is program.nodes[product]


def test_chance_runs_once_unless_its_rate_is_zero():
    w = weight(8, 8)

    def loss(x, rate):
        y = functional.dropout(x @ w, 0.5).view(1, 1, 4, 8)
        return functional.scaled_dot_product_attention(y, y, y, dropout_p=rate).sum()

    program = joint_graph(lambda x: loss(x, 0.0), (torch.randn(4, 8),)).program()
    (dropout,) = named(program, aten.native_dropout.default)
    (attention,) = named(program, aten._scaled_dot_product_flash_attention_for_cpu.default)
    assert not program.problem.recomputable[dropout]
    assert program.problem.in_forward[dropout]
    assert program.problem.recomputable[attention]


def test_seeds_are_drawn_once_and_what_they_seed_may_run_again():
    from torch._inductor import inductor_prims

    graph = Graph()
    x = graph.placeholder("primals_1")
    seeds = graph.call_function(inductor_prims.seeds, (1, torch.device("cpu")))
    seed = graph.call_function(inductor_prims.lookup_seed, (seeds, 0))
    noise = graph.call_function(inductor_prims.random, ([4, 8], seed, "rand"))
    tangent = graph.placeholder("tangents_1")
    product = graph.call_function(aten.mul.Tensor, (x, noise))
    gradient = graph.call_function(aten.mul.Tensor, (tangent, noise))
    graph.output((product, gradient))
    program = joint_of(graph, (4, 8))
    recomputable = dict(
        zip([n.name for n in program.nodes], program.problem.recomputable, strict=True)
    )
    assert not recomputable[seeds.name]
    assert recomputable[seed.name] and recomputable[noise.name]


def joint_of(graph, shape):
    """A hand-written joint graph with fake values; placeholders all have the same shape."""
    from torch._subclasses import FakeTensorMode

    from frontends.torch.joint import joint_program
    from planner.target_file import read_target

    mode = FakeTensorMode()
    for node in graph.nodes:
        if node.op == "placeholder":
            node.meta["val"] = mode.from_tensor(torch.randn(shape))
        elif node.op == "call_function":
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
            with mode:
                node.meta["val"] = node.target(*args, **kwargs)
    module = GraphModule({}, graph)
    return joint_program(module, num_fwd_outputs=1, target=read_target("cpu-core"))


def test_unused_chance_stays_where_it_is():
    graph = Graph()
    x, tangent = graph.placeholder("primals_1"), graph.placeholder("tangents_1")
    graph.call_function(aten.rand_like.default, (x,))
    graph.output((x, graph.call_function(aten.mul.Tensor, (tangent, x))))
    program = joint_of(graph, (4,))
    (chance,) = named(program, aten.rand_like.default)
    assert program.problem.in_forward[chance]


class Counting(nn.Module):
    """Reads a buffer and writes over it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("count", torch.zeros(8))

    def forward(self, x):
        y = self.linear(x) * (self.count + 1)
        self.count.add_(y.detach().mean(0))
        return (y * self.count.sin()).sum()


def test_who_reads_state_that_the_step_writes_over_runs_once():
    program = joint_graph(Counting(), (torch.randn(4, 8),)).program()
    (state,) = [
        node
        for node in program.module.graph.find_nodes(op="placeholder")
        if node.meta["val"].shape == (8,) and any(u.target is aten.add.Tensor for u in node.users)
    ]
    readers = [i for i, node in enumerate(program.nodes) if state in node.all_input_nodes]
    assert len(readers) == 2
    assert not program.problem.recomputable[readers].any()
    assert program.problem.recomputable.sum() == len(program.nodes) - 2


def test_state_known_to_the_caller_alone_counts_too():
    w = weight(8)
    caught = joint_graph(lambda x: (x.sin() * w).sum(), (torch.randn(8),))
    primals = caught.module.graph.find_nodes(op="placeholder")
    index = next(
        i for i, n in enumerate(primals) if aten.sin.default in {u.target for u in n.users}
    )
    (sine,) = named(caught.program(), aten.sin.default)
    assert caught.program().problem.recomputable[sine]
    assert not caught.program(mutated_inputs=[index]).problem.recomputable[sine]


def test_a_batch_norm_is_recomputed_without_its_running_statistics():
    program = model_graph("resnet").program()
    norms = named(program, aten._native_batch_norm_legit_functional.default)
    assert len(norms) == 15
    assert sorted(program.recomputed_as) == norms
    assert program.problem.recomputable[norms].all()
    assert program.problem.in_forward[norms].all()
    once = [program.nodes[i].name for i in (~program.problem.recomputable).nonzero()[0]]
    assert len(once) == 15 and all(name.startswith("add") for name in once)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 16, 9, 7), (8, 16), (3, 16, 5)])
def test_the_replaced_batch_norm_is_equal_bit_for_bit(shape, dtype):
    from frontends.torch.batch_norm import _WITHOUT_STATISTICS

    x = torch.randn(shape).to(dtype)
    scale, shift, mean, variance = torch.randn(16), torch.randn(16), torch.randn(16), torch.rand(16)
    args = (x, scale, shift, mean, variance, True, 0.1, 1e-5)
    for target, (other, positions, results) in _WITHOUT_STATISTICS.items():
        again = other(*(args[position] for position in positions))
        assert len(again) == results
        for one, two in zip(target(*args), again, strict=False):
            assert torch.equal(one, two) and one.stride() == two.stride()
    once = aten._native_batch_norm_legit_functional(*args)
    with_statistics, without = (
        aten.native_batch_norm_backward(
            x, x, scale, *given, once[1], once[2], True, 1e-5, [True] * 3
        )
        for given in ((once[3], once[4]), (None, None))
    )
    assert all(torch.equal(one, two) for one, two in zip(with_statistics, without, strict=True))


def test_state_that_the_backward_reads_is_kept_in_a_copy():
    graph = Graph()
    state, tangent = graph.placeholder("primals_1"), graph.placeholder("tangents_1")
    turned = graph.call_function(aten.t.default, (state,))
    result = graph.call_function(aten.sin.default, (turned,))
    gradient = graph.call_function(aten.mul.Tensor, (tangent, turned))
    graph.call_function(aten.copy_.default, (state, result))
    graph.output((result, gradient))
    program = joint_of(graph, (4, 4))
    (copy,) = named(program, aten.clone.default)
    (product,) = named(program, aten.mul.Tensor)
    (write,) = named(program, aten.copy_.default)
    problem = program.problem
    assert not problem.recomputable[copy] and problem.in_forward[copy]
    assert problem.writes.row(copy).tolist()[0] in problem.reads.row(product)
    assert not problem.recomputable[write] and not problem.is_backward[write]
    assert problem.in_forward[write]
    assert problem.boundary.tolist() == problem.writes.row(copy).tolist()


def test_writes_over_intermediate_values_are_refused():
    graph = Graph()
    x, tangent = graph.placeholder("primals_1"), graph.placeholder("tangents_1")
    y = graph.call_function(aten.sin.default, (x,))
    graph.call_function(aten.copy_.default, (y, x))
    graph.output((y, graph.call_function(aten.mul.Tensor, (tangent, y))))
    with pytest.raises(LoweringError, match=r"writes over an intermediate value.*functional"):
        joint_of(graph, (4,))


def test_custom_and_effectful_operators_run_once():
    @torch.library.custom_op("planner_tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    twice.register_fake(torch.empty_like)
    twice.register_autograd(lambda context, gradient: gradient * 2)
    w = weight(8)
    program = joint_graph(lambda x: twice(x * w).sin().sum(), (torch.randn(8),)).program()
    (custom,) = named(program, torch.ops.planner_tests.twice.default)
    assert not program.problem.recomputable[custom]
    assert program.problem.in_forward[custom]


def test_operands_of_a_collective_live_until_it_is_awaited():
    graph = Graph()
    x, tangent = graph.placeholder("primals_1"), graph.placeholder("tangents_1")
    sent = graph.call_function(aten.sin.default, (x,))
    started = graph.call_function(torch.ops._c10d_functional.all_reduce.default, (sent, "sum", "0"))
    between = graph.call_function(aten.cos.default, (x,))
    received = graph.call_function(torch.ops._c10d_functional.wait_tensor.default, (started,))
    both = graph.call_function(aten.mul.Tensor, (received, between))
    graph.output((both, graph.call_function(aten.mul.Tensor, (tangent, received))))
    program = joint_of(graph, (4,))
    problem = program.problem
    wait = operator_of(program, received.name)
    (operand,) = problem.writes.row(operator_of(program, sent.name)).tolist()
    assert operand in problem.reads.row(wait)
    assert not problem.recomputable[[operator_of(program, started.name), wait]].any()
    assert [program.values[s].name for s in problem.boundary] == [received.name]


def test_results_that_are_inputs_views_twice_the_same_or_none():
    w = weight(4, 8)

    def loss(x):
        y = x * w
        return y.sum(), y, y.view(8, 4), x

    program = joint_graph(lambda x: loss(x)[:3], (torch.randn(4, 8),)).program()
    problem = program.problem
    (product,) = {s for s in problem.forward_outputs.tolist() if problem.size_bytes[s] == 4 * 8 * 4}
    assert program.values[product].target is aten.mul.Tensor
    graph = Graph()
    x, tangent = graph.placeholder("primals_1"), graph.placeholder("tangents_1")
    y = graph.call_function(aten.sin.default, (x,))
    graph.output((y, graph.call_function(aten.alias.default, (tangent,)), x, None, y))
    program = joint_of(graph, (4,))
    assert program.problem.forward_outputs.tolist() == [1]
    assert program.problem.gradients.tolist() == [0, 1]
    assert program.problem.tangents.tolist() == [0]


def test_forward_operators_for_the_backward_alone_are_left_open():
    graph = Graph()
    x, tangent = graph.placeholder("primals_1"), graph.placeholder("tangents_1")
    y = graph.call_function(aten.sin.default, (x,))
    z = graph.call_function(aten.cos.default, (x,))
    graph.output((y, graph.call_function(aten.mul.Tensor, (tangent, z))))
    problem = joint_of(graph, (4,)).problem
    assert problem.in_forward.tolist() == [True, False, False]
    assert problem.is_backward.tolist() == [False, False, True]


def test_duplicates_go_and_chance_types_and_writes_stay_apart():
    graph = Graph()
    x = graph.placeholder("primals_1")
    parts = [
        graph.call_function(aten.sin.default, (x,)),
        graph.call_function(aten.sin.default, (x,)),
        graph.call_function(aten.add.Tensor, (x, 1)),
        graph.call_function(aten.add.Tensor, (x, 1.0)),
        graph.call_function(aten.rand_like.default, (x,)),
        graph.call_function(aten.rand_like.default, (x,)),
        graph.call_function(aten.copy_.default, (x, x)),
        graph.call_function(aten.sin.default, (x,)),
    ]
    graph.output(tuple(graph.call_function(aten.neg.default, (part,)) for part in parts))
    copy = without_duplicates(GraphModule({}, graph))
    targets = [node.target for node in copy.graph.nodes]
    assert targets.count(aten.sin.default) == 2
    assert targets.count(aten.add.Tensor) == 2
    assert targets.count(aten.rand_like.default) == 2
    assert len(graph.nodes) == 18


def test_the_halves_of_effects_in_the_backward_are_the_backward():
    graph = Graph()
    x, tangent = graph.placeholder("primals_1"), graph.placeholder("tangents_1")
    again = graph.call_function(aten.rand_like.default, (x,))
    again.meta["partitioner_tag"] = "is_backward"
    user = graph.call_function(aten.sin.default, (again,))
    graph.output((x, graph.call_function(aten.mul.Tensor, (tangent, user))))
    halves = divide(graph, 1)
    assert {again, user} <= halves.backward
    assert not keep_state_for_backward(graph, halves)


def test_every_training_model_has_dropout_that_runs_once():
    program = joint_graph(*zoo.bert(dropout=0.1, layers=1)).program()
    once = {program.nodes[i].target for i in (~program.problem.recomputable).nonzero()[0]}
    assert once == {aten.native_dropout.default}
