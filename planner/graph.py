"""The tensor-lifetime graph: operators, tensors, and the storages whose bytes they share.

Lifetimes, offsets and transfers are about storages. Views, reshapes and zero-copy parts are
tensors of one storage; constants are storages of their own kind and never part of the arena.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from planner.operator_signature import operator_class, operator_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import networkx
    import numpy as np
    from numpy.typing import NDArray


class StorageKind(StrEnum):
    """Who fills a storage: the caller, an operator, or the model file.

    A workspace is scratch of one operator: written by it, read by nobody, live while it runs.
    """

    INPUT = "input"
    ACTIVATION = "activation"
    WORKSPACE = "workspace"
    CONSTANT = "constant"

    @property
    def is_written(self) -> bool:
        """Whether operators bring it to life."""
        return self in (StorageKind.ACTIVATION, StorageKind.WORKSPACE)


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that live and move as one.

    Attributes
    ----------
    name : str
        Name of its first tensor.
    size_bytes : int
        Exact size, not rounded to any alignment; 0 for a tensor with an empty dimension.
    kind : StorageKind
        Who fills it.
    is_output : bool
        Holds a graph output, so its content must survive the last step.
    """

    name: str
    size_bytes: int
    kind: StorageKind = StorageKind.ACTIVATION
    is_output: bool = False


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value: a typed view of a byte range of one storage.

    Attributes
    ----------
    name : str
        Unique in the graph.
    shape : tuple of int
        Concrete dimensions; ``()`` for a scalar.
    dtype : str
        ONNX element type in lower case: ``float32``, ``bfloat16``, ``int4``, ...
    storage : int
        Index into ``Graph.storages``.
    offset_bytes, size_bytes : int
        Its byte range inside the storage.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    storage: int
    offset_bytes: int
    size_bytes: int


class InPlaceOption(NamedTuple):
    """An operator may write ``output`` over ``input`` (tensor indices).

    Both cover their whole storages, which have equal sizes, and the kernel reads each element
    no later than it writes it. Whether ``input`` is dead by then depends on the order.
    """

    output: int
    input: int


@dataclass(frozen=True, slots=True)
class Operator:
    """One node of the model. One execution of it is one step of a plan.

    Attributes
    ----------
    name : str
        Not necessarily unique; operators are identified by index.
    type : str
        ``Conv``, ``MatMul``, ``com.microsoft.FusedConv``, ...
    inputs, outputs : tuple of int
        Tensor indices, each at most once. Inputs include constants and what control-flow bodies
        capture; outputs include the operator's workspace, if it needs one.
    in_place : tuple of InPlaceOption
        Overwrites the kernel allows; a plan uses at most one of them per step.
    macs : int
        Multiply-accumulate operations.
    vector_ops : int
        Element operations outside the MAC array, transcendentals weighted.
    phase : str
        ``forward``, ``backward`` or ``optimizer``.
    recomputable : bool
        False for random and stateful operators.
    """

    name: str
    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    in_place: tuple[InPlaceOption, ...] = ()
    macs: int = 0
    vector_ops: int = 0
    phase: str = "forward"
    recomputable: bool = True


@dataclass(frozen=True, slots=True)
class ModelReference:
    """Which model, and how it was lowered: enough to lower it again the same way.

    Attributes
    ----------
    name : str
        File or graph name.
    sha256 : str
        Of the model file, in hex; empty for a graph that was not read from a file.
    dims : tuple of (str, int)
        ``--dim`` bindings, those applied by default included; sorted on construction.
    shapes : tuple of (str, str)
        ``--shape`` overrides, e.g. ``("t88", "1x77x768:float32")``; sorted on construction.
    zero_copy : bool or tuple of str
        Which of Concat, Split, Slice and Gather share storage: none, those with these first
        results, or, in plans of earlier versions, all whose layout allows it. Sorted on
        construction; no names are False.
    parameters : bool
        Constants are inputs that move, see `planner.parameters.with_parameters`.
    """

    name: str
    sha256: str = ""
    dims: tuple[tuple[str, int], ...] = ()
    shapes: tuple[tuple[str, str], ...] = ()
    zero_copy: bool | tuple[str, ...] = False
    parameters: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", tuple(sorted(self.dims)))
        object.__setattr__(self, "shapes", tuple(sorted(self.shapes)))
        if not isinstance(self.zero_copy, bool):
            names = tuple(sorted(self.zero_copy))
            object.__setattr__(self, "zero_copy", names or False)


@dataclass(frozen=True, slots=True)
class RaggedArray:
    """Rows of different lengths (CSR): row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    offsets : int64 array of shape [rows + 1]
    values : int32 array of shape [offsets[-1]]
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.int32]

    @classmethod
    def from_rows(cls, rows: Sequence[Iterable[int]]) -> RaggedArray:
        """Pack the rows, keeping their order."""
        import numpy as np

        packed = [list(row) for row in rows]
        offsets = np.zeros(len(packed) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in packed], out=offsets[1:])
        values = np.fromiter(
            (value for row in packed for value in row), dtype=np.int32, count=int(offsets[-1])
        )
        return cls(offsets, values)

    def row(self, index: int) -> NDArray[np.int32]:
        """Row ``index`` as an array view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Graph:
    """A model lowered for planning. Immutable; a transformation returns a new graph.

    Attributes
    ----------
    model : ModelReference
    operators : tuple of Operator
        In the model's own order, which is topological.
    tensors : tuple of Tensor
    storages : tuple of Storage
    notes : tuple of str
        What lowering assumed or left out, one sentence each, for the report.

    Raises
    ------
    ValueError
        If indices are out of range, an order is not topological, a tensor leaves its storage,
        or an in-place option breaks the rules of `InPlaceOption`. Frontends turn bad models
        into `LoweringError` before this backstop.
    """

    model: ModelReference
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    storages: tuple[Storage, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        _validate(self)

    @cached_property
    def producer(self) -> tuple[int, ...]:
        """Operator that writes each tensor, -1 for inputs and constants."""
        producer = [-1] * len(self.tensors)
        for index, operator in enumerate(self.operators):
            for tensor in operator.outputs:
                producer[tensor] = index
        return tuple(producer)

    @cached_property
    def predecessors(self) -> RaggedArray:
        """Per operator, the operators whose outputs it reads; ascending, distinct."""
        producer = self.producer
        return RaggedArray.from_rows(
            [
                sorted({producer[t] for t in operator.inputs if producer[t] >= 0})
                for operator in self.operators
            ]
        )

    @cached_property
    def operand_storages(self) -> RaggedArray:
        """Per operator, the non-constant storages it reads or writes; ascending, distinct."""
        return RaggedArray.from_rows(
            [
                sorted(
                    storage
                    for storage in {
                        self.tensors[t].storage for t in (*operator.inputs, *operator.outputs)
                    }
                    if self.storages[storage].kind is not StorageKind.CONSTANT
                )
                for operator in self.operators
            ]
        )

    @cached_property
    def storage_users(self) -> RaggedArray:
        """Per storage, the operators that read or write it; ascending. Empty for constants."""
        rows: list[list[int]] = [[] for _ in self.storages]
        for index in range(len(self.operators)):
            for storage in self.operand_storages.row(index).tolist():
                rows[storage].append(index)
        return RaggedArray.from_rows(rows)

    @cached_property
    def storage_starters(self) -> RaggedArray:
        """Per storage, the operators of which the first to run brings it to life; ascending.

        One operator for an ordinary storage, several for a zero-copy Concat, none for inputs
        and constants. A view of a storage already alive is not among them.
        """
        rows: list[list[int]] = [[] for _ in self.storages]
        for index, operator in enumerate(self.operators):
            read = {self.tensors[t].storage for t in operator.inputs}
            for storage in sorted({self.tensors[t].storage for t in operator.outputs} - read):
                if self.storages[storage].kind.is_written:
                    rows[storage].append(index)
        return RaggedArray.from_rows(rows)

    @cached_property
    def storage_writers(self) -> RaggedArray:
        """Per storage, the operators that put bytes into it, views apart; ascending."""
        rows: list[list[int]] = [[] for _ in self.storages]
        for index, operator in enumerate(self.operators):
            if not self.is_view(index):
                for storage in sorted({self.tensors[t].storage for t in operator.outputs}):
                    rows[storage].append(index)
        return RaggedArray.from_rows(rows)

    def is_view(self, operator: int) -> bool:
        """Whether the operator moves no bytes: all its outputs consist of bytes it reads.

        Writing one part of a storage while reading another (a layer whose result is concatenated
        to its operand without a copy) is no view.
        """
        return operator in self._views

    @cached_property
    def _views(self) -> frozenset[int]:
        return frozenset(filter(self._moves_nothing, range(len(self.operators))))

    def _moves_nothing(self, operator: int) -> bool:
        node = self.operators[operator]
        read: dict[int, list[tuple[int, int]]] = {}
        for tensor in (self.tensors[t] for t in node.inputs):
            read.setdefault(tensor.storage, []).append(
                (tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes)
            )
        for tensor in (self.tensors[t] for t in node.outputs):
            if tensor.storage not in read:
                return False
            reached, end = tensor.offset_bytes, tensor.offset_bytes + tensor.size_bytes
            for lower, upper in sorted(read[tensor.storage]):
                if lower <= reached:
                    reached = max(reached, upper)
            if reached < end:
                return False
        return True

    @cached_property
    def signatures(self) -> tuple[str, ...]:
        """Per operator, what it is called in a table of measured times."""
        return tuple(operator_signature(self, index) for index in range(len(self.operators)))

    @cached_property
    def operator_classes(self) -> tuple[str, ...]:
        """Per operator, the class whose measured times say something of its own."""
        return tuple(operator_class(self, index) for index in range(len(self.operators)))

    @cached_property
    def constant_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(s.size_bytes for s in self.storages if s.kind is StorageKind.CONSTANT)

    @cached_property
    def activation_bytes(self) -> int:
        """Bytes of all other storages: the arena without any reuse."""
        return sum(s.size_bytes for s in self.storages if s.kind is not StorageKind.CONSTANT)

    def to_networkx(self) -> networkx.DiGraph[int]:
        """Operators as nodes (attributes ``name``, ``type``), edges carrying ``tensors``."""
        import networkx

        graph: networkx.DiGraph[int] = networkx.DiGraph(name=self.model.name)
        for index, operator in enumerate(self.operators):
            graph.add_node(index, name=operator.name, type=operator.type)
        for index, operator in enumerate(self.operators):
            for tensor in operator.inputs:
                producer = self.producer[tensor]
                if producer < 0:
                    continue
                if graph.has_edge(producer, index):
                    graph.edges[producer, index]["tensors"].append(tensor)
                else:
                    graph.add_edge(producer, index, tensors=[tensor])
        return graph


def _validate(graph: Graph) -> None:
    storages, tensors = graph.storages, graph.tensors
    for storage in storages:
        if storage.size_bytes < 0:
            raise ValueError(f"storage {storage.name!r} has negative size {storage.size_bytes}")
    for tensor in tensors:
        if not 0 <= tensor.storage < len(storages):
            raise ValueError(f"tensor {tensor.name!r} names storage {tensor.storage}")
        end = tensor.offset_bytes + tensor.size_bytes
        if tensor.offset_bytes < 0 or tensor.size_bytes < 0:
            raise ValueError(f"tensor {tensor.name!r} has a negative byte range")
        if end > storages[tensor.storage].size_bytes:
            raise ValueError(
                f"tensor {tensor.name!r} ends at byte {end} of storage "
                f"{storages[tensor.storage].name!r} of {storages[tensor.storage].size_bytes}"
            )
    known = [not storages[t.storage].kind.is_written for t in tensors]
    for operator in graph.operators:
        for t in (*operator.inputs, *operator.outputs):
            if not 0 <= t < len(tensors):
                raise ValueError(f"operator {operator.name!r} names tensor {t}")
        for t in operator.inputs:
            if not known[t]:
                raise ValueError(
                    f"operator {operator.name!r} reads {tensors[t].name!r} before it is written"
                )
        read = {tensors[t].storage for t in operator.inputs}
        for t in operator.outputs:
            kind = storages[tensors[t].storage].kind
            if known[t] and (kind.is_written or tensors[t].storage not in read):
                raise ValueError(f"operator {operator.name!r} writes {tensors[t].name!r} again")
            known[t] = True
        for option in operator.in_place:
            _validate_in_place(graph, operator, option)


def _validate_in_place(graph: Graph, operator: Operator, option: InPlaceOption) -> None:
    if option.output not in operator.outputs or option.input not in operator.inputs:
        raise ValueError(f"operator {operator.name!r}: in-place option of foreign tensors")
    output, source = graph.tensors[option.output], graph.tensors[option.input]
    over, under = graph.storages[output.storage], graph.storages[source.storage]
    whole = output.size_bytes == over.size_bytes and source.size_bytes == under.size_bytes
    if output.storage == source.storage or not whole or over.size_bytes != under.size_bytes:
        raise ValueError(
            f"operator {operator.name!r}: {output.name!r} cannot overwrite {source.name!r}: "
            "both must cover whole, distinct storages of equal size"
        )
    if under.kind is not StorageKind.ACTIVATION or under.is_output:
        raise ValueError(
            f"operator {operator.name!r}: {source.name!r} may not be overwritten: it is a graph "
            "input, a graph output or a constant"
        )
