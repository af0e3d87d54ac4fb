"""Every overwrite that the frontend offers, done by ONNX Runtime: the same bytes as without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from onnx import TensorProto

from frontends.onnx import in_place
from frontends.onnx.dtypes import TensorType
from frontends.onnx.nodes import read_node

from .one_node_runs import TYPES, Operand, Session, drawn, kernel_versions, one_node, opsets
from .operator_cases import CASES, Case, valid_operands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from onnx import NodeProto

FUNCTIONS = {"CastLike", "HardSwish", "Mish", "Swish"}
"""Types without a CPU kernel in any release so far: ONNX Runtime runs the nodes they stand for."""

LISTED = {
    *in_place._UNARY,
    *in_place._BINARY,
    *in_place._VARIADIC,
    *in_place._SCATTERS,
    *("BatchNormalization", "Cast", "CastLike", "Where"),
    *(f"com.microsoft.{kind}" for kind in in_place._MICROSOFT),
}


class Verdict(NamedTuple):
    """How many runs in place there were, and those that gave other bytes."""

    runs: int
    differing: list[str]


def offered(node: NodeProto, case: Case, opset: int) -> Sequence[int]:
    """Positions that the frontend offers."""
    operands = [
        TensorType(shape, TYPES[kind][0]) if kind else None
        for kind, shape in zip(case.types, case.shapes, strict=True)
    ]
    result = TensorType(case.shape, TYPES[case.result][0])
    read = read_node(node, {"": opset, "com.microsoft": 1})
    return in_place.overwritable_operands(read, operands, result)


def verdict(
    kind: str,
    cases: Iterable[Case],
    choose: Callable[[NodeProto, Case, int], Sequence[int]] = offered,
) -> Verdict:
    """Run cases of an operator type at all its opsets, in place and not, and compare the bytes."""
    domain, _, op_type = kind.rpartition(".")
    sessions: dict[Any, Session | None] = {}
    versions = opsets(op_type, domain)
    runs, differing = 0, []
    for case in cases:
        node = one_node(op_type, domain, case.names, case.attributes)
        operands = _operands(op_type, case)
        for opset in versions:
            positions = choose(node, case, opset)
            key = (opset, *case.names, *case.types, case.result, *case.attributes.items())
            if positions and key not in sessions:
                sessions[key] = _session(node, case, opset)
            session = sessions.get(key)
            if not positions or session is None:
                continue
            try:
                apart = session.run(operands, case.shape, None)
            except Exception:  # a version that does not broadcast, or not from both sides
                continue
            for position in positions:
                runs += 1
                if session.run(operands, case.shape, case.names[position]) != apart:
                    differing.append(f"{kind}-{opset} {case}: over operand {position}")
    return Verdict(runs, differing)


def _operands(op_type: str, case: Case) -> dict[str, Operand]:
    values = [
        drawn(f"{name} {type_} {shape}", type_, shape) if name else drawn("", "bool", ())
        for name, type_, shape in zip(case.names, case.types, case.shapes, strict=True)
    ]
    values = valid_operands(op_type, case, values)
    named = zip(case.names, values, case.shapes, strict=True)
    return {name: Operand(value, shape) for name, value, shape in named if name}


def _session(node: NodeProto, case: Case, opset: int) -> Session | None:
    """None where the operator or ONNX Runtime does not take these types at this version."""
    operands = {name: kind for name, kind in zip(case.names, case.types, strict=True) if name}
    try:
        return Session(node, operands, case.result, opset)
    except Exception:  # ONNX Runtime raises its own, unrelated kinds
        return None


def test_there_are_cases_for_every_type_in_the_lists():
    assert set(CASES) == LISTED


@pytest.mark.parametrize("kind", sorted(LISTED))
def test_results_written_over_operands_have_the_same_bytes(kind):
    found = verdict(kind, list(CASES[kind]()))
    domain, _, op_type = kind.rpartition(".")
    if not found.runs and not kernel_versions(op_type, domain) and kind in FUNCTIONS:
        pytest.skip(f"this ONNX Runtime can run no {kind}")
    assert found.runs >= 16
    assert not found.differing


def test_types_without_a_kernel_are_known():
    without = {kind for kind in LISTED if not kernel_versions(*kind.rpartition(".")[::-2])}
    assert without <= FUNCTIONS


# The comparison sees what kernels do that cannot work in place.


def whole(kind: str, operands: int, shape: tuple[int, ...], **attributes: Any) -> Case:
    return Case((kind,) * operands, (shape,) * operands, kind, shape, attributes)


@pytest.mark.parametrize(
    ("kind", "case", "position"),
    [
        ("Max", whole("float", 2, (33,)), 1),
        ("Min", whole("float", 3, (3, 5, 7)), 1),
        ("Gelu", whole("float", 1, (33,), approximate="tanh"), 0),
        ("LogSoftmax", whole("double", 1, (2, 33)), 0),
        ("Hardmax", whole("float", 1, (2, 33)), 0),
        ("com.microsoft.QuickGelu", whole("float", 1, (33,)), 0),
        ("com.microsoft.FastGelu", whole("float", 1, (33,)), 0),
        ("ScatterElements", Case(("float", "int64", "float"), ((3, 5),) * 3, "float", (3, 5)), 2),
    ],
)
def test_kernels_that_read_late_are_seen_and_not_offered(kind, case, position):
    assert verdict(kind, [case], lambda *_: [position]).differing
    assert not verdict(kind, [case], lambda *given: set(offered(*given)) & {position}).differing


def test_an_operand_that_is_read_again_is_not_offered():
    for kind in ("Sum", "Max", "Mean", "Min"):
        repeated = whole("float", 3, (7,))._replace(same=(0, 2))
        node = one_node(kind, "", repeated.names, {})
        assert offered(node, repeated, 13) == [1]
    scattered = Case(("float", "int64", "float"), ((3, 5),) * 3, "float", (3, 5), {}, (0, 2))
    assert offered(one_node("ScatterElements", "", scattered.names, {}), scattered, 18) == []
    added = whole("float", 2, (7,))._replace(same=(0, 1))
    assert offered(one_node("Add", "", added.names, {}), added, 13) == [0, 1]


def test_elements_that_share_a_byte_are_not_offered():
    packed = TensorType((8,), TensorProto.INT4)
    for kind in ("Cast", "Identity", "Relu"):
        read = read_node(one_node(kind, "", ["x"], {}), {"": 21})
        assert in_place.overwritable_operands(read, [packed], packed) == []
