"""From a file or a model in memory to a `Graph`, with everything the report must say about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from onnx import ModelProto

from frontends.onnx.blocks import Block, Walk
from frontends.onnx.dims import bind_dims, did_you_mean, parse_shapes
from frontends.onnx.dtypes import element_name
from frontends.onnx.external import check_external_data
from frontends.onnx.inference import inference_message
from frontends.onnx.inlining import Names, inline_functions
from frontends.onnx.load import load_model
from frontends.onnx.lower import BlockLowering, no_number_message
from frontends.onnx.nodes import check_structure
from frontends.onnx.order import sorted_nodes
from frontends.onnx.scope import Scope
from frontends.onnx.shapes import (
    add_declared,
    bare_model,
    infer_symbolically,
)
from frontends.onnx.storages import first_result
from planner.errors import LoweringError, UsageError
from planner.graph import Graph, ModelReference, StorageKind

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Mapping, Sequence

    from onnx import ValueInfoProto

    from frontends.onnx.dims import Bindings
    from frontends.onnx.lower import Lowered
    from frontends.onnx.nodes import Node


def load_onnx(
    source: str | os.PathLike[str] | ModelProto,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, str] | None = None,
    zero_copy: bool | Collection[str] = False,
    alignment_bytes: int = 1,
    on_warning: Callable[[str], None] | None = None,
) -> Graph:
    """Lower an ONNX model to a tensor-lifetime graph.

    Weights and external data are never read, the model is never changed.

    Parameters
    ----------
    source : path or ModelProto
    dims : mapping of str to int
        Sizes of symbolic dimensions, by symbol (``batch``) or by place (``input:0``, which wins).
    shapes : mapping of str to str
        Shapes of tensors that nothing else knows, ``{"t88": "1x77x768:float32"}``.
    zero_copy : bool or collection of str
        Let Split, Slice, Gather and Concat share storage where the layout allows it: all, none, or
        those whose first result has one of the names.
    alignment_bytes : int
        That of the target's nearest memory. Zero copy leaves out an operator with a part that
        would not begin at a multiple of it; nothing else depends on it.
    on_warning : callable taking str
        Told what makes the plan differ from what one might expect. The notes of the graph have it
        too.

    Raises
    ------
    BadFileError
        If the file is missing, damaged, no ONNX model, or refers to data outside its folder.
    UsageError
        If a key of ``dims`` or ``shapes``, or a name of ``zero_copy``, names nothing in the model,
        or the alignment is not positive.
    LoweringError
        If a tensor has no static size or the graph is not well formed.
    """
    model, name, digest, folder = open_source(source)
    return lower_source(
        model, name, digest, folder, dims, shapes, zero_copy, alignment_bytes, on_warning
    ).graph


class Lowering(NamedTuple):
    """A graph, the resolved block that it was made from, and how that became the graph."""

    graph: Graph
    block: Block
    values: BlockLowering


def open_source(
    source: str | os.PathLike[str] | ModelProto,
) -> tuple[ModelProto, str, str, Path | None]:
    """Model, name, digest and folder of a source."""
    if isinstance(source, ModelProto):
        return source, "", "", None
    model, digest = load_model(source)
    return model, Path(source).name, digest, Path(source).parent


def lower_source(
    model: ModelProto,
    name: str,
    digest: str,
    folder: Path | None,
    dims: Mapping[str, int] | None,
    shapes: Mapping[str, str] | None,
    zero_copy: bool | Collection[str],
    alignment_bytes: int,
    on_warning: Callable[[str], None] | None,
) -> Lowering:
    """Lower a model that `open_source` opened; parameters as for `load_onnx`."""
    if alignment_bytes < 1:
        raise UsageError(f"alignment of {alignment_bytes:,} bytes: must be at least 1.")
    check_structure(model, name or "the model")
    check_external_data(model, folder)
    name = name or model.graph.name or "model"
    return _Frontend(model, dict(dims or {}), dict(shapes or {})).lowering(
        name, digest, zero_copy, alignment_bytes, on_warning or (lambda _: None)
    )


class _Frontend:
    """One lowering: the model, what binds its open ends, and the notes gathered on the way."""

    def __init__(self, model: ModelProto, dims: dict[str, int], shapes: dict[str, str]) -> None:
        self.model = model
        self.dims = dims
        self.shapes = shapes
        self.inputs: dict[str, ValueInfoProto] = {}
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def lowering(
        self,
        name: str,
        digest: str,
        zero_copy: bool | Collection[str],
        alignment_bytes: int,
        on_warning: Callable[[str], None],
    ) -> Lowering:
        block, bindings, nodes = self._block(name)
        self._resolve(block, bindings, nodes)
        values = BlockLowering(block)
        if not isinstance(zero_copy, bool):
            require_results(zero_copy, block)
        lowered = values.lowered(zero_copy, alignment_bytes)
        reference = ModelReference(
            name,
            digest,
            tuple(bindings.applied),
            tuple(self.shapes.items()),
            zero_copy if isinstance(zero_copy, bool) else lowered.without_copy,
        )
        if not lowered.operators:
            raise LoweringError(f"{name} has no operators: there is nothing to plan.")
        self._report(lowered, block)
        for warning in self.warnings:
            on_warning(warning)
        return Lowering(lowered.graph(reference, (*self.warnings, *self.notes)), block, values)

    def _block(self, name: str) -> tuple[Block, Bindings, list[Node]]:
        """The top-level graph with what the file and the user say about its values."""
        graph, scope = self.model.graph, Scope()
        overrides = parse_shapes(self.shapes)
        for tensor, type_ in overrides.items():
            scope.add(tensor, type_, "--shape")
        for tensor in graph.initializer:
            scope.add_initializer(tensor)
        for sparse in graph.sparse_initializer:
            scope.add_sparse_initializer(sparse)
        defaults: list[str] = []
        for value in graph.input:
            if value.name in scope.initializers:
                defaults.append(value.name)
            elif value.name in self.inputs:
                raise LoweringError(f'two inputs of {name} have the name "{value.name}".')
            else:
                self.inputs[value.name] = value
        if defaults and self.model.ir_version >= 4:
            self.notes.append(
                f"{_count(len(defaults), 'input')} with a default value "
                f"({_some(defaults)}) treated as constant."
            )
        others = [*graph.value_info, *graph.output]
        bindings = bind_dims(self.inputs.values(), others, self.dims, overrides)
        self.warnings += [
            f'Dimension "{symbol}" is taken to be 1: bind it with --dim {symbol}=N.'
            for symbol in bindings.defaults
        ]
        add_declared(scope, [*graph.input, *others], bindings)
        nodes = inline_functions(self.model)
        outputs = list(dict.fromkeys(value.name for value in graph.output))
        given = {*self.inputs, *scope.initializers}
        nodes, in_order = sorted_nodes(nodes, given, outputs, name)
        if not in_order:
            self.notes.append("The nodes were not in topological order and have been sorted.")
        written = {result for node in nodes for result in node.results}
        for tensor in overrides:
            if tensor not in written and tensor not in given:
                raise UsageError(
                    f"--shape {tensor}={self.shapes[tensor]}: the model has no tensor of that "
                    f"name.{did_you_mean(tensor, [*written, *given])}"
                )
        return Block(name, list(self.inputs), outputs, scope), bindings, nodes

    def _resolve(self, block: Block, bindings: Bindings, nodes: list[Node]) -> None:
        """Run the shape cascade until nothing is unknown, cheapest source first."""
        scope = block.scope
        taken = {name for node in nodes for name in node.results}
        names = Names({*taken, *scope.initializers, *self.inputs})
        walk = Walk(bindings, names)
        walk.resolve(block, nodes)
        unknown = block.unknown_values()
        for name, node in unknown:
            if name in scope.kinds:
                role = f"a result of {node.label}"
                raise LoweringError(no_number_message(name, role, scope.kinds[name]))
        if unknown:
            bare = bare_model(self.model, block.nodes, self.inputs, block.outputs, scope)
            infer_symbolically(bare, scope)
            if any(name in scope.types for name, _ in unknown):
                nodes, block.nodes = block.nodes, []
                block.bodies, block.folded, block.shape_queries = {}, set(), 0
                walk.resolve(block, nodes)
                unknown = block.unknown_values()
        if unknown:
            self._refuse(block, bindings, unknown)
        self.notes += dict.fromkeys(walk.inference.notes)
        if walk.inference.unchecked:
            self.notes.append(
                f"The declared results of {_count(walk.inference.unchecked, 'node')} were not "
                "compared with inference: the model is too large for that."
            )

    def _refuse(
        self, block: Block, bindings: Bindings, unknown: Sequence[tuple[str, Node]]
    ) -> None:
        total = sum(len(node.results) for node in block.nodes) + len(block.inputs)
        name, node = unknown[0]
        shape, open_symbols = _sketch(block.scope, name, bindings)
        if open_symbols:
            remedy = f"Bind with --dim {open_symbols[0]}=N"
        else:
            remedy = f"Bind with --shape {name}={shape}, numbers in place of letters"
        message = inference_message(node, block.scope)
        raise LoweringError(
            f"{len(unknown):,} of {total:,} tensors have no static size: "
            f"{_some([name for name, _ in unknown])}. The first is a result of {node.label}, known "
            f"so far as {shape}. {remedy}." + (f" ONNX says: {message}" if message else "")
        )

    def _report(self, lowered: Lowered, block: Block) -> None:
        for workspace in lowered.workspaces[:8]:
            bound = "at least " if workspace.is_lower_bound else ""
            once = "" if workspace.counts_iterations else " Its operations are counted once."
            self.warnings.append(
                f"{workspace.node.label} is planned as one step: its body's own peak is {bound}"
                f"{workspace.peak_bytes:,} bytes, {_count(workspace.nodes, 'operator')} inside, "
                f"reserved as workspace.{once}"
            )
        if len(lowered.workspaces) > 8:
            more = len(lowered.workspaces) - 8
            self.warnings.append(f"{more:,} more control-flow nodes are planned as one step each.")
        hidden = sum(workspace.nodes for workspace in lowered.workspaces)
        total = hidden + len(lowered.operators) - len(lowered.workspaces)
        hidden_bytes = sum(workspace.peak_bytes for workspace in lowered.workspaces)
        arena_bytes = sum(s.size_bytes for s in lowered.storages if s.kind != StorageKind.CONSTANT)
        if 2 * hidden > total or 2 * hidden_bytes > arena_bytes > 0:
            self.warnings.append(
                f"{hidden:,} of {total:,} operators are inside control-flow bodies, which are not "
                "planned: this plan says little about the model."
            )
        folded = [block.nodes[index] for index in sorted(block.folded)]
        if folded:
            results = {name for node in folded for name in node.results}
            size = sum(tensor.size_bytes for tensor in lowered.tensors if tensor.name in results)
            self.notes.append(
                f"Folded {_count(len(folded), 'node')}: constants alone decide the results, "
                f"{size:,} bytes of which are read and count as constants."
            )
        if block.shape_queries:
            self.notes.append(
                "Shape and Size of tensors with a static shape count as constant: "
                f"{_count(block.shape_queries, 'node')}."
            )
        fixed = [name for name in block.outputs if block.scope.is_constant(name)]
        if fixed:
            self.notes.append(f"Graph outputs stored in the model, not computed: {_some(fixed)}.")
        if lowered.unknown_operators:
            kinds = [f"{kind} ({count:,})" for kind, count in lowered.unknown_operators.items()]
            self.notes.append(f"No cost entry, counted by their results: {_some(kinds)}.")


def _sketch(scope: Scope, name: str, bindings: Bindings) -> tuple[str, list[str]]:
    """What is known of a type in the form of `--shape`, and symbols of the file still open."""
    hint = scope.hints.get(name)
    if hint is None:
        return "AxB:float32", []
    tensor = hint.tensor_type
    dtype = element_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return f"AxB:{dtype}", []
    letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 10)
    dims = tensor.shape.dim
    shape = [str(d.dim_value) if d.dim_value > 0 else next(letters, "A") for d in dims]
    symbols = [dim.dim_param for dim in dims if dim.dim_param in bindings.open_symbols]
    return f"{'x'.join(shape)}:{dtype}", symbols


def require_results(names: Collection[str], block: Block) -> None:
    """Refuse names that are no operator's first result.

    Raises
    ------
    UsageError
        If there is one; it names the closest that is.
    """
    known = {first_result(node) for node in block.nodes}
    for name in names:
        if name not in known:
            raise UsageError(
                f'zero copy of "{name}": the model has no operator with a first result of that '
                f"name.{did_you_mean(name, known)}"
            )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _some(names: Sequence[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
