"""Training steps for tests: by chance, as chains, and in the shape of a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import RaggedArray
from planner.training.problem import TrainingProblem

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


class _Row(NamedTuple):
    name: str
    backward: bool
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    duration: int
    recomputable: bool
    workspace: int


class StepBuilder:
    """A training step put together operator by operator, in ascending order."""

    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self.sizes: list[int] = []
        self.names: list[str] = []
        self.tangents: list[int] = []

    def tangent(self, size: int) -> int:
        """Add a storage that the caller provides."""
        self.tangents.append(self._storage(f"tangent{len(self.tangents)}", size))
        return self.tangents[-1]

    def operator(
        self,
        name: str,
        reads: Sequence[int],
        sizes: Sequence[int],
        duration: int = 1,
        *,
        backward: bool = False,
        recomputable: bool = True,
        workspace: int = 0,
    ) -> tuple[int, ...]:
        """Add an operator and return the storages that it writes."""
        many = len(sizes) > 1
        writes = tuple(
            self._storage(f"{name}.{i}" if many else name, size) for i, size in enumerate(sizes)
        )
        reads = tuple(sorted(set(reads)))
        self.rows.append(_Row(name, backward, reads, writes, duration, recomputable, workspace))
        return writes

    def problem(
        self, forward_outputs: Sequence[int], gradients: Sequence[int], static_bytes: int = 0
    ) -> TrainingProblem:
        """Return the step; forward operators that no forward output needs are left open."""
        producer = {s: i for i, row in enumerate(self.rows) for s in row.writes}
        needed: set[int] = set()
        stack = [producer[s] for s in forward_outputs]
        stack += [i for i, r in enumerate(self.rows) if not (r.backward or r.recomputable)]
        while stack:
            index = stack.pop()
            if index not in needed:
                needed.add(index)
                stack += [producer[s] for s in self.rows[index].reads]
        return TrainingProblem(
            tuple(row.name for row in self.rows),
            tuple(self.names),
            np.array([row.backward for row in self.rows], dtype=np.bool_),
            np.array([i in needed for i in range(len(self.rows))], dtype=np.bool_),
            np.array([row.recomputable for row in self.rows], dtype=np.bool_),
            RaggedArray.from_rows([row.reads for row in self.rows]),
            RaggedArray.from_rows([row.writes for row in self.rows]),
            np.array([row.workspace for row in self.rows], dtype=np.int64),
            np.array([row.duration for row in self.rows], dtype=np.int64),
            np.array(self.sizes, dtype=np.int64),
            np.array(sorted(set(forward_outputs)), dtype=np.int32),
            np.array(sorted(set(gradients)), dtype=np.int32),
            np.array(self.tangents, dtype=np.int32),
            static_bytes,
        )

    def _storage(self, name: str, size: int) -> int:
        self.sizes.append(size)
        self.names.append(name)
        return len(self.sizes) - 1


def chain_problem(
    sizes: Sequence[int], durations: Sequence[int], *, gradient_bytes: int = 1, skip: int = 0
) -> TrainingProblem:
    """Return a chain of layers whose backward reads the layer's input and output.

    Parameters
    ----------
    sizes, durations : of each layer's result; backward operators take twice as long
    skip : int
        Every so many layers one adds the result of as many layers before.
    """
    step = StepBuilder()
    results: list[int] = []
    for i, (size, duration) in enumerate(zip(sizes, durations, strict=True)):
        reads = results[-1:]
        if skip and i >= skip and i % skip == 0:
            reads = [results[i - 1], results[i - skip]]
        results += step.operator(f"forward{i}", reads, [size], duration)
    flow, gradients = step.tangent(sizes[-1]), []
    for i in range(len(sizes) - 1, -1, -1):
        reads = [flow, results[i], *results[i - 1 : i]]
        written = [gradient_bytes, sizes[i - 1]] if i else [gradient_bytes]
        outcome = step.operator(f"backward{i}", reads, written, 2 * durations[i], backward=True)
        gradients.append(outcome[0])
        flow = outcome[-1]
    return step.problem(results[-1:], gradients)


def random_problem(
    random: random.Random, forward: int, backward: int, *, fixed: float = 0.1
) -> TrainingProblem:
    """Return a step of random operands, sizes and durations, as irregular as the rules allow.

    Parameters
    ----------
    forward, backward : int
        Operators of each half.
    fixed : float
        Share of operators that cannot be recomputed.
    """
    step = StepBuilder()
    results: list[int] = []
    for i in range(forward):
        recent = results[-6:] + random.sample(results, min(1, len(results)))
        reads = random.sample(recent, min(len(recent), random.randint(0 if i < 2 else 1, 3)))
        sizes = [random.choice((1, 2, 4, 8, 0)) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        results += step.operator(
            *(f"forward{i}", reads, sizes, random.randint(0, 9)),
            recomputable=random.random() >= fixed,
            workspace=random.choice((0, 0, 0, 3)),
        )
    outputs = random.sample(results, min(len(results), random.randint(1, 2)))
    flows = [step.tangent(random.choice((1, 2, 4))) for _ in range(random.randint(1, 2))]
    written: list[int] = []
    for i in range(backward):
        reads = random.sample(flows[-4:], random.randint(1, min(2, len(flows[-4:]))))
        reads += random.sample(results, min(len(results), random.randint(0, 3)))
        sizes = [random.choice((1, 2, 4, 8)) for _ in range(random.choice((1, 1, 2)))]
        written = list(
            step.operator(
                *(f"backward{i}", reads, sizes, random.randint(0, 9)),
                backward=True,
                recomputable=random.random() >= fixed,
            )
        )
        flows += written
    gradients = random.sample(flows, random.randint(1, min(3, len(flows)))) + written
    if random.random() < 0.2:
        gradients.append(random.choice(results))
    return step.problem(outputs, [g for g in gradients if g not in step.tangents])


def transformer_problem(
    layers: int, *, tokens: int = 512, width: int = 192, heads: int = 4, vocabulary: int = 4096
) -> TrainingProblem:
    """Return the step of a decoder with eager attention and 4-byte elements.

    Durations are those of 40 GFLOP/s and 8 GB/s.
    """
    step = StepBuilder()
    gradients: list[int] = []
    hidden, scores = 4 * tokens * width, 4 * heads * tokens * tokens

    def moved(size: int) -> int:
        return size * 125

    def product(flops: int, size: int) -> int:
        return max(flops * 25, moved(size))

    def linear(name: str, x: int, inputs: int, outputs: int) -> int:
        flops, size = 2 * tokens * inputs * outputs, 4 * tokens * outputs
        return step.operator(name, [x], [size], product(flops, size))[0]

    tape: list[tuple[str, str, list[int], int, int]] = []

    def record(kind: str, name: str, saved: list[int], inputs: int, outputs: int) -> None:
        tape.append((kind, name, saved, inputs, outputs))

    x = step.operator("embedding", [], [hidden], moved(2 * hidden))[0]
    for i in range(layers):
        n = step.operator(
            f"layer{i}.norm1", [x], [hidden, 4 * tokens, 4 * tokens], moved(2 * hidden)
        )
        record("norm", f"layer{i}.norm1", [x, n[1], n[2]], width, width)
        q = linear(f"layer{i}.qkv", n[0], width, 3 * width)
        record("linear", f"layer{i}.qkv", [n[0]], width, 3 * width)
        a = step.operator(
            f"layer{i}.scores", [q], [scores], product(2 * tokens * tokens * width, scores)
        )[0]
        s = step.operator(f"layer{i}.softmax", [a], [scores], moved(2 * scores))[0]
        v = step.operator(
            f"layer{i}.context", [s, q], [hidden], product(2 * tokens * tokens * width, scores)
        )[0]
        record("attention", f"layer{i}.attention", [q, s], width, width)
        o = linear(f"layer{i}.projection", v, width, width)
        record("linear", f"layer{i}.projection", [v], width, width)
        x = step.operator(f"layer{i}.add1", [x, o], [hidden], moved(3 * hidden))[0]
        m = step.operator(
            f"layer{i}.norm2", [x], [hidden, 4 * tokens, 4 * tokens], moved(2 * hidden)
        )
        record("norm", f"layer{i}.norm2", [x, m[1], m[2]], width, width)
        up = linear(f"layer{i}.up", m[0], width, 4 * width)
        record("linear", f"layer{i}.up", [m[0]], width, 4 * width)
        g = step.operator(f"layer{i}.gelu", [up], [4 * hidden], moved(8 * hidden))[0]
        record("gelu", f"layer{i}.gelu", [up], 4 * width, 4 * width)
        down = linear(f"layer{i}.down", g, 4 * width, width)
        record("linear", f"layer{i}.down", [g], 4 * width, width)
        x = step.operator(f"layer{i}.add2", [x, down], [hidden], moved(3 * hidden))[0]
    logits = linear("head", x, width, vocabulary)
    size = 4 * tokens * vocabulary
    soft = step.operator("log_softmax", [logits], [size], moved(2 * size))[0]
    loss = step.operator("loss", [soft], [4], 1)[0]
    flow = step.tangent(4)
    flow = step.operator("loss.backward", [flow, soft], [size], moved(2 * size), backward=True)[0]
    record("linear", "head", [x], width, vocabulary)
    for kind, name, saved, inputs, outputs in reversed(tape):
        name = f"{name}.backward"
        if kind == "linear":
            flops = 2 * tokens * inputs * outputs
            gradients += step.operator(
                f"{name}.weight", [flow, *saved], [4 * inputs * outputs], 25 * flops, backward=True
            )
            gradients += step.operator(
                f"{name}.bias", [flow], [4 * outputs], moved(4 * tokens * outputs), backward=True
            )
            flow = step.operator(name, [flow], [4 * tokens * inputs], 25 * flops, backward=True)[0]
        elif kind == "attention":
            grad = step.operator(
                f"{name}.softmax", [flow, *saved], [scores], moved(4 * scores), backward=True
            )[0]
            flow = step.operator(
                name, [grad, saved[0], flow], [3 * hidden], moved(2 * scores), backward=True
            )[0]
        else:
            flow = step.operator(
                name,
                [flow, *saved],
                [4 * tokens * inputs],
                moved(12 * tokens * inputs),
                backward=True,
            )[0]
    gradients.append(
        step.operator("embedding.backward", [flow], [4 * vocabulary * width], 1, backward=True)[0]
    )
    return step.problem([loss], gradients, static_bytes=4 * vocabulary * width)
