"""Model files as untrusted input: what is read, what is refused and with which words."""

from __future__ import annotations

import hashlib
import os
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from frontends.onnx import load_onnx
from frontends.onnx.load import KEEP_PAYLOAD_BYTES, load_model
from frontends.onnx.nodes import MAX_DEPTH
from frontends.onnx.skim import drop_large_payloads
from planner.errors import BadFileError, LoweringError


def model(body: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {body}')


def weighted_model(weight: TensorProto) -> onnx.ModelProto:
    made = model("(float[2] x) => (y) { y = Add(x, w) }")
    made.graph.initializer.append(weight)
    return made


def external_weight(location: str, name: str = "w") -> TensorProto:
    tensor = TensorProto(
        name=name, data_type=1, dims=[2], data_location=TensorProto.DataLocation.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_a_file_gives_its_name_and_hash(tmp_path):
    path = tmp_path / "small.onnx"
    onnx.save(model("(float[2] x) => (y) { y = Relu(x) }"), path)
    reference = load_onnx(path).model
    assert reference.name == "small.onnx"
    assert reference.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_onnx(str(path)).model == reference


def test_a_model_in_memory_is_left_as_it_was_and_has_no_hash():
    made = model("(float[batch, 2] x) => (y) { y = Relu(x) }")
    before = made.SerializeToString()
    graph = load_onnx(made, dims={"batch": 3})
    assert made.SerializeToString() == before
    assert (graph.model.name, graph.model.sha256) == ("g", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"this is text, not a model\n" * 20, "no ONNX model"),
        (b"\x00\x01\x02\x03", "no ONNX model"),
        (b'{"format": "planner.plan"}', "no ONNX model"),
        (numpy_helper.from_array(np.zeros(3, np.float32), "x").SerializeToString(), "no ONNX"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph"),
        (onnx.ModelProto(graph=onnx.GraphProto(name="g")).SerializeToString(), "ir_version is abs"),
    ],
    ids=["empty", "text", "binary", "json", "tensor", "no graph", "no version"],
)
def test_what_is_no_model_is_refused(tmp_path, content, words):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=words) as caught:
        load_onnx(path)
    assert "bad.onnx" in str(caught.value)
    assert caught.value.exit_code == 6


def test_every_truncation_is_an_error_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)
    whole = weighted_model(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    content = whole.SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        # A cut between two fields is well-formed protobuf: a model without operators, perhaps.
        with pytest.raises((BadFileError, LoweringError)):
            load_onnx(path)


def test_random_damage_never_escapes_as_another_exception(tmp_path, monkeypatch):
    # A process per damaged file takes too long; what it returns is only data anyway.
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)
    made = model(
        "(float[2, 3, bool_dim] x, bool c) => (y) {"
        "  s = Shape(x) r = Reshape(x, s) z = If (c) <"
        "    then_branch = t () => (float[2, 3, 4] a) { a = Relu(r) },"
        "    else_branch = e () => (float[2, 3, 4] b) { b = Abs(r) }>"
        "  y = Concat<axis = 0>(z, w) }"
    )
    made.graph.initializer.append(numpy_helper.from_array(np.ones((2, 3, 4), np.float32), "w"))
    content = made.SerializeToString()
    load_onnx(made, dims={"bool_dim": 4})
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    accepted = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            load_onnx(path, dims={"x:2": 4}, zero_copy=True)
            accepted += 1
        except (BadFileError, LoweringError) as error:
            assert str(error)
    assert 0 < accepted < 300


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [([], []), ([], ["y"]), (["x"], ["y"]), (["", "x"], ["", "y"]), (["x"] * 6, list("abcd"))],
)
def test_operators_with_any_number_of_operands_are_refused_or_lowered(monkeypatch, inputs, outputs):
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)
    lowered = 0
    for operator in sorted({schema.name for schema in onnx.defs.get_all_schemas()}):
        made = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 21)])
        made.graph.input.append(helper.make_tensor_value_info("x", 1, [2, 3]))
        made.graph.node.add(op_type=operator, input=inputs, output=outputs)
        made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name)
        try:
            load_onnx(made, zero_copy=True)
            lowered += 1
        except LoweringError as error:
            assert str(error)
    if inputs == ["x"]:
        assert lowered > 30


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(BadFileError, match="not a regular file"):
        load_onnx(tmp_path / "pipe.onnx")
    with pytest.raises(BadFileError, match="is a directory"):
        load_onnx(tmp_path)
    with pytest.raises(BadFileError, match="does not exist"):
        load_onnx(tmp_path / "absent.onnx")
    with pytest.raises(BadFileError, match="cannot be read"):
        load_onnx(tmp_path / "nul\0.onnx")


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../secrets",
        "a/../../b",
        "..",
        "C:\\w.bin",
        "c:w.bin",
        "\\\\host\\w",
        "..\\w",
    ],
)
@pytest.mark.parametrize("from_file", [True, False])
def test_external_data_outside_the_folder_is_refused(tmp_path, location, from_file):
    made = weighted_model(external_weight(location))
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(BadFileError) as caught:
        load_onnx(path if from_file else made)
    expected = f'tensor "w": external data "{location}" is outside the model\'s folder. Refused.'
    assert str(caught.value) == expected


def test_external_data_behind_a_symbolic_link_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(b"12345678")
    (folder / "weights.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "loop.bin").symlink_to(folder / "loop.bin")
    os.mkfifo(folder / "pipe.bin")
    path = folder / "m.onnx"
    for location, words in [
        ("weights.bin", "outside the model's folder"),
        ("loop.bin", "Refused"),
        ("pipe.bin", "not a regular file"),
    ]:
        path.write_bytes(weighted_model(external_weight(location)).SerializeToString())
        with pytest.raises(BadFileError, match=words):
            load_onnx(path)


def test_external_data_is_checked_in_bodies_attributes_and_functions(tmp_path):
    bad = external_weight("../w", "hidden")
    branch = helper.make_graph(
        [helper.make_node("Add", ["x", "hidden"], ["r"])],
        "branch",
        [],
        [helper.make_tensor_value_info("r", 1, [2])],
        [bad],
    )
    in_body = model("(float[2] x, bool c) => (float[2] y) { }")
    in_body.graph.node.append(
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    )
    in_attribute = model("(float[2] x) => (y) { y = Add(x, c) }")
    in_attribute.graph.node.append(helper.make_node("Constant", [], ["c"], value=bad))
    in_function = model("(float[2] x) => (y) { y = Relu(x) }")
    in_function.functions.append(
        helper.make_function(
            "f", "f", [], ["c"], [helper.make_node("Constant", [], ["c"], value=bad)], []
        )
    )
    for made in (in_body, in_attribute, in_function):
        with pytest.raises(BadFileError, match='tensor "hidden"'):
            load_onnx(made)


@pytest.mark.parametrize("location", ["__stripped__", "absent.bin", "sub/weights.bin", ""])
def test_absent_external_data_is_fine(tmp_path, location):
    path = tmp_path / "m.onnx"
    path.write_bytes(weighted_model(external_weight(location)).SerializeToString())
    graph = load_onnx(path)
    assert graph.constant_bytes == 8
    assert graph.activation_bytes == 16


def test_names_that_are_no_text_are_refused(tmp_path):
    content = model("(float[2] x) => (y) { longname = Relu(x) y = Abs(longname) }")
    damaged = content.SerializeToString().replace(b"longname", b"long\xff\xfe\xfdm")
    path = tmp_path / "m.onnx"
    path.write_bytes(damaged)
    with pytest.raises(BadFileError, match=r"m\.onnx.*not UTF-8"):
        load_onnx(path)


def nested_branches(depth: int) -> onnx.GraphProto:
    result = helper.make_tensor_value_info("r", 1, [2])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "inner", [], [result])
    for _ in range(depth):
        outer = onnx.GraphProto(name="outer", output=[result])
        node = outer.node.add(op_type="If", input=["c"], output=["r"])
        for branch in ("then_branch", "else_branch"):
            attribute = node.attribute.add(name=branch, type=onnx.AttributeProto.GRAPH)
            attribute.g.output.append(result)
            attribute.g.node.add(op_type="Relu", input=["x"], output=["r"])
        node.attribute[0].g.CopyFrom(graph)
        graph = outer
    return graph


def test_nesting_is_bounded():
    made = model("(float[2] x, bool c) => (float[2] r) { }")
    made.graph.node.extend(nested_branches(20).node)
    assert len(load_onnx(made).operators) == 1
    deep = onnx.ModelProto(ir_version=8, opset_import=made.opset_import)
    graph = deep.graph
    for _ in range(MAX_DEPTH + 2):
        graph = graph.node.add(op_type="If").attribute.add(name="then_branch").g
    with pytest.raises(LoweringError, match="nested more than 32"):
        load_onnx(deep)


@pytest.mark.parametrize("hidden", [False, True], ids=["top level", "body"])
def test_more_nodes_than_anyone_plans_are_refused(monkeypatch, hidden):
    monkeypatch.setattr("frontends.onnx.nodes.MAX_NODES", 100)
    made = model("(float[2] x) => (float[2] y) { y = Relu(x) }")
    graph = made.graph
    if hidden:
        graph = graph.node.add(op_type="If").attribute.add(name="then_branch").g
    for _ in range(101):
        graph.node.add()
    with pytest.raises(LoweringError, match=f"more than 100 nodes: {103 if hidden else 102} or"):
        load_onnx(made)


def test_more_function_nodes_or_declared_values_than_anyone_plans_are_refused(monkeypatch):
    monkeypatch.setattr("frontends.onnx.nodes.MAX_NODES", 100)
    made = model("(float[2] x) => (float[2] y) { y = Relu(x) }")
    function = made.functions.add(name="f", domain="d")
    for _ in range(100):
        function.node.add()
    with pytest.raises(LoweringError, match="more than 100 nodes"):
        load_onnx(made)
    del made.functions[:]
    monkeypatch.setattr("frontends.onnx.nodes.MAX_VALUES", 100)
    for _ in range(60):
        made.graph.value_info.add()
        made.graph.initializer.add()
    with pytest.raises(LoweringError, match="more than 100 declared values and stored tensors"):
        load_onnx(made)


def test_the_skimmer_stops_at_too_many_nodes_or_fields(monkeypatch):
    many_nodes = onnx.GraphProto()
    for _ in range(2000):
        many_nodes.node.add()
    many_names = onnx.GraphProto(node=[onnx.NodeProto(input=[""] * 4000)])
    for graph, words in [(many_nodes, "more than 1,000 nodes"), (many_names, "3,000 fields")]:
        monkeypatch.setattr("frontends.onnx.skim.MAX_NODES", 1000)
        monkeypatch.setattr("frontends.onnx.skim._MAX_FIELDS", 3000)
        content = onnx.ModelProto(ir_version=8, graph=graph).SerializeToString()
        with pytest.raises(BadFileError, match=words):
            drop_large_payloads(memoryview(content), 100)


def test_skimming_keeps_everything_but_large_payloads():
    rng = np.random.default_rng(1)
    large = rng.random(5000, dtype=np.float32)
    small = np.arange(6, dtype=np.int64)
    branch = helper.make_graph(
        [],
        "branch",
        [],
        [helper.make_tensor_value_info("b", 1, [5000])],
        [numpy_helper.from_array(large, "b")],
    )
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(large, "c")),
        helper.make_node("If", ["cond"], ["d"], then_branch=branch, else_branch=branch),
        helper.make_node("Reshape", ["x", "small"], ["y"]),
    ]
    typed = helper.make_tensor("typed", 1, [5000], large)  # in float_data, not raw_data
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [6])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(large, "w"), numpy_helper.from_array(small, "small"), typed],
        doc_string="d" * 10_000,
    )
    whole = helper.make_model(graph)
    skimmed = onnx.ModelProto.FromString(
        drop_large_payloads(memoryview(whole.SerializeToString()), KEEP_PAYLOAD_BYTES)
    )
    assert skimmed.ByteSize() < 15_000
    expected = onnx.ModelProto()
    expected.CopyFrom(whole)
    condition = expected.graph.node[1]
    for tensor in (
        expected.graph.initializer[0],
        expected.graph.initializer[2],
        expected.graph.node[0].attribute[0].t,
        condition.attribute[0].g.initializer[0],
        condition.attribute[1].g.initializer[0],
    ):
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.DataLocation.EXTERNAL
    assert skimmed == expected


def test_a_skimmed_file_lowers_to_the_same_graph(tmp_path):
    made = model("(float[4, 3000] x) => (y) { h = Add(x, w) y = Reshape(h, s) }")
    made.graph.initializer.append(numpy_helper.from_array(np.ones(3000, np.float32), "w"))
    made.graph.initializer.append(numpy_helper.from_array(np.array([2, 6000]), "s"))
    path = tmp_path / "m.onnx"
    onnx.save(made, path)
    skimmed, digest = load_model(path, skim_above_bytes=100)
    assert skimmed.ByteSize() < 1000
    assert digest == load_onnx(path).model.sha256
    graph, direct = load_onnx(skimmed), load_onnx(path)
    assert graph.operators == direct.operators
    assert graph.tensors == direct.tensors
    assert graph.storages == direct.storages


def test_a_damaged_file_is_refused_by_the_skimmer_too(tmp_path):
    made = weighted_model(numpy_helper.from_array(np.ones((5000, 2), np.float32), "w"))
    content = made.SerializeToString()
    path = tmp_path / "m.onnx"
    rng = np.random.default_rng(2)
    for attempt in range(200):
        damaged = bytearray(content)
        if attempt % 2:
            del damaged[int(rng.integers(100, len(damaged))) :]
        for _ in range(3):
            damaged[int(rng.integers(100))] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            load_model(path, skim_above_bytes=10)
        except BadFileError as error:
            assert "m.onnx" in str(error)


def write_large_file(path, payload_bytes: int) -> None:
    """A model with one initializer of that size, as a sparse file."""
    elements = payload_bytes // 4
    made = model(f"(float[{elements}] x) => (y) {{ y = Add(x, w) }}")
    head = made.SerializeToString()
    tensor = TensorProto(name="w", data_type=1, dims=[elements]).SerializeToString()

    def varint(value: int) -> bytes:
        return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])

    raw = b"\x4a" + varint(payload_bytes)  # raw_data, field 9
    initializer = b"\x2a" + varint(len(tensor) + len(raw) + payload_bytes)  # field 5
    graph_bytes = len(initializer) + len(tensor) + len(raw) + payload_bytes
    with path.open("wb") as file:
        # A repeated graph field: protobuf merges the second into the first.
        file.write(head + b"\x3a" + varint(graph_bytes) + initializer + tensor + raw)
        file.truncate(file.tell() + payload_bytes)


def test_graphs_stored_in_pieces_are_merged(tmp_path):
    path = tmp_path / "m.onnx"
    write_large_file(path, 40_000)
    assert load_onnx(path).constant_bytes == 40_000


@pytest.mark.slow
def test_a_file_above_two_gigabytes_loads_in_little_memory(tmp_path):
    path = tmp_path / "large.onnx"
    size = (1 << 31) + (1 << 28)
    write_large_file(path, size)
    tracemalloc.start()
    try:
        graph = load_onnx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert graph.constant_bytes == size
    assert graph.activation_bytes == 2 * size
    assert peak < 20_000_000
