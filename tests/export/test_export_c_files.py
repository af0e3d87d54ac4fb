"""What is in the two files, and which plans are refused."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import planner
from planner.errors import BadFileError, InvalidPlanError
from planner.export.c import c_files, load_planned_calls, write_c
from planner.plans import ByteRange, Placement
from planner.testing import naive_plan, random_graph

from .c_compiler import STRICT, compiler
from .pattern_runs import calls_of
from .test_export_c_text import HOSTILE


def value(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model(nodes: list[onnx.NodeProto], **more: object) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        more.get("inputs", [value("x", 2, 3)]),  # type: ignore[arg-type]
        more.get("outputs", [value("y", 2, 3)]),  # type: ignore[arg-type]
        more.get("weights", []),  # type: ignore[arg-type]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def exported(proto: onnx.ModelProto, **options: object) -> tuple[str, str, str]:
    plan = planner.plan(proto, time_limit=5, **options).plan  # type: ignore[arg-type]
    files = c_files(load_planned_calls(proto, plan), plan, "net")
    return files.header, files.source, files.note


def compile_only(folder: Path, header: str, source: str) -> None:
    (folder / "net.h").write_text(header)
    (folder / "net.c").write_text(source)
    command = [compiler(), *STRICT, "-c", "net.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[:3000]


def test_attributes_of_every_kind_are_in_the_descriptors() -> None:
    node = helper.make_node(
        "Thing", ["x"], ["y"], name="n", domain="acme", axis=-1, pads=[1, 1 << 40],
        alpha=0.5, scales=[1.5, 2.0], mode="linear", names=["a", "b"],
        body=helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]),
    )  # fmt: skip
    proto = model([node])
    proto.opset_import.append(helper.make_opsetid("acme", 3))
    _, source, note = exported(proto)
    assert "static const int64_t net_integers[] = {\n    -1, 1, 1099511627776ll,\n};" in source
    assert "static const float net_reals[] = {\n    0.5f, 1.5f, 2.0f,\n};" in source
    assert 'net_texts[] = {\n    "linear", "a", "b",\n};' in source
    for row in (
        '{"axis", 1u, &net_integers[0], NULL, NULL}',
        '{"pads", 2u, &net_integers[1], NULL, NULL}',
        '{"scales", 2u, NULL, &net_reals[1], NULL}',
        '{"names", 2u, NULL, NULL, &net_texts[1]}',
    ):
        assert row in source
    assert '{"n", "acme.Thing", 3u, 0u, 1u, 1u,' in source
    assert note == "Attributes without a place in C are left out: acme.Thing.body."


def test_operands_keep_their_positions() -> None:
    """Clip without a minimum: the maximum stays the third operand."""
    limit = helper.make_tensor("most", TensorProto.FLOAT, [], [6.0])
    _, source, _ = exported(
        model([helper.make_node("Clip", ["x", "", "most"], ["y"])], weights=[limit])
    )
    assert "{NET_NOWHERE, 0u}, /* input 1, omitted */" in source
    assert "{NET_CONSTANT, 0u}, /* input 2, most: scalar float32, 4 bytes */" in source


def test_views_are_no_calls() -> None:
    header, source, _ = exported(
        model(
            [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Flatten", ["r"], ["y"])],
            outputs=[value("y", 2, 3)],
        )
    )
    assert "1 operator calls, 1 views without a call, 0 copies, 0 moves" in header
    assert "Flatten" not in source


def test_a_model_of_views_alone_compiles(tmp_path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    header, source, _ = exported(
        model(
            [helper.make_node("Identity", ["x"], ["unread"])],
            outputs=[value("w", 3)],
            weights=[weight],
        )
    )
    assert "_op_" not in header and "NET_OUTPUT_W, " in header
    compile_only(tmp_path, header, source)


def test_constants_that_nobody_stores_are_named() -> None:
    """Exp is not evaluated while a model is read."""
    nodes = [
        helper.make_node("Exp", ["w"], ["e"]),
        helper.make_node("Add", ["x", "e"], ["y"]),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    header, _, note = exported(model(nodes, weights=[weight]))
    assert "NET_CONSTANT_E, /* e: 3 float32, 12 bytes, computed from others */" in header
    assert note == (
        "Constants that the model computes from others have to be computed once by you: e."
    )


def test_small_constants_of_nodes_are_brought_along(tmp_path: Path) -> None:
    def constant(name: str, kind: int, *numbers: float) -> onnx.NodeProto:
        tensor = helper.make_tensor("t", kind, [len(numbers)], numbers)
        return helper.make_node("Constant", [], [name], value=tensor)

    nodes = [
        constant("starts", TensorProto.INT64, -(1 << 63)),
        constant("ends", TensorProto.INT64, (1 << 63) - 1),
        constant("shift", TensorProto.FLOAT, 0.1, float("inf"), float("nan")),
        helper.make_node("Slice", ["x", "starts", "ends"], ["s"]),
        helper.make_node("Add", ["s", "shift"], ["y"]),
    ]
    header, source, note = exported(model(nodes))
    assert "net_value_0[] = {\n    -9223372036854775807ll - 1,\n};" in source
    assert "net_value_1[] = {\n    9223372036854775807ll,\n};" in source
    assert "net_value_2[] = {\n    0.1f, 1.0f / 0.0f, 0.0f / 0.0f,\n};" in source
    assert "enum {\n    NET_CONSTANT_COUNT\n};" in header
    assert "{NET_VALUE, 2u}, /* input 1, shift: 3 float32, 12 bytes */" in source
    assert not note
    compile_only(tmp_path, header, source)


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    """As names of tensors, nodes, operators, attributes, models, targets and memories."""
    names = [name for name in dict.fromkeys(HOSTILE) if name.encode("utf-8", "ignore")]
    values = ["x", *(f"{name} {at}" for at, name in enumerate(names)), "y"]
    nodes = [
        helper.make_node(f"Op{name}", [before, f"w{name}"], [after], name=name, text=name)
        for name, before, after in zip([*names, "last"], values[:-1], values[1:], strict=True)
    ]
    for node, name in zip(nodes, names, strict=False):
        node.domain = "acme"
        attribute = node.attribute.add()
        attribute.name, attribute.type, attribute.i = name, onnx.AttributeProto.INT, 1
    nodes[-1].domain = "acme"
    weights = [helper.make_tensor(f"w{name}", TensorProto.FLOAT, [1], [1.0]) for name in names]
    weights.append(helper.make_tensor("wlast", TensorProto.FLOAT, [1], [1.0]))
    proto = model(nodes, weights=weights)
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    proto.graph.name = HOSTILE[0]
    shapes = dict.fromkeys(values[1:-1], "2x3:float32")
    npu = planner.read_target("npu-1m")
    near, far = "*/ near", "*/ far \\"
    rename = {"sram": near, "dram": far}
    target = replace(
        npu,
        name=HOSTILE[0],
        memories=tuple(replace(memory, name=rename[memory.name]) for memory in npu.memories),
        links=tuple(
            replace(link, source=rename[link.source], destination=rename[link.destination])
            for link in npu.links
        ),
        io_memory=far,
        constant_memory=far,
    )
    plan = planner.plan(proto, target=target, shapes=shapes, time_limit=5).plan
    files = c_files(load_planned_calls(proto, plan), plan, "net")
    (tmp_path / "user.c").write_text('#include "net.h"\n')
    compile_only(tmp_path, files.header, files.source)
    comments = re.findall(r"/\*.*?\*/", files.source, re.DOTALL)
    assert len(comments) > len(names)
    assert "int main(void) {" not in re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', "", files.source)


def test_the_same_plan_gives_the_same_bytes() -> None:
    graph, target = random_graph(11, 9), planner.read_target("npu-1m")
    first, second = (
        c_files(calls_of(graph), naive_plan(graph, target, 4), "net") for _ in range(2)
    )
    assert first == second


def test_the_files_of_a_small_model_are_as_stored() -> None:
    """A change of the output has to be meant: PLANNER_UPDATE=1 writes the stored files anew."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Add", ["c", "r"], ["y"], name="add"),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 1, 3, 3], [0.5] * 18)
    proto = model(nodes, inputs=[value("x", 1, 1, 4, 4)], outputs=[value("y", 1, 2, 4, 4)],
                  weights=[weight])  # fmt: skip
    stored = Path(__file__).with_name("small.plan.json")
    if os.environ.get("PLANNER_UPDATE"):
        planner.write_plan(planner.plan(proto, target="npu-1m", solvers=["greedy"]).plan, stored)
    plan = planner.read_plan(stored)
    files = c_files(load_planned_calls(proto, plan), plan, "small")
    for suffix, text in (("h", files.header), ("c", files.source)):
        without_version = text.replace(f"planner {planner.__version__}:", "planner:")
        stored = stored.with_name(f"small.{suffix}")
        if os.environ.get("PLANNER_UPDATE"):
            stored.write_text(without_version)
        assert without_version == stored.read_text()


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_plan_is_refused(tmp_path: Path, seed: int) -> None:
    """An offset moved onto a neighbour, a lifetime cut, a copy dropped, an order turned round."""
    target = planner.read_target("npu-1m")
    graph = random_graph(seed, 8)
    plan = naive_plan(graph, target, seed)
    placements = list(plan.placements)
    at = seed % len(placements)
    held = placements[at]
    damages = [
        replace(plan, order=tuple(reversed(plan.order))),
        replace(plan, transfers=plan.transfers[:-1]),
        replace(plan, placements=tuple(p for p in placements if p is not held)),
        replace(plan, placements=(*placements[:at], held._replace(offset=held.offset + 1),
                                  *placements[at + 1:])),
        replace(plan, placements=(*placements, Placement(0, "nowhere", 0, 0, 1))),
        replace(plan, placements=(*placements[:at], held._replace(part=ByteRange(0, 1)),
                                  *placements[at + 1:])),
    ]  # fmt: skip
    for damaged in damages:
        with pytest.raises(InvalidPlanError, match="not legal, so nothing was written"):
            write_c(calls_of(graph), damaged, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_plan_of_another_model_is_refused() -> None:
    one = model([helper.make_node("Relu", ["x"], ["y"])])
    other = model([helper.make_node("Sigmoid", ["x"], ["y"])])
    plan = planner.plan(one, time_limit=5).plan
    with pytest.raises(InvalidPlanError):
        c_files(load_planned_calls(other, plan), plan)


def test_both_files_are_written_or_none(tmp_path: Path) -> None:
    graph = random_graph(1)
    plan = naive_plan(graph, planner.read_target("host"), 1)
    (tmp_path / "net.c").mkdir()
    with pytest.raises(BadFileError, match=r"net\.c is a directory"):
        write_c(calls_of(graph), plan, tmp_path / "net")
    assert [path.name for path in tmp_path.iterdir()] == ["net.c"]


def test_files_are_named_after_the_path_or_the_model(tmp_path: Path) -> None:
    graph = random_graph(1)
    plan = naive_plan(graph, planner.read_target("host"), 1)
    write_c(calls_of(graph), plan, tmp_path / "My-Net.c")
    write_c(calls_of(graph), plan, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"my_net.h", "my_net.c", "random.h", "random.c"}
    assert '#include "my_net.h"' in (tmp_path / "my_net.c").read_text()
