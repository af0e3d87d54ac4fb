"""Small random graphs with everything that a plan has to cope with."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def random_graph(seed: int, operators: int = 8) -> Graph:
    """Make a small graph with everything that a plan has to cope with.

    Operators with one to three operands, results that fan out, in-place options, views, weights,
    workspaces, results in two parts of one storage (a concatenation without a copy), layers that
    write one part and read the other, empty tensors, inputs and results nobody reads, and views
    of inputs as outputs. The same seed gives the same graph.
    """
    return _GraphBuilder(random.Random(seed), operators).build()


class _GraphBuilder:
    def __init__(self, rng: random.Random, operators: int) -> None:
        self.rng = rng
        self.count = operators
        self.storages: list[Storage] = []
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.available: list[int] = []

    def build(self) -> Graph:
        rng = self.rng
        for _ in range(rng.randint(1, 2)):
            self.available.append(self.tensor(self.size(), StorageKind.INPUT))
        while len(self.operators) < self.count:
            kind = rng.random()
            if kind < 0.15:
                self.add_view()
            elif kind < 0.3:
                self.add_concatenation()
            else:
                self.add_layer()
        return Graph(
            ModelReference("random", "f" * 64),
            tuple(self.operators),
            tuple(self.tensors),
            tuple(self.with_outputs()),
        )

    def size(self) -> int:
        return 0 if self.rng.random() < 0.04 else self.rng.choice((48, 64, 100, 160, 256, 301))

    def storage(self, size: int, kind: StorageKind = StorageKind.ACTIVATION) -> int:
        self.storages.append(Storage(f"s{len(self.storages)}", size, kind))
        return len(self.storages) - 1

    def tensor(self, size: int, kind: StorageKind = StorageKind.ACTIVATION) -> int:
        return self.part(self.storage(size, kind), 0, size)

    def part(self, storage: int, offset: int, size: int) -> int:
        name = f"t{len(self.tensors)}"
        self.tensors.append(Tensor(name, (size,), "int8", storage, offset, size))
        return len(self.tensors) - 1

    def add(self, type: str, inputs: Sequence[int], outputs: Sequence[int], **more: Any) -> None:
        name, operands = f"op{len(self.operators)}", tuple(dict.fromkeys(inputs))
        self.operators.append(Operator(name, type, operands, tuple(outputs), **more))

    def operands(self, most: int) -> list[int]:
        recent = [*self.available[-5:], self.rng.choice(self.available)]
        return self.rng.sample(recent, min(len(recent), self.rng.randint(1, most)))

    def add_layer(self) -> None:
        rng = self.rng
        inputs = list(dict.fromkeys(self.operands(3)))
        first = self.tensors[inputs[0]]
        size = first.size_bytes if rng.random() < 0.6 else self.size()
        outputs = [self.tensor(size)]
        options = [
            InPlaceOption(outputs[0], operand)
            for operand in inputs
            if self.may_overwrite(operand, size)
        ]
        if rng.random() < 0.2:
            outputs.append(self.tensor(self.size()))
        self.available += outputs
        if rng.random() < 0.2:
            outputs.append(self.tensor(64, StorageKind.WORKSPACE))
        if rng.random() < 0.5:
            inputs.append(self.tensor(rng.choice((32, 96)), StorageKind.CONSTANT))
        work = {"macs": rng.randrange(5000), "vector_ops": rng.randrange(500)}
        self.add("Layer", inputs, outputs, in_place=tuple(options), **work)

    def may_overwrite(self, operand: int, size: int) -> bool:
        tensor = self.tensors[operand]
        storage = self.storages[tensor.storage]
        whole = tensor.size_bytes == storage.size_bytes == size
        return whole and storage.kind is StorageKind.ACTIVATION

    def add_view(self) -> None:
        source = self.rng.choice(self.available)
        tensor = self.tensors[source]
        self.available.append(self.part(tensor.storage, tensor.offset_bytes, tensor.size_bytes))
        self.add("Reshape", [source], [self.available[-1]])

    def add_concatenation(self) -> None:
        """Two layers write the parts of one storage; the second may read the first part."""
        sizes = self.rng.choice((32, 64)), self.rng.choice((48, 80))
        storage = self.storage(sum(sizes))
        first = self.part(storage, 0, sizes[0])
        self.add("Layer", self.operands(2), [first], vector_ops=50)
        second = self.part(storage, sizes[0], sizes[1])
        dense = [first] if self.rng.random() < 0.4 else []
        self.add("Layer", [*self.operands(2), *dense], [second], macs=700)
        whole = self.part(storage, 0, sum(sizes))
        self.add("Concat", [first, second], [whole])
        self.available.append(whole)

    def with_outputs(self) -> list[Storage]:
        read = {self.tensors[t].storage for node in self.operators for t in node.inputs}
        overwritten = {
            self.tensors[option.input].storage
            for node in self.operators
            for option in node.in_place
        }
        last = self.tensors[self.operators[-1].outputs[0]].storage
        storages = []
        for index, storage in enumerate(self.storages):
            unread = storage.kind is StorageKind.ACTIVATION and index not in read
            chosen = storage.kind is not StorageKind.WORKSPACE and self.rng.random() < 0.08
            is_output = index == last or unread or (chosen and index not in overwritten)
            storages.append(
                storage
                if storage.kind is StorageKind.CONSTANT or index in overwritten
                else Storage(storage.name, storage.size_bytes, storage.kind, is_output)
            )
        return storages
