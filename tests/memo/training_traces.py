"""Events of a training step of a stack of layers, with the truth about its layers."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np

from planner.problem import OffsetProblem


class Pass(NamedTuple):
    """What one pass through a layer asks for, in its own slots of time.

    Transients are (first slot, last slot, size); saved are (slot, size), alive until the backward
    pass of the layer; freed are the slots at which the backward pass frees them, last saved first.
    """

    transients: list[tuple[int, int, int]]
    saved: list[tuple[int, int]]


class TrainingTrace(NamedTuple):
    events: list[tuple[str, str, int]]
    layers: list[list[frozenset[str]]]
    """Transients of each pass: the forward ones, then the backward ones."""

    def lifetimes(self) -> dict[str, tuple[int, int, int]]:
        alive = {}
        for time, (event, name, size) in enumerate(self.events):
            if event == "malloc":
                alive[name] = (time, len(self.events), size)
            else:
                alive[name] = (alive[name][0], time, alive[name][2])
        return alive

    def names(self) -> list[str]:
        return list(self.lifetimes())

    def problem(self, capacity: int | None = None, alignment: int = 1) -> OffsetProblem:
        table = np.array(list(self.lifetimes().values()), dtype=np.int64).reshape(-1, 3)
        return OffsetProblem(
            *(np.ascontiguousarray(column) for column in table.T),
            np.full(len(table), alignment),
            capacity=capacity,
        )

    def log(self) -> str:
        lines = (
            f"malloc {name} {size}" if event == "malloc" else f"free {name}"
            for event, name, size in self.events
        )
        return "# one training step\n" + "\n".join(lines) + "\n"


def random_pass(rng: random.Random, transients: int, saved: int, slots: int = 12) -> Pass:
    born = [
        (first, rng.randint(first, min(slots - 1, first + rng.choice([1, 2, 6]))), size)
        for first, size in (
            (rng.randrange(slots - 1), rng.randint(1, 60) * 8) for _ in range(transients)
        )
    ]
    return Pass(born, [(rng.randrange(slots), rng.randint(1, 40) * 8) for _ in range(saved)])


def training_trace(
    seed: int,
    layers: int,
    *,
    transients: int = 6,
    saved: int = 3,
    passes: int = 1,
    without_backward: bool = False,
) -> TrainingTrace:
    """Embedding, layers forward, head, layers backward, ``passes`` times (microbatches).

    Sizes and lifetimes are random, but equal in all layers. The gradient of a layer's weights is
    allocated in its backward pass and lives to the end of the log.
    """
    rng = random.Random(seed)
    forward = random_pass(rng, transients, saved)
    backward = random_pass(rng, transients + 1, 0)
    events: list[tuple[str, str, int]] = []
    truth: list[list[frozenset[str]]] = [[], []]

    def run(prefix: str, shape: Pass, freed: list[str]) -> frozenset[str]:
        names = [f"{prefix}.t{i}" for i in range(len(shape.transients))]
        slots = 1 + max(last for _, last, _ in shape.transients)
        for slot in range(max([slots, *(s + 1 for s, _ in shape.saved)])):
            for name, (first, _, size) in zip(names, shape.transients, strict=True):
                if first == slot:
                    events.append(("malloc", name, size))
            for i, (at, size) in enumerate(shape.saved):
                if at == slot:
                    events.append(("malloc", f"{prefix}.s{i}", size))
            for name, (_, last, _) in zip(names, shape.transients, strict=True):
                if last == slot:
                    events.append(("free", name, 0))
            if slot % 2 and freed:
                events.append(("free", freed.pop(), 0))
        while freed:
            events.append(("free", freed.pop(), 0))
        return frozenset(names)

    for micro in range(passes):
        events.append(("malloc", f"{micro}.embedding", 999))
        for layer in range(layers):
            truth[0].append(run(f"{micro}.f{layer}", forward, []))
        events.append(("malloc", f"{micro}.logits", 5000))
        events.append(("malloc", f"{micro}.loss", 8))
        events.append(("free", f"{micro}.logits", 0))
        if not without_backward:
            for layer in reversed(range(layers)):
                kept = [f"{micro}.f{layer}.s{i}" for i in range(saved)]
                truth[1].append(run(f"{micro}.b{layer}", backward, kept))
                events.append(("malloc", f"{micro}.g{layer}", 777))
        events.append(("free", f"{micro}.loss", 0))
        events.append(("free", f"{micro}.embedding", 0))
    return TrainingTrace(events, truth)
