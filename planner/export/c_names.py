"""What things are called in a generated header and source."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from planner.export.c_text import distinct_identifiers, identifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.export.c_schedule import Schedule
    from planner.export.model_calls import ModelCalls


class CNames(NamedTuple):
    """Identifiers, unique in their tables.

    Attributes
    ----------
    prefix : str
        Begins every identifier; in capitals those of macros and enumerators.
    memory : mapping of str to str
        Enumerator by memory name.
    inputs, outputs, constants : tuple of str
        Enumerators, in the order of the schedule.
    functions : mapping of str to str
        Of the user, by operator type.
    """

    prefix: str
    memory: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[str, ...]
    functions: Mapping[str, str]

    @property
    def upper(self) -> str:
        """The prefix of macros and enumerators."""
        return self.prefix.upper()


def c_names(model: ModelCalls, schedule: Schedule, prefix: str) -> CNames:
    """Name everything of a schedule that users refer to."""
    graph, upper = model.graph, prefix.upper()

    def enumerators(kind: str, names: list[str]) -> tuple[str, ...]:
        tails = distinct_identifiers(names, upper=True)
        return tuple(f"{upper}_{kind}_{tail}" for tail in tails)

    def tensors(kind: str, indices: list[int]) -> tuple[str, ...]:
        return enumerators(kind, [graph.tensors[index].name for index in indices])

    types = list(dict.fromkeys(graph.operators[call.operator].type for call in schedule.calls))
    memories = enumerators("MEMORY", list(schedule.memories))
    return CNames(
        prefix,
        dict(zip(schedule.memories, memories, strict=True)),
        tensors("INPUT", [tensor for tensor, _ in schedule.inputs]),
        tensors("OUTPUT", [tensor for tensor, _ in schedule.outputs]),
        tensors("CONSTANT", list(schedule.constants)),
        {
            type_: f"{prefix}_op_{tail}"
            for type_, tail in zip(types, distinct_identifiers(types), strict=True)
        },
    )


def c_prefix(name: str) -> str:
    """Return a prefix made of a file or model name: an identifier in small letters."""
    prefix = identifier(name).lower()
    # The shared part of the header has the prefix ``planner``; a digit begins no identifier.
    return f"model_{prefix}" if prefix[0].isdigit() or prefix == "planner" else prefix


def template(name: str, names: CNames) -> str:
    """Return a C file of this package with the prefix filled in."""
    text = resources.files("planner.export").joinpath(name).read_text(encoding="utf-8")
    return text.replace("@name@", names.prefix).replace("@NAME@", names.upper)
