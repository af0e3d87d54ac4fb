"""From a JSON object to a plan, believing nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from planner.graph import ModelReference, StorageKind
from planner.plan_encoding import FORMAT, VERSIONS
from planner.plan_fields import LARGEST_INTEGER, Fields, excerpt, require_format
from planner.plans import (
    ByteRange,
    InPlace,
    Metrics,
    Placement,
    Plan,
    PlannedOperator,
    PlannedStorage,
    PlannedTensor,
    Provenance,
    Transfer,
    TransferKind,
)
from planner.target_file import target_from_table

if TYPE_CHECKING:
    from planner.target import Target

_DEEPEST_SETTING = 16


def decode_plan(root: Fields) -> Plan:
    """Read a plan from the fields of its JSON object, see `planner.plan_file.read_plan`."""
    require_format(root, FORMAT, *VERSIONS)
    root.only(
        *("format", "version", "model", "target", "order", "storages", "placements", "transfers"),
        *("in_place", "metrics", "provenance"),
        optional=("operators", "recompute", "pipeline"),
    )
    if root.values.get("recompute", []) != []:
        raise root.error("recompute", "recomputation is not supported by this planner.")
    if root.values.get("pipeline") is not None:
        raise root.error("pipeline", "pipelines are not supported by this planner.")
    operators = tuple(
        map(_operator, root.entries("operators") if "operators" in root.values else ())
    )
    storages = tuple(_storage(fields, i) for i, fields in enumerate(root.entries("storages")))
    last_operator = len(operators) - 1 if operators else LARGEST_INTEGER
    return Plan(
        model=_model(root.object("model")),
        target=_target(root.object("target")),
        order=_order(root, last_operator),
        storages=storages,
        placements=tuple(_placement(f, len(storages)) for f in root.entries("placements")),
        transfers=tuple(_transfer(f, len(storages)) for f in root.entries("transfers")),
        in_place=tuple(
            _in_place(f, last_operator, len(storages)) for f in root.entries("in_place")
        ),
        metrics=_metrics(root.object("metrics")),
        provenance=_provenance(root.object("provenance")),
        operators=operators,
    )


def _model(fields: Fields) -> ModelReference:
    fields.only("name", "sha256", "dims", "shapes", "zero_copy", optional=("parameters",))
    return ModelReference(
        name=fields.text("name"),
        sha256=fields.text("sha256"),
        dims=tuple(fields.mapping("dims", Fields.integer).items()),
        shapes=tuple(fields.mapping("shapes", Fields.text).items()),
        zero_copy=_zero_copy(fields),
        parameters="parameters" in fields.values and fields.flag("parameters"),
    )


def _zero_copy(fields: Fields) -> bool | tuple[str, ...]:
    if isinstance(fields.values["zero_copy"], bool):
        return fields.flag("zero_copy")
    names = tuple(fields.texts("zero_copy"))
    if not names or len({*names}) < len(names):
        raise fields.error("zero_copy", "is to list distinct names, or to be false without any.")
    return names


def _target(fields: Fields) -> Target:
    fields.only(
        *("name", "description", "operands_resident", "io_memory", "constant_memory"),
        *("memories", "links"),
        optional=("compute",),
    )
    table = _known(fields)
    table["memory"] = [_known(entry) for entry in fields.entries("memories")]
    table["link"] = [_known(entry) for entry in fields.entries("links")]
    del table["memories"], table["links"]
    if "compute" in table:
        table["compute"] = _known(fields.object("compute"))
    return target_from_table(table, fields.file, fields.where)


def _known(fields: Fields) -> dict[str, Any]:
    return {key: value for key, value in fields.values.items() if not key.startswith("x-")}


def _order(root: Fields, last_operator: int) -> tuple[int, ...]:
    order = root._typed("order", list, "a list")
    for step, operator in enumerate(order):
        if type(operator) is not int or not 0 <= operator <= last_operator:
            raise root.error(f"order[{step}]", f"{excerpt(operator)} is no operator's index.")
    return tuple(order)


def _operator(fields: Fields) -> PlannedOperator:
    fields.only("name", "type")
    return PlannedOperator(fields.text("name"), fields.text("type"))


def _storage(fields: Fields, index: int) -> PlannedStorage:
    fields.only("id", "name", "bytes", "kind", "is_output", "tensors")
    if fields.integer("id") != index:
        raise fields.error("id", f"{fields.integer('id'):,} at place {index:,} of the list.")
    return PlannedStorage(
        name=fields.text("name"),
        size_bytes=fields.integer("bytes"),
        kind=fields.choice("kind", StorageKind),
        is_output=fields.flag("is_output"),
        tensors=tuple(map(_tensor, fields.entries("tensors"))),
    )


def _tensor(fields: Fields) -> PlannedTensor:
    fields.only("name", "offset", "bytes")
    return PlannedTensor(fields.text("name"), fields.integer("offset"), fields.integer("bytes"))


def _placement(fields: Fields, storages: int) -> Placement:
    fields.only("storage", "memory", "offset", "start", "end", optional=("bytes",))
    return Placement(
        storage=fields.integer("storage", most=storages - 1),
        memory=fields.text("memory"),
        offset=fields.integer("offset", least=-LARGEST_INTEGER),
        start=fields.integer("start", least=-LARGEST_INTEGER),
        end=fields.integer("end", least=-LARGEST_INTEGER),
        part=_part(fields),
    )


def _transfer(fields: Fields, storages: int) -> Transfer:
    fields.only("storage", "from", "to", "start", "end", "kind", optional=("bytes",))
    return Transfer(
        storage=fields.integer("storage", most=storages - 1),
        source=fields.text("from"),
        destination=fields.text("to"),
        start=fields.integer("start", least=-LARGEST_INTEGER),
        end=fields.integer("end", least=-LARGEST_INTEGER),
        kind=fields.choice("kind", TransferKind),
        part=_part(fields),
    )


def _part(fields: Fields) -> ByteRange | None:
    if "bytes" not in fields.values:
        return None
    limits = fields._typed("bytes", list, "a list")
    if len(limits) != 2 or not all(
        type(limit) is int and 0 <= limit <= LARGEST_INTEGER for limit in limits
    ):
        raise fields.error("bytes", f"{excerpt(limits)} is not two counts of bytes.")
    return ByteRange(*limits)


def _in_place(fields: Fields, last_operator: int, storages: int) -> InPlace:
    fields.only("operator", "output", "input")
    return InPlace(
        operator=fields.integer("operator", most=last_operator),
        output=fields.integer("output", most=storages - 1),
        input=fields.integer("input", most=storages - 1),
    )


def _metrics(fields: Fields) -> Metrics:
    fields.only(
        *("peak", "arena", "traffic", "compulsory", "latency_s", "compute_s", "stall_s"),
        *("lower_bound", "cost_source"),
        optional=("relocated",),
    )
    bounds = fields.object("lower_bound")
    bounds.only("peak", "traffic", "latency_s")
    return Metrics(
        peak_bytes=fields.mapping("peak", Fields.integer),
        arena_bytes=fields.mapping("arena", Fields.integer),
        traffic_bytes=fields.integer("traffic"),
        compulsory_bytes=fields.integer("compulsory"),
        latency_s=fields.seconds_or_null("latency_s"),
        compute_s=fields.seconds_or_null("compute_s"),
        stall_s=fields.seconds_or_null("stall_s"),
        peak_lower_bound_bytes=bounds.integer_or_null("peak"),
        traffic_lower_bound_bytes=bounds.integer_or_null("traffic"),
        latency_lower_bound_s=bounds.seconds_or_null("latency_s"),
        cost_source=fields.text("cost_source"),
        relocated_bytes=fields.integer("relocated") if "relocated" in fields.values else 0,
    )


def _provenance(fields: Fields) -> Provenance:
    fields.only("planner", "contender", "status", "objective", "seed", "wall_s", "settings")
    settings = fields.object("settings")
    for key, value in settings.values.items():
        _require_plain(settings, key, value, 1)
    return Provenance(
        contender=fields.text("contender"),
        status=fields.text("status"),
        objective=fields.text("objective"),
        seed=fields.integer("seed", least=-LARGEST_INTEGER),
        wall_s=fields.seconds("wall_s"),
        planner_version=fields.text("planner"),
        settings=settings.values,
    )


def _require_plain(settings: Fields, key: str, value: Any, depth: int) -> None:
    """Refuse settings nested too deeply and numbers that overflow to infinity."""
    if depth > _DEEPEST_SETTING:
        raise settings.error(key, f"nested more than {_DEEPEST_SETTING} levels deep.")
    if isinstance(value, float) and not math.isfinite(value):
        raise settings.error(key, "a number is not finite.")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _require_plain(settings, key, item, depth + 1)
