"""Per operator: times of the three passes, bytes saved and kept, weights, bytes across cuts."""

from __future__ import annotations

import pytest

import planner
from frontends import zoo
from planner.errors import LoweringError
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.pipelining.partitioning.training_costs import TrainingCosts, distinct, training_costs
from planner.target import Compute, Memory, Target
from planner.target_file import read_target

from .transformer_layer import gpt_layers

INFINITE = 1e30
PRODUCTS_ONLY = Target(
    "products",
    (Memory("ram", read_bandwidth=INFINITE, write_bandwidth=INFINITE),),
    compute=Compute({"default": 1.0}, INFINITE),
)
BYTES_ONLY = Target(
    "bytes",
    (Memory("ram", read_bandwidth=1.0, write_bandwidth=1.0),),
    compute=Compute({"default": INFINITE}, INFINITE),
)


def saved_bytes(costs: TrainingCosts) -> int:
    return sum(distinct(costs.saved, "size_bytes"))


def kept_bytes(costs: TrainingCosts) -> int:
    return sum(distinct(costs.kept, "size_bytes"))


@pytest.mark.parametrize(
    ("batch", "tokens", "features", "heads"), [(1, 64, 128, 4), (2, 128, 256, 8), (4, 32, 512, 16)]
)
def test_a_layer_saves_and_keeps_what_is_published(
    batch: int, tokens: int, features: int, heads: int
) -> None:
    """M_B = sbh (34 + 5 a s / h), of which dropout masks take a byte; M_W = 32 sbh.

    Sources: arXiv 2205.05198, equation 1; arXiv 2401.10241, section 3. The first leaves out the
    statistics of the two normalisations: 8 bytes per token each.
    """
    model = gpt_layers(batch=batch, tokens=tokens, features=features, heads=heads)
    costs = training_costs(planner.load(model), PRODUCTS_ONLY)
    places = batch * tokens
    published = places * (34 * features + 5 * heads * tokens)
    assert saved_bytes(costs) == published + 2 * 8 * places
    assert kept_bytes(costs) == 32 * places * features


def test_passes_of_a_layer_take_the_published_products() -> None:
    """F = sbh (24h + 4s), B = sbh (24h + 8s), W = 24 sbh^2 FLOP (arXiv 2401.10241, table 1)."""
    batch, tokens, features = 2, 128, 256
    model = gpt_layers(batch=batch, tokens=tokens, features=features, heads=8)
    costs = training_costs(planner.load(model), PRODUCTS_ONLY)
    scale = batch * tokens * features / 2  # two operations per multiply-accumulate
    expected = (24 * features + 4 * tokens, 24 * features + 8 * tokens, 24 * features)
    for seconds, operations in zip(
        (costs.forward_s, costs.backward_s, costs.weight_s), expected, strict=True
    ):
        assert seconds.sum() == pytest.approx(scale * operations)


def test_a_storage_that_several_operators_save_counts_once() -> None:
    one = training_costs(
        planner.load(gpt_layers(batch=1, tokens=32, features=64, heads=2)), PRODUCTS_ONLY
    )
    whole = sum(item.size_bytes for row in one.saved for item in row)
    # Query, key and value come from one Split, and the Gelu's result is read by one product: only
    # what the two branches and the normalisations share is saved twice.
    assert saved_bytes(one) <= whole
    two = training_costs(
        planner.load(gpt_layers(batch=1, tokens=32, features=64, heads=2, layers=2)), PRODUCTS_ONLY
    )
    assert saved_bytes(two) == 2 * saved_bytes(one)


def chain(*operators: tuple[str, tuple[str, ...], tuple[str, ...]], **shapes: int) -> Graph:
    """Operators over float32 vectors; names in capitals are constants, those in ``x`` inputs."""
    written = {name for _, _, results in operators for name in results}
    names = list(shapes)
    kinds = [
        StorageKind.ACTIVATION
        if name in written
        else StorageKind.CONSTANT
        if name.isupper()
        else StorageKind.INPUT
        for name in names
    ]
    return Graph(
        ModelReference("chain"),
        tuple(
            Operator(
                f"{kind.lower()}{index}",
                kind,
                tuple(names.index(name) for name in operands),
                tuple(names.index(name) for name in results),
                macs=100 if kind == "MatMul" else 0,
                vector_ops=0 if kind == "MatMul" else 10,
            )
            for index, (kind, operands, results) in enumerate(operators)
        ),
        tuple(
            Tensor(name, (shapes[name], 2), "float32", index, 0, 8 * shapes[name])
            for index, name in enumerate(names)
        ),
        tuple(
            Storage(name, 8 * shapes[name], kind) for name, kind in zip(names, kinds, strict=True)
        ),
    )


def test_the_first_product_has_no_gradient_of_its_operand() -> None:
    graph = chain(
        ("MatMul", ("x", "A"), ("y",)), ("MatMul", ("y", "B"), ("z",)), x=4, A=5, y=6, B=7, z=8
    )
    costs = training_costs(graph, PRODUCTS_ONLY)
    assert costs.forward_s.tolist() == [100, 100]
    assert costs.backward_s.tolist() == pytest.approx([0, 100])
    assert costs.weight_s.tolist() == pytest.approx([100, 100])


def test_what_each_kind_of_operator_saves() -> None:
    graph = chain(
        ("MatMul", ("x", "A"), ("y",)),
        ("Softmax", ("y",), ("z",)),
        ("Gelu", ("z",), ("u",)),
        ("Add", ("u", "z"), ("v",)),
        ("MatMul", ("v", "y"), ("w",)),
        x=2,
        A=3,
        y=5,
        z=7,
        u=11,
        v=13,
        w=17,
    )
    costs = training_costs(graph, PRODUCTS_ONLY)
    sizes = [sorted(item.size_bytes // 8 for item in row) for row in costs.saved]
    assert sizes == [[2], [7], [7], [], [5, 13]]
    assert saved_bytes(costs) // 8 == 2 + 7 + 5 + 13
    # Both factors of the last product are computed, so nothing of it waits for W.
    assert [len(row) for row in costs.kept] == [2, 0, 0, 0, 0]


def test_a_gradient_that_sums_pass_on_is_kept_once() -> None:
    graph = chain(
        ("MatMul", ("x", "A"), ("y",)),
        ("MatMul", ("x", "B"), ("z",)),
        ("Add", ("y", "z"), ("u",)),
        x=2,
        A=3,
        B=3,
        y=5,
        z=5,
        u=5,
    )
    costs = training_costs(graph, PRODUCTS_ONLY)
    assert kept_bytes(costs) == 8 * (2 + 5)


def test_tensors_that_skip_stages_count_on_every_cut_they_pass() -> None:
    graph = chain(
        ("MatMul", ("x", "A"), ("y",)),
        ("Relu", ("y",), ("z",)),
        ("Relu", ("z",), ("u",)),
        ("Add", ("u", "y"), ("v",)),
        x=2,
        A=3,
        y=5,
        z=7,
        u=11,
        v=13,
    )
    costs = training_costs(graph, PRODUCTS_ONLY)
    assert (costs.crossing_bytes // 8).tolist() == [0, 5, 5 + 7, 5 + 11, 0]


def test_inputs_that_later_operators_read_cross_too() -> None:
    graph = chain(
        ("MatMul", ("x", "A"), ("y",)),
        ("Add", ("y", "mask"), ("z",)),
        x=2,
        A=3,
        y=5,
        mask=4,
        z=5,
    )
    assert (training_costs(graph, PRODUCTS_ONLY).crossing_bytes // 8).tolist() == [0, 5 + 4, 0]


def test_element_wise_gradients_move_their_bytes() -> None:
    graph = chain(("MatMul", ("x", "A"), ("y",)), ("Gelu", ("y",), ("z",)), x=2, A=3, y=5, z=5)
    costs = training_costs(graph, BYTES_ONLY)
    assert costs.forward_s.tolist() == [8 * 10, 8 * 10]
    # Gelu reads its operand and the gradient of its result; the weights' gradient takes the rest.
    assert costs.backward_s.tolist() == [0, 8 * 15]
    assert costs.weight_s.tolist() == [8 * (2 + 5 + 3), 0]


@pytest.mark.parametrize(("dtype", "per_parameter"), [("float32", 16), ("float16", 16)])
def test_states_take_16_bytes_per_parameter(dtype: str, per_parameter: int) -> None:
    """Weights, gradients, two moments, and a float32 copy of narrower weights."""
    model = gpt_layers(batch=1, tokens=8, features=64, heads=2, dtype=dtype)
    costs = training_costs(planner.load(model), PRODUCTS_ONLY)
    features = 64
    matrices, vectors = 12 * features**2, (3 + 1 + 4 + 1 + 4) * features
    assert costs.parameters == matrices + vectors
    scalar_bytes = sum(distinct(costs.weights, "size_bytes"))
    states = sum(distinct(costs.weights, "state_bytes"))
    others = scalar_bytes - costs.parameters * (2 if dtype == "float16" else 4)
    assert states == per_parameter * costs.parameters + others


@pytest.mark.parametrize("name", zoo.names())
def test_every_network_of_the_zoo_is_priced_without_unknown_operators(name: str) -> None:
    graph = planner.load(zoo.build(name))
    costs = training_costs(graph, read_target("gpu-80g"))
    assert not costs.unknown
    assert (costs.crossing_bytes >= 0).all()
    assert costs.crossing_bytes[0] == costs.crossing_bytes[-1] == 0
    assert min(costs.forward_s.min(), costs.backward_s.min(), costs.weight_s.min()) >= 0
    activations = sum(s.size_bytes for s in graph.storages if s.kind is not StorageKind.CONSTANT)
    own = sum(item.size_bytes for row in costs.saved for item in row if item.key < 0)
    assert 0 < saved_bytes(costs) <= activations + own


def test_parameters_of_resnet50_agree_with_its_page() -> None:
    """25,557,032 parameters, normalisations folded into biases: 26,560 fewer."""
    costs = training_costs(planner.load(zoo.build("resnet50")), read_target("gpu-80g"))
    assert costs.parameters == 25_557_032 - 53_120 + 26_560


def test_a_model_of_integers_cannot_be_trained() -> None:
    with pytest.raises(LoweringError, match="no weights that could be trained"):
        training_costs(planner.load(zoo.build("resnet8", dtype="int8")), read_target("npu-1m"))


def test_a_model_that_holds_gradients_is_refused() -> None:
    graph = chain(("com.microsoft.ReluGrad", ("x", "A"), ("y",)), x=2, A=2, y=2)
    with pytest.raises(LoweringError, match="holds gradients already"):
        training_costs(graph, PRODUCTS_ONLY)


def test_a_quantised_model_is_refused() -> None:
    graph = chain(
        ("QuantizeLinear", ("x", "A"), ("y",)),
        ("QLinearConv", ("y", "A"), ("z",)),
        x=2,
        A=2,
        y=2,
        z=2,
    )
    with pytest.raises(LoweringError, match="is quantised"):
        training_costs(graph, PRODUCTS_ONLY)


def test_what_has_no_rule_saves_all_it_touches_and_is_named() -> None:
    graph = chain(("MatMul", ("x", "A"), ("y",)), ("Mystery", ("y",), ("z",)), x=2, A=3, y=5, z=7)
    costs = training_costs(graph, PRODUCTS_ONLY)
    assert costs.unknown == {"Mystery": 1}
    assert [item.size_bytes // 8 for item in costs.saved[1]] == [5, 7]
