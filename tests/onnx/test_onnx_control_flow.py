"""Bodies of If, Loop and Scan: captures, workspaces, constant conditions; model-local functions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from frontends.onnx import load_onnx
from frontends.onnx.inlining import MAX_PATH, Names
from frontends.onnx.nodes import MAX_NODES
from planner.errors import LoweringError
from planner.graph import StorageKind


def model(body: str, constants: dict[str, object] | None = None, functions: str = ""):
    text = f'<ir_version: 8, opset_import: ["" : 17, "my" : 1, "l" : 1]> g {body} {functions}'
    made = parser.parse_model(text)
    for name, value in (constants or {}).items():
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    return made


def names(graph, tensors) -> list[str]:
    return [graph.tensors[tensor].name for tensor in tensors]


CONDITIONAL = """
    h = Relu(x) k = Abs(x) z = If (c) <
        then_branch = t () => (float[4] r) { p = Neg(h) q = Exp(p) r = Mul(p, q) },
        else_branch = e () => (float[4] s) { s = Add(h, k) }>
    y = Neg(z)"""


def test_captured_values_are_operands():
    graph = load_onnx(model(f"(float[4] x, bool c) => (y) {{ {CONDITIONAL} }}"))
    conditional = graph.operators[2]
    assert conditional.type == "If"
    assert names(graph, conditional.inputs) == ["c", "h", "k"]
    assert names(graph, conditional.outputs) == ["z", "z (workspace)"]


def test_the_workspace_is_the_peak_of_the_larger_branch():
    warnings = []
    graph = load_onnx(
        model(f"(float[4] x, bool c) => (y) {{ {CONDITIONAL} }}"), on_warning=warnings.append
    )
    workspace = graph.storages[graph.tensors[graph.operators[2].outputs[1]].storage]
    # p, q and r are live at once; h and k belong to the graph around.
    assert (workspace.kind, workspace.size_bytes) == (StorageKind.WORKSPACE, 3 * 16)
    assert graph.activation_bytes == 16 + 1 + 4 * 16 + 48
    assert any("own peak is 48 bytes, 4 operators inside" in warning for warning in warnings)
    assert graph.operators[2].vector_ops == 4 + 4 * 4 + 4


def test_a_value_read_only_in_nested_bodies_is_captured_by_all():
    graph = load_onnx(
        model(
            """(float[4] x, bool c) => (y) { h = Relu(x) k = Abs(x) y = If (c) <
            then_branch = t () => (float[4] r) { r = If (c) <
                then_branch = t2 () => (float[4] a) { a = Add(h, x) },
                else_branch = e2 () => (float[4] b) { b = Neg(x) }> },
            else_branch = e () => (float[4] k) { }> }"""
        )
    )
    assert set(names(graph, graph.operators[2].inputs)) == {"c", "h", "x", "k"}


def test_captured_values_are_not_overwritten():
    graph = load_onnx(
        model(
            """(float[4] x, bool c) => (y) { h = Relu(x) z = If (c) <
            then_branch = t () => (float[4] r) { r = Neg(h) },
            else_branch = e () => (float[4] s) { s = Abs(h) }> y = Add(z, h) }"""
        )
    )
    assert names(graph, [option.input for option in graph.operators[2].in_place]) == ["z"]


def test_more_hidden_than_planned_is_a_warning():
    lines = " ".join(f"v{i} = Neg(v{i - 1})" for i in range(1, 20))
    graph = load_onnx(
        model(
            f"""(float[4] x, bool c) => (y) {{ h = Relu(x) y = If (c) <
            then_branch = t () => (float[4] v19) {{ v0 = Neg(h) {lines} }},
            else_branch = e () => (float[4] s) {{ s = Abs(h) }}> }}"""
        )
    )
    assert any("21 of 22 operators are inside control-flow bodies" in note for note in graph.notes)


def test_an_unknown_size_in_a_body_makes_a_lower_bound():
    graph = load_onnx(
        model(
            """(float[4] x, bool c) => (y) { h = Relu(x) y = If (c) <
            then_branch = t () => (float[4] r) { n = my.Op(h) r = my.Op(n) },
            else_branch = e () => (float[4] s) { s = Abs(h) }> }"""
        )
    )
    assert any("own peak is at least 16 bytes" in note for note in graph.notes)


def test_branches_of_different_size_are_refused(monkeypatch):
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)
    made = model(
        """(float[4] x, bool c) => (y) { h = Relu(x) y = If (c) <
        then_branch = t () => (r) { r = Concat<axis = 0>(h, h) },
        else_branch = e () => (s) { s = Abs(h) }> }"""
    )
    for attribute in made.graph.node[1].attribute:
        attribute.g.output[0].ClearField("type")
    with pytest.raises(LoweringError, match=r'If "y"'):
        load_onnx(made)
    assert load_onnx(made, shapes={"y": "8:float32"}).tensors[-2].size_bytes == 32


@pytest.mark.parametrize(("condition", "taken"), [(True, ["Neg", "Exp"]), (False, ["Abs"])])
def test_a_branch_that_is_always_taken_becomes_part_of_the_graph(condition, taken):
    graph = load_onnx(
        model(
            """(float[4] x) => (y) { h = Relu(x) z = If (c) <
            then_branch = t () => (float[4] r) { h2 = Neg(h) r = Exp(h2) },
            else_branch = e () => (float[4] s) { s = Abs(h) }> y = Sqrt(z) }""",
            {"c": np.array(condition)},
        )
    )
    assert [operator.type for operator in graph.operators] == ["Relu", *taken, "Sqrt"]
    assert all(storage.kind is not StorageKind.WORKSPACE for storage in graph.storages)
    if condition:
        assert "z/h2" in [tensor.name for tensor in graph.tensors]


def test_a_condition_computed_from_shapes_is_constant():
    graph = load_onnx(
        model(
            """(float[4, 3] x) => (y) { s = Shape(x) n = Gather(s, one) c = Equal(n, three)
            y = If (c) < then_branch = t () => (float[4, 3] r) { r = Neg(x) },
            else_branch = e () => (float[4, 3] q) { q = Relu(x) }> }""",
            {"one": np.array(1), "three": np.array(3)},
        )
    )
    assert [operator.type for operator in graph.operators] == ["Neg"]


def test_a_taken_branch_keeps_its_own_constants_apart():
    made = model(
        """(float[4] x) => (z) { h = Add(x, w) y = If (c) <
        then_branch = t () => (float[4] r) { u = Add(h, w2) r = Identity(u) },
        else_branch = e () => (float[4] s) { s = Relu(x) }>
        z = If (c) <
        then_branch = t () => (float[4] w2) { },
        else_branch = e () => (float[4] s) { s = Relu(y) }> }""",
        {"c": np.array(True), "w": np.ones(4)},
    )
    inner = numpy_helper.from_array(np.full(4, 2, np.float32), "w2")
    for node in made.graph.node[1:]:
        node.attribute[0].g.initializer.append(inner)
    graph = load_onnx(made)
    assert [operator.type for operator in graph.operators] == ["Add", "Add", "Identity", "Identity"]
    constants = [t.name for t in graph.tensors if graph.storages[t.storage].kind == "constant"]
    assert constants == ["w", "y/w2", "z/w2"]


LOOP = """
    m = Constant<value_int = 5>()
    z, scanned = Loop (m, go, x) <body = b (int64 i, bool cond, float[4] state)
        => (bool cond_out, float[4] next, float[4] out) {
            cond_out = Identity(cond) next = Add(state, k) out = Neg(next) }>"""


def test_a_loop_counts_its_body_once_for_memory_and_every_turn_for_work():
    body = f"(float[4] x) => (z, scanned) {{ k = Relu(x) {LOOP} }}"
    made = model(body, {"go": np.array(True)})
    graph = load_onnx(made)
    loop = graph.operators[1]
    assert loop.type == "Loop"
    assert names(graph, loop.inputs) == ["m", "go", "x", "k"]
    types = {tensor.name: tensor.shape for tensor in graph.tensors}
    assert types["z"] == (4,)
    assert types["scanned"] == (5, 4)
    # Two of state, next and out at once, beside the condition.
    assert types["z (workspace)"] == (2 * 16 + 1,)
    assert loop.vector_ops == 5 * (1 + 4 + 4)


def test_a_loop_that_may_stop_early_is_not_guessed(monkeypatch):
    monkeypatch.setattr("frontends.onnx.shapes.find_spec", lambda _: None)
    text = LOOP.replace("Identity(cond)", "Not(cond)")
    made = model(f"(float[4] x) => (z, scanned) {{ k = Relu(x) {text} }}", {"go": np.array(True)})
    with pytest.raises(LoweringError, match="scanned"):
        load_onnx(made)
    graph = load_onnx(made, shapes={"scanned": "5x4:float32"})
    assert any("operations are counted once" in note for note in graph.notes)


def test_a_scan_runs_along_its_axis():
    made = model(
        """(float[4] x, float[6, 4] rows) => (z, out) {
        z, out = Scan <num_scan_inputs = 1, body = b (state, row) => (next, total) {
            next = Add(state, row) total = Neg(next) }> (x, rows) }"""
    )
    for attribute in made.graph.node[0].attribute:
        if attribute.name == "body":
            for value in (*attribute.g.input, *attribute.g.output):
                value.ClearField("type")
    graph = load_onnx(made)
    types = {tensor.name: tensor.shape for tensor in graph.tensors}
    assert types["out"] == (6, 4)
    assert types["z (workspace)"] == (3 * 16,)
    assert graph.operators[0].vector_ops == 6 * 8


def test_bodies_with_random_operators_are_not_recomputable():
    graph = load_onnx(
        model(
            """(float[4] x, bool c) => (y) { y = If (c) <
            then_branch = t () => (float[4] r) { r = RandomNormalLike(x) },
            else_branch = e () => (float[4] s) { s = Abs(x) }> }"""
        )
    )
    assert not graph.operators[0].recomputable


def test_broken_bodies_are_refused():
    for branch, words in [
        ("{ r = Add(q, x) }", 'reads "q"'),
        ("{ a = Neg(x) a = Neg(x) r = Neg(a) }", 'of If "y" is written twice|written twice'),
        ("{ a = Neg(b) b = Neg(a) r = Neg(b) }", "cycle"),
    ]:
        made = model(
            f"""(float[4] x, bool c) => (y) {{ y = If (c) <
            then_branch = t () => (float[4] r) {branch},
            else_branch = e () => (float[4] s) {{ s = Abs(x) }}> }}"""
        )
        with pytest.raises(LoweringError, match=words):
            load_onnx(made)


# Functions

ATTENTION = """
<domain: "l", opset_import: ["" : 17, "l" : 1]> outer <axis> (p, q) => (r, p) {
    t = l.inner(p) r0 = Concat<axis : int = @axis>(t, q) r = Neg(r0) }
<domain: "l", opset_import: ["" : 17]> inner (a) => (b) {
    m = Relu(a) b = Exp(m) }"""


def test_functions_are_inlined_with_the_call_path_as_prefix():
    made = model(
        "(float[2, 3] x) => (y) { first, same = l.outer<axis = 0>(x, x)"
        " second, unused = l.outer<axis = 1>(first, same2) same2 = Identity(first)"
        " y = Neg(second) }",
        functions=ATTENTION,
    )
    made.graph.node[0].name = "block1"
    for function in made.functions:
        for node in function.node:
            node.name = node.output[0]
    graph = load_onnx(made)
    kinds = [operator.type for operator in graph.operators]
    assert kinds.count("Concat") == kinds.count("Exp") == 2
    assert "block1/t/b" in [operator.name for operator in graph.operators]
    types = {tensor.name: tensor.shape for tensor in graph.tensors}
    assert types["first"] == (4, 3)
    assert types["second"] == (4, 6)
    assert types["block1/t/m"] == (2, 3)


def test_functions_inside_bodies_are_inlined():
    graph = load_onnx(
        model(
            """(float[4] x, bool c) => (y) { y = If (c) <
            then_branch = t () => (float[4] r) { r = l.inner(x) },
            else_branch = e () => (float[4] s) { s = Abs(x) }> }""",
            functions=ATTENTION,
        )
    )
    assert any("3 operators inside" in note for note in graph.notes)


def test_captures_inside_a_function_are_renamed():
    function = """<domain: "l", opset_import: ["" : 17]> f (p, c) => (r) {
        h = Relu(p) r = If (c) <
        then_branch = t () => (float[4] a) { a = Neg(h) },
        else_branch = e () => (float[4] b) { b = Add(h, p) }> }"""
    graph = load_onnx(model("(float[4] x, bool k) => (y) { y = l.f(x, k) }", functions=function))
    assert names(graph, graph.operators[1].inputs) == ["k", "y/h", "x"]


def test_functions_that_call_themselves_are_refused():
    text = """<domain: "l", opset_import: ["" : 17, "l" : 1]> f (p) => (q) { q = l.g(p) }
    <domain: "l", opset_import: ["" : 17, "l" : 1]> g (p) => (q) { q = l.f(p) }"""
    with pytest.raises(LoweringError, match="calls itself"):
        load_onnx(model("(float[2] x) => (y) { y = l.f(x) }", functions=text))


def test_functions_that_unfold_into_billions_of_nodes_are_refused():
    lines = [
        f'<domain: "l", opset_import: ["" : 17, "l" : 1]> f{i} (p) => (q)'
        f" {{ t = l.f{i + 1}(p) q = l.f{i + 1}(t) }}"
        for i in range(40)
    ]
    lines.append('<domain: "l", opset_import: ["" : 17]> f40 (p) => (q) { q = Relu(p) }')
    with pytest.raises(LoweringError, match=f"{1 << 40:,} nodes, more than {MAX_NODES:,}"):
        load_onnx(model("(float[2] x) => (y) { y = l.f0(x) }", functions="\n".join(lines)))


def test_two_functions_of_one_name_are_refused():
    one = '<domain: "l", opset_import: ["" : 17]> f (p) => (q) { q = Relu(p) }'
    with pytest.raises(LoweringError, match='of domain "l" have the name "f"'):
        load_onnx(model("(float[2] x) => (y) { y = l.f(x) }", functions=f"{one}\n{one}"))


def test_call_paths_are_bounded_and_keep_both_ends():
    depth, long = 100, "n" * 1000
    lines = [
        f'<domain: "l", opset_import: ["" : 17, "l" : 1]> f{i} (p) => (q)'
        f" {{ {long} = l.f{i + 1}(p) q = Relu({long}) }}"
        for i in range(depth)
    ]
    lines.append(f'<domain: "l", opset_import: ["" : 17]> f{depth} (p) => (q) {{ q = Relu(p) }}')
    graph = load_onnx(
        model("(float[2] x) => (first) { first = l.f0(x) }", functions="\n".join(lines))
    )
    assert len(graph.operators) == depth + 1
    inner = [tensor.name for tensor in graph.tensors if tensor.name not in ("x", "first")]
    assert len(set(inner)) == depth
    # A number in front of the last name keeps equal paths apart.
    assert max(map(len, inner)) <= MAX_PATH + len(f"/{long}~{depth}")
    assert all(name.startswith("first/n") for name in inner)


@pytest.mark.parametrize(
    "function",
    [
        "f (p) => (q) { LONG = Relu(p) q = Relu(LONG) }",
        "f (p) => (q) { q = Sum(p, p, p, p, p, p, p, p, p, p) }",
        "f <LONG> (p) => (q) { q = Concat<axis : int = @LONG>(p, p) }",
    ],
    ids=["inner name", "operand", "attribute"],
)
def test_functions_that_unfold_into_gigabytes_are_refused(monkeypatch, function):
    monkeypatch.setattr("frontends.onnx.inlining.MAX_UNFOLDED_BYTES", 50_000)
    long = "n" * 1000
    calls = " ".join(f"y{i} = l.f({long})" for i in range(50))
    text = f'<domain: "l", opset_import: ["" : 17]> {function.replace("LONG", long)}'
    made = model(f"(float[2] x) => (y0) {{ {long} = Relu(x) {calls} }}", functions=text)
    with pytest.raises(LoweringError, match="unfold into more than 50,000 bytes"):
        load_onnx(made)


def test_many_values_of_one_name_get_numbers_in_linear_time():
    names = Names(["a", "a~3"])
    assert [names.fresh("a") for _ in range(3)] == ["a~2", "a~4", "a~5"]
    assert len({names.fresh("a") for _ in range(100_000)}) == 100_000


def test_the_model_given_is_not_changed_by_inlining():
    made = model("(float[2, 3] x) => (y) { y = l.inner(x) }", functions=ATTENTION)
    before = onnx.ModelProto()
    before.CopyFrom(made)
    load_onnx(made)
    assert made == before
