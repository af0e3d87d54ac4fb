"""The model file as it is, run once by unoptimised ONNX Runtime: does it run, and what comes out.

The plan is about the lowered model: functions inlined, constants folded, branches of a constant
condition taken. That this is the same model is seen from its outputs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.execution.arena import first_difference
from planner.execution.inputs import constant_input, is_integer
from planner.execution.result import Mismatch
from planner.execution.sessions import (
    RuntimeRefusalError,
    model_session,
    raw_bytes,
    run_session,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from planner.execution.model import RunnableModel
    from planner.execution.reference import Reference
    from planner.execution.sessions import ValueType


class WholeRun(NamedTuple):
    """One run of a whole model.

    Attributes
    ----------
    inputs, outputs : dict of str to OrtValue
    cpu_s : float
        CPU seconds of the run, without making the session.
    notes : tuple of str
    """

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    cpu_s: float
    notes: tuple[str, ...]

    def disagreement(self, reference: Reference) -> Mismatch | None:
        """Return the first output that is not what the lowered model computes."""
        graph = reference.model.graph
        index = {tensor.name: i for i, tensor in enumerate(graph.tensors)}
        for name, value in self.outputs.items():
            tensor = index.get(name, -1)
            if tensor < 0 or not reference.holds(tensor):
                continue
            found, expected = raw_bytes(value), reference.content(tensor)
            same = len(found) == len(expected) and first_difference(found, expected) is None
            if not same:
                text = (
                    f"graph output {name}: the model file and its lowered graph do not give the "
                    "same bytes. Please report it: the plan is about the lowered graph."
                )
                return Mismatch(text, len(graph.operators), name)
        return None


def run_whole_model(
    model: RunnableModel,
    types: Mapping[str, ValueType],
    inputs: dict[str, Any],
    given: Collection[str],
) -> WholeRun:
    """Run the whole model; where drawn integers are out of some range, with all ones, all zeros.

    Parameters
    ----------
    types : mapping of str to ValueType
        Of the inputs.
    inputs : dict of str to OrtValue
    given : collection of str
        Inputs whose values are the caller's, never replaced.

    Raises
    ------
    RuntimeRefusalError
        If ONNX Runtime does not take the model, or fails on all these inputs.
    """
    file = model.executable.model
    weights = {tensor.name: model.weight(tensor.name) for tensor in file.graph.initializer}
    session = model_session(file, weights, prepacks=model.prepacks)
    wanted = {value.name for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]
    integers = [name for name in inputs if name not in given and is_integer(types[name])]
    attempts = [dict(inputs)]
    attempts += [
        {**inputs, **{name: constant_input(types[name], number) for name in integers}}
        for number in (1, 0)
        if integers
    ]
    refusal = RuntimeRefusalError("")
    for attempt, values in enumerate(attempts):
        feeds = {name: value for name, value in values.items() if name in wanted}
        started = time.process_time()
        try:
            results = run_session(session, outputs, feeds)
        except RuntimeRefusalError as error:
            refusal = refusal if attempt else error
            continue
        cpu_s = time.process_time() - started
        notes = []
        if attempt:
            notes.append(
                f"Integer inputs are all {2 - attempt}: the model does not run on random ones."
            )
        compared = dict(zip(outputs, results, strict=True))
        if model.halves:
            notes.append(
                "Half-precision values are rounded after every operator here, which ONNX Runtime "
                "does not do in a whole model: its outputs were not compared."
            )
            compared = {}
        return WholeRun(values, compared, cpu_s, tuple(notes))
    raise refusal
