"""A lowered model together with what it takes to run it operator by operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from frontends.onnx.constants import is_shape_query
from frontends.onnx.external import tensor_bytes
from frontends.onnx.frontend import lower_source, open_source
from frontends.onnx.load import MAX_WHOLE_BYTES, load_whole_model
from frontends.onnx.nodes import check_structure
from frontends.onnx.weights import counted, hydrate
from planner.errors import BadFileError

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray
    from onnx import SparseTensorProto

    from frontends.onnx.nodes import Node
    from planner.graph import Graph


@dataclass(frozen=True)
class Executable:
    """A graph, and the nodes and weights to run it operator by operator.

    Attributes
    ----------
    graph : Graph
    nodes : tuple of Node
        One per operator of the graph.
    folded : tuple of Node
        Nodes whose results are constants of the graph, in topological order, but for those that
        ask for a shape.
    initializers : mapping of str to TensorProto
        Weights by value name, all of them with values. Names are those that nodes use.
    shape_contents : mapping of str to int64 array
        What folded nodes that ask for a static shape give.
    model : ModelProto
        The whole model with those weights, otherwise as it is in the file.
    notes : tuple of str
        What was drawn at random.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    folded: tuple[Node, ...]
    initializers: Mapping[str, TensorProto]
    shape_contents: Mapping[str, NDArray[np.int64]]
    model: ModelProto
    notes: tuple[str, ...]


def load_executable(
    source: str | os.PathLike[str] | ModelProto,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, str] | None = None,
    zero_copy: bool | Collection[str] = False,
    alignment_bytes: int = 1,
    seed: int = 0,
) -> Executable:
    """Lower an ONNX model as `load_onnx` does, and keep what it takes to run it.

    Parameters
    ----------
    source, dims, shapes, zero_copy, alignment_bytes
        As for `load_onnx`.
    seed : int
        Of the weights that are absent, see `frontends.onnx.weights.hydrate`.

    Raises
    ------
    PlannerError
        As `load_onnx`; also if a model file is too large to be read with its weights, or if these
        are malformed.
    """
    _, name, digest, folder = open_source(source)
    whole = source if isinstance(source, ModelProto) else load_whole_model(source)
    check_structure(whole, name or "the model")
    refilled = hydrate(whole, folder=folder, seed=seed)
    model = refilled.model
    lowered = lower_source(
        model, name, digest, folder, dims, shapes, zero_copy, alignment_bytes, None
    )
    block, notes = lowered.block, []
    if refilled.tensors:
        notes.append(
            f"{counted(refilled.tensors)} without data ({refilled.bytes:,} bytes) drawn "
            f"from seed {seed}."
        )
    if refilled.constants:
        notes.append(f"{counted(refilled.constants, 'constant ')} drawn from seed {seed}.")
    folded = [block.nodes[i] for i in sorted(block.folded)]
    queries = [node.results[0] for node in folded if is_shape_query(node)]
    return Executable(
        lowered.graph,
        tuple(n for i, n in enumerate(block.nodes) if i not in block.folded),
        tuple(node for node in folded if not is_shape_query(node)),
        {
            **{name: t for name, t in block.scope.initializers.items() if t is not None},
            **{sparse.values.name: _dense(sparse) for sparse in model.graph.sparse_initializer},
        },
        {name: np.asarray(block.scope.values[name], dtype=np.int64) for name in queries},
        model,
        tuple(notes),
    )


def _dense(sparse: SparseTensorProto) -> TensorProto:
    """A sparse initializer as operators see it."""
    name, dims = sparse.values.name, tuple(sparse.dims)
    size = tensor_bytes(name, TensorProto(data_type=sparse.values.data_type, dims=dims))
    if size > MAX_WHOLE_BYTES:
        raise BadFileError(f'sparse initializer "{name}" has {size:,} bytes as a dense tensor.')
    try:
        values = numpy_helper.to_array(sparse.values)
        at = numpy_helper.to_array(sparse.indices)
        content = np.zeros(dims, values.dtype)
        content[np.unravel_index(at, dims) if at.ndim == 1 else tuple(at.T)] = values
    except (ValueError, TypeError, IndexError) as error:
        raise BadFileError(f'sparse initializer "{name}" is malformed: {error}.') from None
    return numpy_helper.from_array(content, name)
