"""Small random ONNX models with whatever a plan and an executor have to cope with."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx import ModelProto, NodeProto

FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
INT32, INT64, UINT8, BOOL = (
    *(TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL),
)
OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid("local", 1))
SHAPES = ((2, 3, 4, 5), (4, 6), (2, 4, 6), (3, 5), (1, 4, 6, 6), (7,), (2, 2, 4))

Shape = tuple[int, ...]


def random_model(seed: int, operators: int = 10) -> ModelProto:
    """Make a model of about that many operators. The same seed gives the same model.

    Element-wise operators, convolutions, products, views, reductions, conversions of type,
    concatenations and parts, tensors without elements, functions, If with constant and other
    conditions, Loop; several outputs, outputs that are read as well, results nobody reads, and
    inputs that are outputs.
    """
    return _Builder(random.Random(seed)).build(operators)


class _Builder:
    """Nodes so far, and the values that the next one may read."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.known: dict[str, tuple[int, Shape]] = {}
        self.inputs: list[str] = []

    def build(self, operators: int) -> ModelProto:
        rng = self.rng
        for shape in rng.sample(SHAPES, rng.randint(1, 3)):
            self.input(FLOAT, shape)
        if rng.random() < 0.3:
            self.input(INT64, (4,))
        while len(self.nodes) < operators:
            rng.choice(_KINDS)(self)
        written = [name for node in self.nodes for name in node.output if name]
        read = {name for node in self.nodes for name in node.input}
        # Some results nobody reads stay so; one result at least leaves the graph.
        outputs = [
            name
            for name in written
            if rng.random() < (0.8 if name not in read else 0.1) or name == written[-1]
        ]
        if rng.random() < 0.1:
            outputs.append(rng.choice(self.inputs))
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info(name, *self.known[name]) for name in self.inputs],
            [helper.make_tensor_value_info(name, *self.known[name]) for name in outputs],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=8, functions=[_function()])

    def input(self, element: int, shape: Shape) -> str:
        self.inputs.append(f"in{len(self.inputs)}")
        self.known[self.inputs[-1]] = (element, shape)
        return self.inputs[-1]

    def weight(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def normal(self, *shape: int) -> str:
        numbers = np.random.default_rng(self.rng.randrange(1 << 30))
        return self.weight(numbers.standard_normal(shape).astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.weight(np.array(values, np.int64))

    def add(
        self, kind: str, inputs: Sequence[str], *results: tuple[int, Shape], **attributes: Any
    ) -> list[str]:
        index = len(self.nodes)
        names = [f"v{index}_{i}" for i in range(len(results))]
        node = helper.make_node(kind, list(inputs), names, f"n{index}", **attributes)
        self.nodes.append(node)
        self.known.update(zip(names, results, strict=True))
        return names

    def pick(self, fits: Callable[[int, Shape], bool]) -> str | None:
        """A known value, rather a recent one."""
        found = [name for name, (element, shape) in self.known.items() if fits(element, shape)]
        if not found:
            return None
        return self.rng.choice(found[-4:] if self.rng.random() < 0.7 else found)

    def pick_float(self, rank: int = 0) -> tuple[str, Shape] | None:
        name = self.pick(lambda e, s: e == FLOAT and len(s) >= rank and 0 not in s)
        return None if name is None else (name, self.known[name][1])

    def same(self, like: str) -> str:
        """Another value of the same type and shape, or the same one."""
        other = self.pick(lambda e, s: (e, s) == self.known[like])
        return like if other is None else other

    def another(self, like: str) -> str:
        """Another value of the same shape: a weight where there is none."""
        other = self.same(like)
        return self.normal(*self.known[like][1]) if other == like else other


def _function() -> Any:
    nodes = [
        helper.make_node("Mul", ["a", "a"], ["square"], "inner.mul"),
        helper.make_node("Sub", ["square", "b"], ["y"], "inner.sub"),
    ]
    return helper.make_function("local", "SquareMinus", ["a", "b"], ["y"], nodes, OPSETS[:1])


def _unary(b: _Builder) -> None:
    kinds = ("Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Erf", "Identity", "Floor", "Softmax")
    found = b.pick_float(1)
    if found:
        b.add(b.rng.choice(kinds), [found[0]], (FLOAT, found[1]))


def _binary(b: _Builder) -> None:
    found = b.pick_float()
    if found:
        name, shape = found
        others = [b.another(name), b.another(name), b.normal(*shape[-1:]), b.normal(*shape)]
        pair = [name, b.rng.choice(others)]
        b.rng.shuffle(pair)
        b.add(b.rng.choice(("Add", "Mul", "Sub", "Max")), pair, (FLOAT, shape))


def _same_again(b: _Builder) -> None:
    """Element by element on whatever type there is."""
    name = b.pick(lambda e, s: e in (HALF, DOUBLE, INT32, INT64))
    if name:
        other = b.rng.choice((name, b.same(name)))
        b.add(b.rng.choice(("Add", "Mul")), [name, other], b.known[name])


def _convolution(b: _Builder) -> None:
    name = b.pick(lambda e, s: e == FLOAT and len(s) == 4 and 0 not in s)
    if name:
        n, c, h, w = b.known[name][1]
        out = b.rng.choice((c, 2 * c, 3))
        inputs = [name, b.normal(out, c, 3, 3), *([b.normal(out)] if b.rng.random() < 0.5 else [])]
        b.add("Conv", inputs, (FLOAT, (n, out, h, w)), pads=[1] * 4)


def _pool(b: _Builder) -> None:
    name = b.pick(lambda e, s: e == FLOAT and len(s) == 4 and min(s) > 0 and min(s[2:]) > 1)
    if name:
        n, c, h, w = b.known[name][1]
        kind = b.rng.choice(("MaxPool", "AveragePool"))
        b.add(kind, [name], (FLOAT, (n, c, h - 1, w - 1)), kernel_shape=[2, 2])


def _product(b: _Builder) -> None:
    found = b.pick_float(2)
    if found:
        name, shape = found
        columns = b.rng.choice((shape[-1], 5))
        right = b.normal(shape[-1], columns)
        b.add("MatMul", [name, right], (FLOAT, (*shape[:-1], columns)))


def _concat(b: _Builder) -> None:
    name = b.pick(lambda e, s: len(s) > 0 and e != BOOL)
    if name:
        element, shape = b.known[name]
        parts = [name, b.same(name), *([b.same(name)] if b.rng.random() < 0.3 else [])]
        axis = b.rng.choice((0, 0, b.rng.randrange(len(shape))))
        size = len(parts) * shape[axis]
        result = (element, (*shape[:axis], size, *shape[axis + 1 :]))
        b.add("Concat", parts, result, axis=axis)


def _split(b: _Builder) -> None:
    name = b.pick(lambda e, s: len(s) > 0 and max(s[0], s[-1]) > 1 and 0 not in s)
    if name:
        element, shape = b.known[name]
        axis = 0 if shape[0] > 1 else len(shape) - 1
        first = b.rng.randrange(1, shape[axis])
        sizes = (first, shape[axis] - first)
        results = [(element, (*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]
        b.add("Split", [name, b.integers(*sizes)], *results, axis=axis)


def _slice(b: _Builder) -> None:
    name = b.pick(lambda e, s: len(s) > 0)
    if name:
        element, shape = b.known[name]
        axis = b.rng.choice((0, b.rng.randrange(len(shape))))
        low = b.rng.randint(0, shape[axis])
        high = b.rng.randint(low, shape[axis])
        if high == low and b.rng.random() < 0.8:
            return
        bounds = [b.integers(low), b.integers(high), b.integers(axis)]
        b.add("Slice", [name, *bounds], (element, (*shape[:axis], high - low, *shape[axis + 1 :])))


def _view(b: _Builder) -> None:
    name = b.pick(lambda e, s: len(s) > 0 and 0 not in s)
    if name:
        element, shape = b.known[name]
        size = int(np.prod(shape, dtype=int))
        other = b.rng.choice(((size,), (1, *shape), shape[::-1], (shape[0], size // shape[0])))
        b.add("Reshape", [name, b.integers(*other)], (element, other))


def _transpose(b: _Builder) -> None:
    name = b.pick(lambda e, s: len(s) > 1)
    if name:
        element, shape = b.known[name]
        order = b.rng.sample(range(len(shape)), len(shape))
        b.add("Transpose", [name], (element, tuple(shape[i] for i in order)), perm=order)


def _gather(b: _Builder) -> None:
    name = b.pick(lambda e, s: len(s) > 0 and s[0] > 1 and 0 not in s)
    if name:
        element, shape = b.known[name]
        given = [n for n in b.inputs if b.known[n][0] == INT64]
        indices = b.rng.choice([b.integers(1, 0, 1), *given])
        count = 4 if indices in given else 3
        b.add("Gather", [name, indices], (element, (count, *shape[1:])), axis=0)


def _reduction(b: _Builder) -> None:
    found = b.pick_float(1)
    if found:
        name, shape = found
        axis = b.rng.randrange(len(shape))
        kind = b.rng.choice(("ReduceMean", "ReduceMax", "ReduceL2"))
        left = (*shape[:axis], *shape[axis + 1 :])
        b.add(kind, [name], (FLOAT, left), axes=[axis], keepdims=0)


def _choice(b: _Builder) -> None:
    found = b.pick_float()
    if found:
        name, shape = found
        (mask,) = b.add("Greater", [name, b.normal()], (BOOL, shape))
        b.add("Where", [mask, name, b.another(name)], (FLOAT, shape))


def _mask(b: _Builder) -> None:
    name = b.pick(lambda e, s: e == BOOL and len(s) > 0)
    if name:
        b.add("Not", [name], b.known[name])


def _cast(b: _Builder) -> None:
    name = b.pick(lambda e, s: e != INT64)
    if name:
        to = b.rng.choice((HALF, FLOAT, FLOAT, DOUBLE, INT32, BOOL, UINT8))
        # What a float outside of an integer's range becomes is nobody's promise.
        source = name
        if b.known[name][0] in (FLOAT, DOUBLE, HALF) and to in (INT32, UINT8):
            (source,) = b.add("Abs", [name], b.known[name])
            (source,) = b.add("Tanh", [source], b.known[source])
        b.add("Cast", [source], (to, b.known[name][1]), to=to)


def _normalisation(b: _Builder) -> None:
    found = b.pick_float(2)
    if found:
        name, shape = found
        b.add("LayerNormalization", [name, b.normal(shape[-1])], (FLOAT, shape))


def _function_call(b: _Builder) -> None:
    found = b.pick_float()
    if found:
        name, shape = found
        b.add("SquareMinus", [name, b.same(name)], (FLOAT, shape), domain="local")


def _branch(b: _Builder, name: str, shape: Shape, kind: str) -> Any:
    """A body that captures a value of the graph around it."""
    out = f"{kind}_{len(b.nodes)}"
    return helper.make_graph(
        [
            helper.make_node(kind, [name], [f"{out}_inner"], f"{out}.one"),
            helper.make_node("Add", [f"{out}_inner", name], [out], f"{out}.two"),
        ],
        kind,
        [],
        [helper.make_tensor_value_info(out, FLOAT, shape)],
    )


def _condition(b: _Builder) -> None:
    found = b.pick_float(1)
    if not found:
        return
    name, shape = found
    if b.rng.random() < 0.4:
        decided = b.weight(np.array(b.rng.random() < 0.5))
    else:
        axes = list(range(len(shape)))
        (mean,) = b.add("ReduceMean", [name], (FLOAT, ()), axes=axes, keepdims=0)
        (decided,) = b.add("Greater", [mean, b.normal()], (BOOL, ()))
    bodies = {f"{side}_branch": _branch(b, name, shape, kind)
              for side, kind in (("then", "Relu"), ("else", "Neg"))}  # fmt: skip
    b.add("If", [decided], (FLOAT, shape), **bodies)


def _loop(b: _Builder) -> None:
    found = b.pick_float(1)
    if not found:
        return
    name, shape = found
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"], "loop.go"),
            helper.make_node("Tanh", ["carried"], ["bent"], "loop.tanh"),
            helper.make_node("Add", ["bent", name], ["next"], "loop.add"),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", INT64, ()),
            helper.make_tensor_value_info("go", BOOL, ()),
            helper.make_tensor_value_info("carried", FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("still", BOOL, ()),
            helper.make_tensor_value_info("next", FLOAT, shape),
        ],
    )
    rounds, go = b.weight(np.array(2, np.int64)), b.weight(np.array(True))
    b.add("Loop", [rounds, go, b.same(name)], (FLOAT, shape), body=body)


_KINDS: tuple[Callable[[_Builder], None], ...] = (
    *(_unary, _unary, _binary, _binary, _same_again, _convolution, _pool, _product, _concat),
    *(_concat, _split, _slice, _view, _transpose, _gather, _reduction, _choice, _mask, _cast),
    *(_normalisation, _function_call, _condition, _loop),
)
