"""A plan as a header and a source file in C99: a static schedule with the user's operators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.checker import check
from planner.errors import BadFileError, InvalidPlanError
from planner.export.c_header import c_header
from planner.export.c_names import c_names, c_prefix
from planner.export.c_schedule import Address, schedule
from planner.export.c_source import c_source
from planner.export.c_text import LONGEST_TEXT
from planner.parameters import with_parameters
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os

    from planner.export.c_schedule import Schedule
    from planner.export.model_calls import Attribute, ModelCalls
    from planner.graph import Graph
    from planner.plans import Plan


class CFiles(NamedTuple):
    """The two texts.

    Attributes
    ----------
    prefix : str
        Begins every identifier; the source includes ``PREFIX.h``.
    header, source : str
    constants : tuple of str
        Names of the tensors whose addresses the instance has, in that order.
    note : str
        What C has no place for or the user has to see to; "" if nothing.
    """

    prefix: str
    header: str
    source: str
    constants: tuple[str, ...]
    note: str


def c_files(model: ModelCalls, plan: Plan, name: str = "") -> CFiles:
    """Write a plan as a static schedule in C99.

    The same model, plan and name give the same bytes. No heap, no headers but ``stddef.h`` and
    ``stdint.h``. See docs/export.md.

    Parameters
    ----------
    model : ModelCalls
        Of the plan's model, see `frontends.onnx.calls.load_calls`.
    plan : Plan
    name : str
        Becomes the prefix of all identifiers; default the model's.

    Raises
    ------
    InvalidPlanError
        If `planner.check` finds anything.
    """
    require_legal(model.graph, plan)
    prefix = c_prefix(name or Path(plan.model.name).stem)
    kept = model._replace(
        operators=tuple(
            call._replace(attributes=tuple(filter(_fits, call.attributes)))
            for call in model.operators
        )
    )
    found = schedule(kept, plan)
    names = c_names(kept, found, prefix)
    return CFiles(
        prefix,
        c_header(kept, plan, found, names),
        c_source(kept, plan, found, names),
        tuple(model.graph.tensors[tensor].name for tensor in found.constants),
        _note(model, found),
    )


def write_c(model: ModelCalls, plan: Plan, path: str | os.PathLike[str] = "") -> CFiles:
    """Write ``PATH.h`` and ``PATH.c``, both or none; see `c_files`.

    Parameters
    ----------
    path : path
        Its last part, an ending ``.c`` or ``.h`` apart, becomes the prefix of identifiers, and with
        it the name of the files. A directory or nothing: they are named after the model.

    Raises
    ------
    InvalidPlanError
        If the plan is not legal.
    BadFileError
        If the files cannot be written.
    """
    place = Path(path)
    if place.exists() and not place.is_dir() and not place.is_file():
        raise BadFileError(f"{place} is not a regular file: the C export writes two files.")
    folder, name = (place, "") if place.is_dir() else (place.parent, place.name)
    files = c_files(model, plan, name.removesuffix(".c").removesuffix(".h"))
    write_whole(
        {folder / f"{files.prefix}.h": files.header, folder / f"{files.prefix}.c": files.source}
    )
    return files


def load_planned_calls(source: Any, plan: Plan) -> ModelCalls:
    """Lower a model the way the plan's own model was lowered, with the calls of its operators.

    Parameters
    ----------
    source : path or onnx.ModelProto
    plan : Plan

    Raises
    ------
    PlannerError
        As `planner.load`.
    """
    from frontends.onnx.calls import load_calls

    model = load_calls(
        source,
        dims=dict(plan.model.dims),
        shapes=dict(plan.model.shapes),
        zero_copy=plan.model.zero_copy,
        alignment_bytes=plan.target.nearest.alignment_bytes,
    )
    return model._replace(graph=with_parameters(model.graph)) if plan.model.parameters else model


def require_legal(graph: Graph, plan: Plan) -> None:
    """Raise `InvalidPlanError` with the first violation of a plan that has any."""
    violations = check(graph, plan.target, plan)
    if violations:
        more = f" ({len(violations) - 1:,} more: plan check lists them)" * (len(violations) > 1)
        raise InvalidPlanError(
            f"the plan is not legal, so nothing was written: {violations[0].message}{more}"
        )


def _fits(attribute: Attribute) -> bool:
    return all(
        len(value.encode("utf-8", "replace")) <= LONGEST_TEXT
        for value in attribute.values
        if isinstance(value, str)
    )


def _note(model: ModelCalls, found: Schedule) -> str:
    """Everything in one line."""
    sentences = []
    long_texts = [
        f"{model.graph.operators[call.operator].type}.{attribute.name}"
        for call in found.calls
        for attribute in model.operators[call.operator].attributes
        if not _fits(attribute)
    ]
    left_out = [*model.left_out, *dict.fromkeys(long_texts)]
    if left_out:
        sentences.append(f"Attributes without a place in C are left out: {_some(left_out)}.")
    computed = [
        model.graph.tensors[tensor].name
        for tensor in (*found.constants, *(tensor for tensor, _ in found.inputs))
        if tensor in model.computed or tensor in model.known
    ]
    if computed:
        sentences.append(
            "Constants that the model computes from others have to be computed once by you: "
            f"{_some(computed)}."
        )
    crooked = _misaligned(model, found)
    if crooked:
        sentences.append(
            f"Operands at addresses that are no multiple of their element's size: {_some(crooked)}."
        )
    return " ".join(sentences)


def _misaligned(model: ModelCalls, found: Schedule) -> list[str]:
    """Names of tensors at offsets at which a processor may be unable to read their elements."""
    names: dict[str, None] = {}
    for call in found.calls:
        of = model.operators[call.operator]
        places = zip((*of.inputs, *of.outputs), (*call.inputs, *call.outputs), strict=True)
        for tensor, place in places:
            if not isinstance(place, Address):
                continue
            described = model.graph.tensors[tensor]
            elements = 1
            for dim in described.shape:
                elements *= dim
            item = max(1, described.size_bytes // max(1, elements))
            if place.offset % item:
                names[described.name] = None
    return list(names)


def _some(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
