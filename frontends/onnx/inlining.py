"""Replace calls by what they call: model-local functions, and `If` with a constant condition.

Values inside get the call's name as a prefix (``layer1/attention/scores``), so reports can group
by module; results keep the names the caller gave them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto, NodeProto, helper

from frontends.onnx.nodes import (
    MAX_NODES,
    STANDARD_DOMAINS,
    graph_values,
    node_bodies,
    read_node,
)
from planner.errors import LoweringError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import FunctionProto, GraphProto, ModelProto

    from frontends.onnx.nodes import Node

    Key = tuple[str, str, str]

MAX_UNFOLDED_BYTES = 1 << 28
"""Calls that unfold into more than this are refused before they fill the memory."""

MAX_PATH = 200
"""Characters of a call path before names inside it; the middle of a longer one is left out."""


class Names:
    """Hands out value names that nothing else in the model has, and bounds what they cost."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}
        self._bytes_left = MAX_UNFOLDED_BYTES

    def fresh(self, name: str) -> str:
        """The name itself, or with a number where it is taken."""
        candidate, number = name, self._numbers.get(name, 1)
        while candidate in self._taken:
            number += 1
            candidate = f"{name}~{number}"
        self._taken.add(candidate)
        self._numbers[name] = number
        return candidate

    def spend(self, size_bytes: int) -> None:
        """Count what a copy of a node takes.

        Raises
        ------
        LoweringError
            If all copies together take more than `MAX_UNFOLDED_BYTES`.
        """
        self._bytes_left -= size_bytes
        if self._bytes_left < 0:
            raise LoweringError(
                "the calls of model-local functions, and the branches of If with a constant "
                f"condition, unfold into more than {MAX_UNFOLDED_BYTES:,} bytes. Refused."
            )


def operator_versions(model: ModelProto | FunctionProto) -> dict[str, int]:
    """Imported operator-set versions by domain, the standard one as ``""``."""
    return {
        "" if entry.domain in STANDARD_DOMAINS else entry.domain: entry.version
        for entry in model.opset_import
    }


def inline_functions(model: ModelProto) -> list[Node]:
    """The nodes of the model's graph with all calls of model-local functions replaced.

    Raises
    ------
    LoweringError
        If two functions have one name, a function calls itself, or the calls unfold into more
        than `MAX_NODES` nodes or `MAX_UNFOLDED_BYTES`.
    """
    versions = operator_versions(model)
    functions: dict[Key, FunctionProto] = {}
    for function in model.functions:
        key = _domain(function.domain), function.name, function.overload
        if key in functions:
            raise LoweringError(
                f'two model-local functions of domain "{key[0]}" have the name "{key[1]}".'
            )
        functions[key] = function
    if not functions:
        return [read_node(proto, versions) for proto in model.graph.node]
    _check_size(model.graph.node, functions)
    names = Names(graph_values(model.graph))
    result: list[Node] = []
    pending = [(proto, versions) for proto in reversed(model.graph.node)]
    while pending:
        proto, versions = pending.pop()
        function = functions.get(_key(proto))
        if function is None:
            if next(node_bodies(proto), None) is not None:
                proto = _inline_in_bodies(proto, functions, names)
            result.append(read_node(proto, versions))
        else:
            inner_versions = {**versions, **operator_versions(function)}
            body = _call(proto, function, names)
            pending.extend((node, inner_versions) for node in reversed(body))
    return result


def branch_nodes(
    node: Node, branch: GraphProto, protos: Sequence[NodeProto], names: Names
) -> tuple[list[Node], dict[str, str]]:
    """The body of a taken `If` branch as nodes of the graph around it.

    Parameters
    ----------
    protos : sequence of NodeProto
        The branch's nodes in topological order.

    Returns
    -------
    list of Node
        With inner values renamed, and an `Identity` for a result that no node inside computes.
    dict of str to str
        New name of every value the branch defines.
    """
    results = list(zip((value.name for value in branch.output), node.outputs, strict=False))
    rename, copies = _rename_results(branch.node, results)
    prefix = _path(node.name or next(iter(node.results), node.type))
    for name in sorted(graph_values(branch)):
        if name and name not in rename:
            rename[name] = names.fresh(f"{prefix}/{name}")
    taken = [_instantiate(proto, prefix, rename, None, names) for proto in protos]
    taken += [
        helper.make_node("Identity", [rename.get(source, source)], [target], f"{prefix}/{target}")
        for source, target in copies
    ]
    return [read_node(proto, node.versions) for proto in taken], rename


def _domain(domain: str) -> str:
    return "" if domain in STANDARD_DOMAINS else domain


def _path(name: str) -> str:
    """A call's name as a prefix: nested calls with long names would add up without a bound."""
    if len(name) <= MAX_PATH:
        return name
    kept = (MAX_PATH - 3) // 2
    return f"{name[:kept]}...{name[-kept:]}"


def _key(proto: NodeProto) -> Key:
    return _domain(proto.domain), proto.op_type, proto.overload


def _inline_in_bodies(
    proto: NodeProto, functions: Mapping[Key, FunctionProto], names: Names
) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(proto)
    for _, body in node_bodies(copy):
        pending, flat = list(reversed(body.node)), []
        while pending:
            inner = pending.pop()
            function = functions.get(_key(inner))
            if function is None:
                flat.append(_inline_in_bodies(inner, functions, names))
            else:
                pending.extend(reversed(_call(inner, function, names)))
        del body.node[:]
        body.node.extend(flat)
    return copy


def _call(proto: NodeProto, function: FunctionProto, names: Names) -> list[NodeProto]:
    """The function's body with operands, results and attributes of one call put in."""
    results = list(zip(function.output, proto.output, strict=False))
    rename, copies = _rename_results(function.node, results)
    actual = list(proto.input) + [""] * len(function.input)
    rename.update(zip(function.input, actual, strict=False))
    prefix = _path(proto.name or next(filter(None, proto.output), proto.op_type))
    for node in function.node:
        for name in node.output:
            if name and name not in rename:
                rename[name] = names.fresh(f"{prefix}/{name}")
    attributes = {attribute.name: attribute for attribute in function.attribute_proto}
    attributes.update((attribute.name, attribute) for attribute in proto.attribute)
    body = [_instantiate(node, prefix, rename, attributes, names) for node in function.node]
    body += [
        helper.make_node("Identity", [rename.get(source, source)], [target], f"{prefix}/{target}")
        for source, target in copies
    ]
    return body


def _rename_results(
    nodes: Sequence[NodeProto], results: Sequence[tuple[str, str]]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Give computed results the caller's names; the rest must be copied, as (from, to) pairs."""
    computed = {name for node in nodes for name in node.output}
    rename: dict[str, str] = {}
    copies: list[tuple[str, str]] = []
    for inner, outer in results:
        if not outer:
            continue
        if inner in computed and inner not in rename:
            rename[inner] = outer
        else:
            copies.append((inner, outer))
    return rename, copies


def _instantiate(
    proto: NodeProto,
    prefix: str,
    rename: Mapping[str, str],
    attributes: Mapping[str, AttributeProto] | None,
    names: Names,
) -> NodeProto:
    """A copy of a node with values renamed and references to the call's attributes resolved."""
    names.spend(proto.ByteSize())
    copy = NodeProto()
    copy.CopyFrom(proto)
    if copy.name:
        copy.name = f"{prefix}/{copy.name}"
    copy.input[:] = _renamed(proto.input, rename, names)
    copy.output[:] = _renamed(proto.output, rename, names)
    if attributes is not None:
        _resolve_references(copy, attributes, names)
    for _, body in node_bodies(copy):
        _rename_captured(body, rename, attributes, names)
    return copy


def _renamed(old: Iterable[str], rename: Mapping[str, str], names: Names) -> list[str]:
    """New names for old ones, counted before they are copied into the node."""
    new = [rename.get(name, name) for name in old]
    names.spend(sum(map(len, new)))
    return new


def _rename_captured(
    graph: GraphProto,
    rename: Mapping[str, str],
    attributes: Mapping[str, AttributeProto] | None,
    names: Names,
) -> None:
    shadowed = graph_values(graph) & rename.keys()
    if shadowed:
        rename = {old: new for old, new in rename.items() if old not in shadowed}
    for node in graph.node:
        node.input[:] = _renamed(node.input, rename, names)
        if attributes is not None:
            _resolve_references(node, attributes, names)
        for _, body in node_bodies(node):
            _rename_captured(body, rename, attributes, names)
    for value in graph.output:
        value.name = rename.get(value.name, value.name)


def _resolve_references(
    node: NodeProto, attributes: Mapping[str, AttributeProto], names: Names
) -> None:
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return
    resolved: list[AttributeProto] = []
    for attribute in node.attribute:
        actual = attributes.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        if actual is not None:  # else the call leaves the attribute at its operator's default
            names.spend(actual.ByteSize())
            copy = AttributeProto()
            copy.CopyFrom(actual)
            copy.name = attribute.name
            resolved.append(copy)
    del node.attribute[:]
    node.attribute.extend(resolved)


def _check_size(nodes: Sequence[NodeProto], functions: Mapping[Key, FunctionProto]) -> None:
    """Count what the calls unfold into, each function once, callees first."""
    called: dict[Key, list[Key]] = {}
    own: dict[Key, int] = {}
    for key, function in functions.items():
        own[key], called[key] = _calls(function.node, functions)
    sizes: dict[Key, int] = {}
    for start in functions:
        path: dict[Key, None] = {}
        stack = [start]
        while stack:
            key = stack[-1]
            if key in sizes:
                stack.pop()
                continue
            path[key] = None
            missing = [callee for callee in called[key] if callee not in sizes]
            if any(callee in path for callee in missing):
                raise LoweringError(f'the model-local function "{key[1]}" calls itself. Refused.')
            if missing:
                stack.append(missing[0])
                continue
            sizes[key] = own[key] + sum(sizes[callee] for callee in called[key])
            del path[key]
            stack.pop()
    count, calls = _calls(nodes, functions)
    total = count + sum(sizes[callee] for callee in calls)
    if total > MAX_NODES:
        raise LoweringError(
            f"the model-local functions unfold into {total:,} nodes, more than {MAX_NODES:,}. "
            "Refused."
        )


def _calls(
    nodes: Sequence[NodeProto], functions: Mapping[Key, FunctionProto]
) -> tuple[int, list[Key]]:
    """Number of plain nodes, and the functions called, once per call; bodies included."""
    count, calls = 0, []
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if (key := _key(node)) in functions:
            calls.append(key)
        else:
            count += 1
        for _, body in node_bodies(node):
            pending.extend(body.node)
    return count, calls
