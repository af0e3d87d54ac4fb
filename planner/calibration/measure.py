"""Times the operators of models one by one, equal ones once, and the models as a whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from onnx import NodeProto

from planner.calibration.stopwatch import Stopwatch, bound_run
from planner.execution.inputs import drawn_input
from planner.execution.model import RunnableModel
from planner.execution.sessions import RuntimeRefusalError
from planner.graph import StorageKind
from planner.measured import moved_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from frontends.onnx.executable import Executable
    from frontends.onnx.nodes import Node
    from planner.graph import Graph

# Weights of this size or more are not in the caches any more when a model comes back to them.
_COLD_BYTES = 1 << 17
# Short operators run as several copies in one session: together this long, as far as can be told
# beforehand, and no more of them than that.
_COPIES_S = 2e-4
_MOST_COPIES = 32
_GUESSED_RATE = 1e10


class Sample(NamedTuple):
    """One distinct operator and its measured time.

    Attributes
    ----------
    signature, kind : str
        `planner.operator_signature`: by shape, and by class.
    dtype : str
        Element type of the first operand.
    macs, vector_ops, size_bytes : int
        Arithmetic; bytes of all operands and results, constants included.
    seconds : float
    """

    signature: str
    kind: str
    dtype: str
    macs: int
    vector_ops: int
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """A model's latency, and of which operators it consists.

    Attributes
    ----------
    name : str
    seconds : float
        Processor time of one run of the whole model.
    operators : mapping of signature to int
        How often each occurs; views, which cost nothing, are left out.
    samples : mapping of signature to Sample
        Of these operators. The time of one with several attributes is the mean over these.
    """

    name: str
    seconds: float
    operators: Counter[str]
    samples: dict[str, Sample]


class Measurer:
    """Measures models one after the other and remembers the operators of the earlier ones."""

    def __init__(self, *, seed: int, repeat: int) -> None:
        self._seed = seed
        self._stopwatch = Stopwatch(repeat)
        # By signature, then by attributes: those that shapes do not tell.
        self._seconds: dict[str, dict[bytes, float]] = {}

    def measure(
        self, name: str, executable: Executable, on_progress: Callable[[str, str], None]
    ) -> MeasuredModel:
        """Time a model and those of its operators that are new.

        Raises
        ------
        RuntimeRefusalError
            If ONNX Runtime does not take the model or one of its operators.
        """
        graph = executable.graph
        model = RunnableModel(executable, graph)
        on_progress(name, "the whole model")
        seconds = self._whole(model)
        operators: Counter[str] = Counter()
        own: dict[str, dict[bytes, float]] = {}
        samples: dict[str, Sample] = {}
        timed = [o for o in range(len(graph.operators)) if not graph.is_view(o)]
        for done, operator in enumerate(timed, 1):
            signature = graph.signatures[operator]
            operators[signature] += 1
            node = executable.nodes[operator]
            variants = self._seconds.setdefault(signature, {})
            attributes = b"".join(sorted(a.SerializeToString() for a in node.proto.attribute))
            if attributes not in variants:
                on_progress(name, f"operator {done:,} of {len(timed):,}  {node.type}")
                variants[attributes] = self._operator(model, operator)
            times = own.setdefault(signature, {})
            times[attributes] = variants[attributes]
            samples[signature] = _sample(graph, operator, fmean(times.values()))
        return MeasuredModel(name, seconds, operators, samples)

    def _whole(self, model: RunnableModel) -> float:
        """Seconds of the whole model, constants computed beforehand as in a plan."""
        nodes = [_renamed(node, {}) for node in model.executable.nodes]
        written = {name for node in nodes for name in node.results}
        outputs = [v.name for v in model.executable.model.graph.output if v.name in written]
        session, constants = model.session(nodes, outputs, model.computed)
        run = bound_run(session, {**self._drawn(model, session, constants), **constants}, outputs)
        return max(self._stopwatch.warm(run) - self._stopwatch.call_s, 0.0)

    def _operator(self, model: RunnableModel, operator: int) -> float:
        graph, node = model.graph, model.executable.nodes[operator]
        cold = _constant_bytes(graph, operator) >= _COLD_BYTES
        copies = 1 if cold else _copies(graph, operator)
        nodes = _repeated(graph, operator, node, copies)
        results = nodes[-1].results
        session, constants = model.session(nodes, results, model.computed)
        operands = self._drawn(model, session, constants)
        try:
            bound_run(session, {**operands, **constants}, results)()
        except RuntimeRefusalError:  # drawn integers may be out of a range that the model keeps
            operands = self._computed(model, operator, operands)
        run = bound_run(session, {**operands, **constants}, results)
        if cold:
            seconds = self._stopwatch.cold(run, operands.values())
        else:
            seconds = self._stopwatch.warm(run)
        return max(seconds - self._stopwatch.call_s, 0.0) / copies

    def _drawn(
        self, model: RunnableModel, session: Any, constants: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Values of the inputs of a session, constants apart."""
        place = {tensor.name: index for index, tensor in enumerate(model.graph.tensors)}
        names = [value.name for value in session.get_inputs() if value.name not in constants]
        return {n: drawn_input(n, model.type_of(place[n]), self._seed) for n in names}

    def _computed(
        self, model: RunnableModel, operator: int, operands: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Values of operands as the model computes them from drawn inputs."""
        graph = model.graph
        given = {
            tensor.name: drawn_input(tensor.name, model.type_of(index), self._seed)
            for index, tensor in enumerate(graph.tensors)
            if graph.producer[index] < 0
            and graph.storages[tensor.storage].kind is StorageKind.INPUT
        }
        values = {**given, **model.segment(range(operator), given)} if operator else given
        return {name: values[name] for name in operands}


def merged_samples(models: Iterable[MeasuredModel]) -> dict[str, Sample]:
    """Operators of several models by signature; times are means over the models that have one."""
    times: dict[str, list[float]] = {}
    found: dict[str, Sample] = {}
    for model in models:
        for signature, sample in model.samples.items():
            times.setdefault(signature, []).append(sample.seconds)
            found[signature] = sample
    return {s: sample._replace(seconds=fmean(times[s])) for s, sample in found.items()}


def _sample(graph: Graph, operator: int, seconds: float) -> Sample:
    node = graph.operators[operator]
    first = next(iter((*node.inputs, *node.outputs)), None)
    return Sample(
        graph.signatures[operator],
        graph.operator_classes[operator],
        "" if first is None else graph.tensors[first].dtype,
        node.macs,
        node.vector_ops,
        moved_bytes(graph, operator),
        seconds,
    )


def _constant_bytes(graph: Graph, operator: int) -> int:
    tensors = (graph.tensors[index] for index in graph.operators[operator].inputs)
    return sum(
        tensor.size_bytes
        for tensor in tensors
        if graph.storages[tensor.storage].kind is StorageKind.CONSTANT
    )


def _copies(graph: Graph, operator: int) -> int:
    node = graph.operators[operator]
    work = node.macs + node.vector_ops + moved_bytes(graph, operator)
    guess_s = work / _GUESSED_RATE
    return max(1, min(_MOST_COPIES, int(_COPIES_S / max(guess_s, 1e-9))))


def _repeated(graph: Graph, operator: int, node: Node, copies: int) -> list[Node]:
    """Copies of a node; one that may work in place reads what the copy before it wrote.

    Then ONNX Runtime works in place, too, as it does in the model.
    """
    options = graph.operators[operator].in_place
    through = graph.tensors[options[0].input].name if options else None
    result = graph.tensors[options[0].output].name if options else None
    nodes: list[Node] = []
    for copy in range(copies):
        rename = {name: f"{name}~{copy}" for name in node.results}
        if copy and through is not None and through in node.inputs:
            rename[through] = f"{result}~{copy - 1}"
        nodes.append(_renamed(node, rename))
    return nodes


def _renamed(node: Node, rename: Mapping[str, str]) -> Node:
    """Return a node on other values, without a name: ONNX Runtime refuses repeated ones."""
    proto = NodeProto()
    proto.CopyFrom(node.proto)
    proto.ClearField("name")
    for names in (proto.input, proto.output):
        names[:] = [rename.get(name, name) for name in names]
    return replace(
        node,
        proto=proto,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        reads=tuple(rename.get(name, name) for name in node.reads),
        results=tuple(rename.get(name, name) for name in node.results),
    )
