"""What is drawn for absent weights, and what stripping keeps of those that are there."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from frontends.onnx.external import model_tensors, tensor_bytes
from frontends.onnx.weights import KEEP_BYTES, hydrate, strip
from planner.errors import BadFileError, UsageError

from .weight_models import DATA, absent, model, model_with_hidden_weights, stripped, tensor


def values(made: ModelProto, name: str = "w") -> np.ndarray:
    return next(numpy_helper.to_array(t) for n, t, _ in model_tensors(made) if n == name)


def drawn(weight: TensorProto, seed: int = 0) -> np.ndarray:
    return values(hydrate(model(weight), seed=seed).model, weight.name)


def test_the_same_seed_gives_the_same_file_and_another_one_another():
    made = model(absent(), absent("v"))
    files = [hydrate(made, seed=seed).model.SerializeToString() for seed in (3, 3, 4)]
    assert files[0] == files[1] != files[2]


def test_a_draw_does_not_change_when_other_tensors_come_or_go():
    alone = values(hydrate(model(absent())).model)
    among = values(hydrate(model(absent("a"), absent(), absent("b", (7,)))).model)
    assert np.array_equal(alone, among)
    assert not np.array_equal(alone, drawn(absent("other")))


def test_equal_attributes_without_names_are_drawn_differently():
    made = model(tensor())
    for result in ("a", "b"):
        made.graph.node.append(helper.make_node("Constant", [], [result], value=absent("")))
    filled = hydrate(made).model
    assert not np.array_equal(values(filled, "a"), values(filled, "b"))


def test_drawn_weights_have_the_statistics_of_the_stripped_ones():
    known = {"mean": 3.0, "std": 0.5, "min": 2.5, "max": 5.0}
    found = drawn(stripped(known))
    assert found.min() >= 2.5 and found.max() <= 5.0
    assert abs(found.mean() - 3.1) < 0.1 and 0.25 < found.std() < 0.5


def test_weights_of_which_nothing_is_known_keep_the_scale_of_activations():
    matrix = drawn(absent(dims=(64, 128)))
    assert abs(matrix.std() - (2 / 128) ** 0.5) < 0.005
    # A vector may be a variance: never negative, never 0.
    assert drawn(absent(dims=(500,))).min() >= 0.5
    # What a tensor without values said when it was stripped.
    unknown = {"mean": 0.0, "std": 0.05, "min": 0.0, "max": 0.0}
    assert drawn(stripped(unknown, dims=(2000,))).min() >= 0.5


def test_a_constant_weight_is_drawn_as_random_one():
    found = drawn(stripped({"mean": 2.0, "std": 0.0, "min": 2.0, "max": 2.0}))
    assert len(np.unique(found)) > 1000
    assert abs(found.mean() - 2.0) < 0.01


@pytest.mark.parametrize(
    "kind",
    [
        *("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16", "INT8", "UINT8", "INT16", "UINT16", "INT32"),
        *("INT4", "UINT4", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"),
    ],
)
@pytest.mark.parametrize("dims", [(3, 5, 7), (1,), (), (0, 4)])
def test_every_type_that_weights_have_can_be_drawn(kind, dims):
    weight = absent("v", dims, getattr(TensorProto, kind))
    filled = hydrate(model(tensor(), weight)).model
    onnx.checker.check_model(filled)
    found = values(filled, "v").astype(np.float64)
    assert found.shape == dims
    assert np.isfinite(found).all()
    assert found.size < 100 or len(np.unique(found)) > 1


@pytest.mark.parametrize("kind", ["INT64", "BOOL", "COMPLEX64", "UINT64", "STRING"])
def test_what_cannot_be_drawn_is_refused_by_name(kind):
    weight = absent("table", (8,), getattr(TensorProto, kind))
    with pytest.raises(BadFileError, match=f'"table".* {kind.lower()}'):
        hydrate(model(tensor(), weight))


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "INT8", "INT4"])
def test_huge_statistics_stay_within_the_element_type(kind):
    huge = {"mean": 1e308, "std": 1e308, "min": -1e308, "max": 1e308}
    found = drawn(stripped(huge, kind=getattr(TensorProto, kind)))
    assert np.isfinite(found.astype(np.float64)).all()


@pytest.mark.parametrize(
    "doc",
    [
        '{"mean": NaN}',
        '{"mean": 1e400}',
        '{"std": Infinity}',
        '{"std": -1}',
        '{"min": 2, "max": 1}',
        '{"mean": "1"}',
        '{"mean": [1]}',
        '{"mean": null}',
        f'{{"mean": 1{"0" * 400}}}',
        "[1, 2, 3, 4]",
        "[" * 900,
        '{"mean": ' + "[" * 100_000,
        '{"mean": 1' + " " * 1000 + "}",
        "no json",
        '{"mean": 1',
    ],
)
def test_statistics_that_are_none_are_refused(doc):
    with pytest.raises(BadFileError, match='tensor "w": its statistics'):
        hydrate(model(stripped(doc)))


def test_a_negative_seed_is_refused():
    with pytest.raises(UsageError, match="seed -1"):
        hydrate(model(absent()), seed=-1)


@pytest.mark.parametrize("dims", [(1 << 20, 1 << 20), (1 << 40,), (1 << 62, 1 << 62)])
def test_absurd_sizes_are_refused_with_the_sum_of_all(dims):
    with pytest.raises(BadFileError, match=r'2 weights .* take [\d,]{15,} .* tensor "w"'):
        hydrate(model(absent(dims=dims), absent("v")))


@pytest.mark.parametrize("dims", [(-1, 4), (-2, -2), (1,) * 1001])
def test_impossible_dimensions_are_refused(dims):
    with pytest.raises(BadFileError, match="negative dimension or more than 1,000"):
        hydrate(model(absent(dims=dims)))


def test_stripping_keeps_small_tensors_and_statistics_to_six_digits():
    small = np.arange(KEEP_BYTES // 4, dtype=np.float32)
    table = np.arange(10_000)
    bare = strip(model(tensor(), tensor("small", small), tensor("table", table)))
    assert (bare.tensors, bare.bytes) == (1, DATA.nbytes)
    weight, kept, indices = bare.model.graph.initializer
    assert kept == tensor("small", small) and indices == tensor("table", table)
    assert not weight.raw_data and weight.data_location == TensorProto.EXTERNAL
    figures = json.loads(weight.doc_string)
    wide = DATA.astype(np.float64)
    expected = (wide.mean(), wide.std(), wide.min(), wide.max())
    assert list(figures) == ["mean", "std", "min", "max"]
    assert [*figures.values()] == [float(f"{value:.6g}") for value in expected]


def test_statistics_leave_out_what_is_not_finite():
    mixed = DATA.copy()
    mixed[0, :3] = np.nan, np.inf, -np.inf
    figures = json.loads(strip(model(tensor(values=mixed))).model.graph.initializer[0].doc_string)
    assert figures["max"] == float(f"{DATA.ravel()[3:].max():.6g}")
    nothing = strip(model(tensor(values=np.full((32, 64), np.nan, np.float32)))).model
    assert not nothing.graph.initializer[0].doc_string
    assert np.isfinite(values(hydrate(nothing).model)).all()


def test_weights_in_bodies_attributes_functions_and_sparse_ones_are_stripped_and_refilled():
    made = model_with_hidden_weights()
    bare = strip(made)
    names = {n for n, t, _ in model_tensors(bare.model) if t.data_location == TensorProto.EXTERNAL}
    assert names == {"then_w", "other_w", "k", "large_in_function", "sparse_w"}
    filled = hydrate(bare.model)
    assert filled.tensors == bare.tensors == 5
    for name in names:
        assert abs(values(filled.model, name).mean() - values(made, name).mean()) < 0.3
    assert np.array_equal(values(filled.model, "in_function"), values(made, "in_function"))
    assert strip(filled.model).model == bare.model


_FIGURES = st.floats(-1e30, 1e30, allow_subnormal=False)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 1 << 70),
    name=st.text(max_size=8).filter(lambda text: text.isprintable()),
    dims=st.lists(st.integers(0, 40), max_size=3),
    kind=st.sampled_from(["FLOAT", "FLOAT16", "BFLOAT16", "INT8", "UINT4", "INT32", "DOUBLE"]),
    figures=st.none() | st.tuples(_FIGURES, st.floats(0, 1e30), _FIGURES, _FIGURES),
)
def test_stripping_a_refilled_model_gives_the_stripped_one(seed, name, dims, kind, figures):
    doc: str | dict[str, object] = ""
    if figures is not None:
        mean, std, *limits = figures
        doc = {"mean": mean, "std": std, "min": min(limits), "max": max(limits)}
    more = {"name": name, "dims": dims, "kind": getattr(TensorProto, kind)}
    weight = stripped(doc, **more)
    bare = model(weight, tensor("other", DATA[:3]))
    filled = hydrate(bare, seed=seed).model
    # A tensor that small is stripped only where its values were absent in the first place.
    is_small = tensor_bytes(name, weight) <= KEEP_BYTES
    assert strip(filled).model == (filled if is_small else bare)


def test_weights_that_changed_since_they_were_drawn_are_described_anew():
    filled = hydrate(model(stripped({"mean": 0.0, "std": 1.0, "min": -9.0, "max": 9.0}))).model
    trained = filled.graph.initializer[0]
    trained.raw_data = DATA.tobytes()
    figures = json.loads(strip(filled).model.graph.initializer[0].doc_string)
    assert figures["mean"] == float(f"{DATA.astype(np.float64).mean():.6g}")


def test_the_words_of_others_in_a_doc_string_stay():
    doc = "trained on Tuesdays"
    assert hydrate(model(absent(doc=doc))).model.graph.initializer[0].doc_string == doc


@pytest.mark.parametrize("doc", ["", "a weight", '{"seed": 1e999}', '{"seed": -1}', '{"seed": 0}'])
def test_any_doc_string_of_a_weight_can_be_stripped(doc):
    weight = tensor()
    weight.doc_string = doc
    assert "mean" in strip(model(weight)).model.graph.initializer[0].doc_string


def test_a_malformed_tensor_is_refused_by_name():
    weight = tensor()
    weight.raw_data = weight.raw_data[:-3]
    with pytest.raises(BadFileError, match='"w" is malformed'):
        strip(model(weight))


def test_nothing_given_is_changed():
    for made in (model(absent()), model(tensor()), model_with_hidden_weights()):
        before = made.SerializeToString()
        hydrate(made)
        strip(made)
        assert made.SerializeToString() == before


# Weights that a ConstantOfShape makes


def constant_model(**more: object) -> ModelProto:
    made = model(tensor("shape", np.array([32, 64])), ir=more.pop("ir", 8))  # type: ignore[arg-type]
    value = helper.make_tensor("v", more.pop("kind", TensorProto.FLOAT), [1], [more.pop("of", 0.5)])
    made.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["w"], value=value))
    if made.ir_version < 4:
        made.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [2]))
    return made


@pytest.mark.parametrize("ir", [3, 8])
def test_weights_made_by_constant_of_shape_become_random(ir):
    ort = pytest.importorskip("onnxruntime")
    made = constant_model(ir=ir)
    onnx.checker.check_model(made)
    filled = hydrate(made)
    assert filled.constants == 1 and filled.tensors == 0
    onnx.checker.check_model(filled.model)
    assert [node.op_type for node in filled.model.graph.node] == ["MatMul"]
    weight = values(filled.model)
    assert weight.shape == (32, 64) and len(np.unique(weight)) > 1000
    session = ort.InferenceSession(filled.model.SerializeToString())
    feed = {"x": np.ones((2, 32), np.float32)}
    np.testing.assert_allclose(session.run(None, feed)[0][0], weight.sum(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("what", "consumer"),
    [
        ({"of": -3e38}, None),
        ({"kind": TensorProto.INT64, "of": 1}, None),
        ({}, helper.make_node("Cast", ["w"], ["sizes"], to=TensorProto.INT64)),
        ({}, helper.make_node("Resize", ["x", "", "w"], ["resized"])),
    ],
)
def test_masks_integers_and_what_decides_shapes_stay(what, consumer):
    made = constant_model(**what)
    if consumer is not None:
        made.graph.node.append(consumer)
    assert hydrate(made).constants == 0
    made = constant_model()
    made.graph.output[0].name = "w"
    assert hydrate(made).constants == 0


def test_absurd_constant_weights_are_refused_before_anything_is_drawn():
    made = constant_model()
    made.graph.initializer[0].CopyFrom(tensor("shape", np.array([1 << 30, 1 << 30])))
    with pytest.raises(BadFileError, match='tensor "w"'):
        hydrate(made)
