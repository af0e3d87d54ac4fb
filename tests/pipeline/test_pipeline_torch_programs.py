"""Torch programs are lowered, and their saved bytes and operations are those of torch itself."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest

import planner
from planner.errors import LoweringError, UsageError
from planner.graph import StorageKind
from planner.pipelining.partitioning.output_layer import find_output_layer
from planner.pipelining.partitioning.partition_model import partition_model
from planner.pipelining.partitioning.training_costs import distinct, training_costs
from planner.target import Compute, Memory, Target
from planner.target_file import read_target

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional


PRODUCTS_ONLY = Target(
    "products",
    (Memory("ram", read_bandwidth=1e30, write_bandwidth=1e30),),
    compute=Compute({"default": 1.0}, 1e30),
)


class Layer(nn.Module):
    def __init__(self, features: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.qkv = nn.Linear(features, 3 * features)
        self.projection = nn.Linear(features, features)
        self.widen = nn.Linear(features, 4 * features)
        self.narrow = nn.Linear(4 * features, features)
        self.heads, self.fused = heads, fused

    def forward(self, x: Any) -> Any:
        batch, tokens, features = x.shape
        parts = self.qkv(self.ln_1(x)).split(features, 2)
        shape = (batch, tokens, self.heads, features // self.heads)
        query, key, value = (part.view(shape).transpose(1, 2) for part in parts)
        if self.fused:
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            mixed = torch.softmax(query @ key.transpose(2, 3) / 3.0, -1) @ value
        x = x + self.projection(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.narrow(functional.gelu(self.widen(self.ln_2(x))))


class LanguageModel(nn.Module):
    def __init__(self, *, fused: bool, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 32)
        self.layers = nn.Sequential(*(Layer(32, 4, fused=fused) for _ in range(layers)))
        self.head = nn.Linear(32, 200, bias=False)

    def forward(self, tokens: Any) -> Any:
        return self.head(self.layers(self.embedding(tokens)))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm_1, self.norm_2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.third = nn.Conv2d(8, 8, 1, stride=2)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(torch.relu_(self.norm_1(self.first(x))), 2)
        y = torch.relu(self.norm_2(self.second(x)))
        x = torch.sigmoid(self.third(x + y))
        return self.head(functional.silu(x).mean((2, 3)))


TOKENS = torch.zeros(2, 16, dtype=torch.long)
IMAGE = torch.ones(2, 3, 16, 16)
MODELS = {
    "eager attention": (lambda: LanguageModel(fused=False), TOKENS),
    "fused attention": (lambda: LanguageModel(fused=True), TOKENS),
    "convolutions": (Convolutional, IMAGE),
}


def exported(model: Any, *inputs: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model, inputs, **options)


def saved_by_torch(model: Any, *inputs: Any) -> int:
    """Bytes of all storages that autograd saves, parameters and buffers apart."""
    own = {
        tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())
    }
    alive, sizes = [], {}

    def pack(tensor: Any) -> Any:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model(*inputs)
    assert result.requires_grad
    return sum(sizes.values())


@pytest.mark.parametrize("name", MODELS)
def test_saved_bytes_are_those_that_autograd_saves(name: str) -> None:
    build, operand = MODELS[name]
    model = build()
    costs = training_costs(planner.load(exported(model, operand)), PRODUCTS_ONLY)
    assert sum(distinct(costs.saved, "size_bytes")) == saved_by_torch(model, operand)
    assert costs.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not costs.unknown


@pytest.mark.parametrize("name", ["eager attention", "convolutions"])
def test_operations_are_those_that_torch_counts(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    build, operand = MODELS[name]
    model = build()
    costs = training_costs(planner.load(exported(model, operand)), PRODUCTS_ONLY)
    with FlopCounterMode(display=False) as counter:
        result = model(operand)
    forward = counter.get_total_flops()
    assert 2 * costs.forward_s.sum() == pytest.approx(forward)
    with FlopCounterMode(display=False) as counter:
        result.sum().backward()
    gradients = costs.backward_s.sum() + costs.weight_s.sum()
    assert 2 * gradients == pytest.approx(counter.get_total_flops())


def test_views_share_the_storage_of_what_they_view() -> None:
    graph = planner.load(exported(LanguageModel(fused=True), TOKENS))
    storage = {tensor.name: tensor.storage for tensor in graph.tensors}
    assert storage["view"] == storage["linear"] == storage["split.0"] == storage["transpose_2"]
    views = [op.type for i, op in enumerate(graph.operators) if graph.is_view(i)]
    assert set(views) == {"aten.split", "aten.view", "aten.transpose", "aten.reshape"}
    assert all(not op.macs and not op.vector_ops for op in graph.operators if op.type in views)
    offsets = [tensor.offset_bytes for tensor in graph.tensors if tensor.name.startswith("split.")]
    assert offsets == [0, 4 * 32, 4 * 64]


def test_mutation_becomes_a_result_of_its_own() -> None:
    graph = planner.load(exported(Convolutional(), IMAGE))
    types = [operator.type for operator in graph.operators]
    assert "aten.relu" in types
    assert "aten.relu_" not in types


def test_operators_are_named_after_their_modules() -> None:
    graph = planner.load(exported(LanguageModel(fused=True), TOKENS))
    names = [operator.name for operator in graph.operators]
    assert names[0] == "embedding.embedding"
    assert "layers.1.narrow.linear_7" in names
    assert names[-1].startswith("head.")


def test_what_weights_alone_decide_is_a_constant() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 8))

        def forward(self, x: Any) -> Any:
            return x @ (self.weight.t() * 2).contiguous() + torch.arange(8)

    graph = planner.load(exported(Tied(), torch.ones(4, 8)))
    assert [operator.type for operator in graph.operators] == ["aten.matmul", "aten.add"]
    assert "Folded" in graph.notes[0]
    kinds = {tensor.name: graph.storages[tensor.storage].kind for tensor in graph.tensors}
    assert kinds["arange"] is kinds["contiguous"] is StorageKind.CONSTANT
    assert graph.storages[-1].is_output


def test_a_torch_language_model_is_cut_into_stages() -> None:
    graph = planner.load(exported(LanguageModel(fused=True, layers=4), TOKENS))
    gpu = read_target("gpu-80g")
    for chunks in (1, 2):
        partition = partition_model(
            graph, gpu, devices=2, chunks=chunks, microbatches=8, vocabulary=1
        )
        assert len(partition.stages) == 2 * chunks
        assert partition.stages[-1].last == len(graph.operators) - 2
        problem = partition.problem()
        assert problem.vocabulary is not None
    layer = find_output_layer(training_costs(graph, gpu))
    assert layer is not None
    assert (layer.vocabulary, layer.embedding) == (200, 0)


def dynamic_program() -> Any:
    batch = torch.export.Dim("batch", min=2, max=64)
    return exported(LanguageModel(fused=True), TOKENS, dynamic_shapes=({0: batch},))


def test_symbolic_sizes_are_bound_or_refused_by_name() -> None:
    program = dynamic_program()
    with pytest.raises(LoweringError, match=r"Bind s\d+: dims=") as caught:
        planner.load(program)
    symbol = str(caught.value).split("Bind ")[1].split(":")[0]
    graph = planner.load(program, dims={symbol: 6})
    assert next(t for t in graph.tensors if t.name == "embedding").shape == (6, 16, 32)
    fixed = planner.load(exported(LanguageModel(fused=True), TOKENS.repeat(3, 1)))
    assert graph.activation_bytes == fixed.activation_bytes
    with pytest.raises(UsageError, match="no dimension of the program is called 'batch'"):
        planner.load(program, dims={symbol: 6, "batch": 6})


def test_a_graph_module_of_operators_is_lowered_too() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    weight = torch.ones(8, 16)
    trace = make_fx(
        lambda x: torch.relu(x @ weight), tracing_mode="fake", _allow_non_fake_inputs=True
    )
    module = trace(torch.ones(4, 8))
    graph = planner.load(module)
    assert [operator.type for operator in graph.operators] == ["aten.mm", "aten.relu"]
    assert graph.operators[0].macs == 4 * 8 * 16


def test_symbolic_traces_without_sizes_are_refused() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(LoweringError, match="instead of symbolic_trace"):
        planner.load(traced)
    traced = torch.fx.symbolic_trace(lambda x: torch.relu(x))
    with pytest.raises(LoweringError, match="no fake value"):
        planner.load(traced)


def test_memory_of_a_program_can_be_planned_as_that_of_other_models() -> None:
    result = planner.plan(exported(Convolutional(), IMAGE), time_limit=5)
    assert result.plan is not None
    assert not planner.check(result.graph, read_target("host"), result.plan)


def test_tensors_and_modules_are_no_programs() -> None:
    with pytest.raises(UsageError, match=r"Give a torch\.export\.ExportedProgram"):
        planner.load(torch.ones(3))
    with pytest.raises(UsageError, match=r"Give a torch\.export\.ExportedProgram"):
        planner.load(nn.Linear(3, 3))
    with pytest.raises(UsageError, match="none can be given"):
        planner.load(exported(LanguageModel(fused=True), TOKENS), shapes={"x": "1:float32"})


def test_onnx_models_are_loaded_without_torch() -> None:
    code = (
        "import sys, planner; from frontends import zoo; planner.load(zoo.build('resnet8')); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
