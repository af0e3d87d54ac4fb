"""What every tensor should hold: unoptimised ONNX Runtime with all intermediate values.

A model whose values together are small is run once. Of a larger one the reference runs ahead of
the plan in segments of consecutive steps, and a value is forgotten after its last use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.execution.sessions import raw_bytes
from planner.graph import StorageKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from planner.execution.model import RunnableModel

WHOLE_BYTES = 256 << 20
"""All values of a model with no more bytes than this are held at once."""

SEGMENT_BYTES = 64 << 20
"""Of a larger model so many are computed at once, beside those that later steps read."""


class ReadBeforeWriteError(Exception):
    """A step reads what no step before it writes: operator, tensor."""

    def __init__(self, operator: int, tensor: int) -> None:
        super().__init__(operator, tensor)
        self.operator = operator
        self.tensor = tensor


class Reference:
    """The values of all tensors of a model, for plans of whatever order.

    Attributes
    ----------
    tainted : frozenset of int
        Tensors that depend on random or stateful operators: their values are not comparable.
    """

    def __init__(
        self,
        model: RunnableModel,
        *,
        whole_bytes: int = WHOLE_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.model = model
        graph = model.graph
        self.segment_bytes = segment_bytes
        self.tainted = _tainted(model)
        self._index = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
        total = sum(
            tensor.size_bytes
            for tensor in graph.tensors
            if graph.storages[tensor.storage].kind is not StorageKind.CONSTANT
        )
        self._is_whole = total <= whole_bytes
        self._values: dict[int, Any] = {}
        self._views: dict[int, NDArray[np.uint8]] = {}
        self._order: Sequence[int] = ()
        self._computed = 0
        self._last_read: dict[int, int] = {}

    def begin(self, order: Sequence[int]) -> None:
        """Prepare for a plan of that order."""
        if self._is_whole and self._values:
            return
        graph = self.model.graph
        self._order = range(len(graph.operators)) if self._is_whole else order
        self._values, self._views, self._computed = {}, {}, 0
        self._keep(self.model.feeds)
        self._last_read = {}
        for step, operator in enumerate(self._order):
            node = graph.operators[operator]
            for tensor in (*node.inputs, *node.outputs):
                self._last_read[tensor] = step
        for tensor in range(len(graph.tensors)):
            if graph.storages[graph.tensors[tensor].storage].is_output:
                self._last_read[tensor] = len(order)
        if self._is_whole:
            self._run(self._order)
            self._computed = len(self._order)

    def before(self, step: int) -> None:
        """Make sure that what the step reads and writes is known.

        Raises
        ------
        ReadBeforeWriteError
            If the order is not topological.
        RuntimeRefusalError
            If ONNX Runtime fails.
        """
        while self._computed <= step and not self._is_whole:
            start, size = self._computed, 0
            graph = self.model.graph
            while self._computed < len(self._order) and (
                size < self.segment_bytes or self._computed == start
            ):
                node = graph.operators[self._order[self._computed]]
                size += sum(graph.tensors[tensor].size_bytes for tensor in node.outputs)
                self._computed += 1
            self._run(self._order[start : self._computed])

    def after(self, step: int) -> None:
        """Forget what no later step reads."""
        if self._is_whole:
            return
        node = self.model.graph.operators[self._order[step]]
        for tensor in (*node.inputs, *node.outputs):
            if self._last_read.get(tensor, 0) <= step:
                self._values.pop(tensor, None)
                self._views.pop(tensor, None)

    def holds(self, tensor: int) -> bool:
        """Whether the tensor's value is known and comparable."""
        return tensor in self._values and tensor not in self.tainted

    def content(self, tensor: int) -> NDArray[np.uint8]:
        """Bytes of a tensor."""
        if tensor not in self._views:
            self._views[tensor] = raw_bytes(self._values[tensor])
        return self._views[tensor]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape that it really has."""
        return tuple(self._values[tensor].shape())

    def _keep(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name in self._index:
                self._values[self._index[name]] = value

    def _run(self, operators: Sequence[int]) -> None:
        graph = self.model.graph
        written: set[int] = set()
        for operator in operators:
            for tensor in graph.operators[operator].inputs:
                produced = graph.producer[tensor] >= 0
                if produced and tensor not in self._values and tensor not in written:
                    raise ReadBeforeWriteError(operator, tensor)
            written.update(graph.operators[operator].outputs)
        known = {graph.tensors[tensor].name: value for tensor, value in self._values.items()}
        self._keep(self.model.segment(operators, known))


def _tainted(model: RunnableModel) -> frozenset[int]:
    tainted: set[int] = set()
    for operator in model.graph.operators:
        if not operator.recomputable or not tainted.isdisjoint(operator.inputs):
            tainted.update(operator.outputs)
    return frozenset(tainted)
