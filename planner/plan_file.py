"""Plans as JSON: the same plan is the same bytes, and nothing is believed unread."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from planner.errors import BadFileError
from planner.graph import ModelReference, StorageKind
from planner.plans import (
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
    from collections.abc import Callable, Iterator, Mapping
    from enum import StrEnum

    from planner.target import Target

FORMAT = "planner.plan"
VERSION = 1

_LARGEST_FILE_BYTES = 1 << 28
_LARGEST_INTEGER = (1 << 53) - 1
_DEEPEST_SETTING = 16

Choice = TypeVar("Choice", bound="StrEnum")
Item = TypeVar("Item")


def plan_to_json(plan: Plan) -> str:
    """Return the plan as JSON text: sorted keys, two-space indent, final newline.

    Raises
    ------
    ValueError
        If a number is not finite or a setting is not representable in JSON.
    """
    return _dump(_plan_object(plan))


def plan_digest(plan: Plan) -> str:
    """SHA-256, in hex, of the plan's JSON without the wall time it took to make."""
    document = _plan_object(plan)
    del document["provenance"]["wall_s"]
    return hashlib.sha256(_dump(document).encode()).hexdigest()


def write_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan; the file appears whole or not at all.

    Raises
    ------
    BadFileError
        If the file cannot be written.
    """
    path, text = Path(path), plan_to_json(plan)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="ascii", newline="\n")
        draft.replace(path)
    except OSError as error:
        raise BadFileError(f"{path}: cannot be written: {error.strerror or error}.") from None
    finally:
        draft.unlink(missing_ok=True)


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan. Whether it is legal is for `planner.check` to say.

    Raises
    ------
    BadFileError
        If the file is missing, too large, not JSON, of another format version, or if a field is
        missing, unknown or out of range. The message names file, field and value.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise BadFileError(f"{path}: {error.strerror or error}.") from None
    if len(data) > _LARGEST_FILE_BYTES:
        raise BadFileError(f"{path.name}: larger than {_LARGEST_FILE_BYTES:,} bytes. Refused.")
    return plan_from_json(data, path.name)


def plan_from_json(data: str | bytes, file: str = "plan") -> Plan:
    """Read a plan from JSON text; ``file`` names it in error messages. See `read_plan`."""
    try:
        document = json.loads(data, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadFileError(f"{file}: nested too deeply. Refused.") from None
    except ValueError as error:  # JSON and Unicode errors, over-long integers, the two hooks
        raise BadFileError(f"{file}: not a JSON document: {error}.") from None
    return _plan(_Fields(document, file, ""))


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, indent=2, allow_nan=False) + "\n"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(k for k in keys if keys.count(k) > 1)!r} appears twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON knows")


def _plan_object(plan: Plan) -> dict[str, Any]:
    metrics, provenance = plan.metrics, plan.provenance
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": {
            "name": plan.model.name,
            "sha256": plan.model.sha256,
            "dims": dict(plan.model.dims),
            "shapes": dict(plan.model.shapes),
            "zero_copy": plan.model.zero_copy,
        },
        "target": _target_object(plan.target),
        "order": list(plan.order),
        "operators": [{"name": o.name, "type": o.type} for o in plan.operators],
        "storages": [
            {
                "id": index,
                "name": storage.name,
                "bytes": storage.size_bytes,
                "kind": storage.kind.value,
                "is_output": storage.is_output,
                "tensors": [
                    {"name": t.name, "offset": t.offset_bytes, "bytes": t.size_bytes}
                    for t in storage.tensors
                ],
            }
            for index, storage in enumerate(plan.storages)
        ],
        "placements": [placement._asdict() for placement in plan.placements],
        "transfers": [
            {
                "storage": t.storage,
                "from": t.source,
                "to": t.destination,
                "start": t.start,
                "end": t.end,
                "kind": t.kind.value,
            }
            for t in plan.transfers
        ],
        "in_place": [pair._asdict() for pair in plan.in_place],
        "recompute": [],
        "pipeline": None,
        "metrics": {
            "peak": dict(metrics.peak_bytes),
            "arena": dict(metrics.arena_bytes),
            "traffic": metrics.traffic_bytes,
            "compulsory": metrics.compulsory_bytes,
            "latency_s": _float(metrics.latency_s),
            "compute_s": _float(metrics.compute_s),
            "stall_s": _float(metrics.stall_s),
            "lower_bound": {
                "peak": metrics.peak_lower_bound_bytes,
                "traffic": metrics.traffic_lower_bound_bytes,
                "latency_s": _float(metrics.latency_lower_bound_s),
            },
            "cost_source": metrics.cost_source,
        },
        "provenance": {
            "planner": provenance.planner_version,
            "contender": provenance.contender,
            "status": provenance.status,
            "objective": provenance.objective,
            "seed": provenance.seed,
            "wall_s": float(provenance.wall_s),
            "settings": dict(provenance.settings),
        },
    }


def _target_object(target: Target) -> dict[str, Any]:
    memories = []
    for memory in target.memories:
        entry: dict[str, Any] = {
            "name": memory.name,
            "alignment": memory.alignment_bytes,
            "latency_s": float(memory.latency_s),
            "writable": memory.writable,
        }
        if memory.capacity_bytes is not None:
            entry["capacity"] = memory.capacity_bytes
        for field in ("read_bandwidth", "write_bandwidth"):
            if getattr(memory, field) is not None:
                entry[field] = float(getattr(memory, field))
        memories.append(entry)
    described: dict[str, Any] = {
        "name": target.name,
        "description": target.description,
        "operands_resident": target.operands_resident,
        "io_memory": target.io_memory,
        "constant_memory": target.constant_memory,
        "memories": memories,
        "links": [
            {
                "from": link.source,
                "to": link.destination,
                "bandwidth": float(link.bandwidth),
                "setup_s": float(link.setup_s),
                "channels": link.channels,
            }
            for link in target.links
        ],
    }
    if target.compute is not None:
        described["compute"] = {
            "mac_rate": {k: float(v) for k, v in asdict(target.compute)["mac_rate"].items()},
            "vector_rate": float(target.compute.vector_rate),
            "launch_overhead_s": float(target.compute.launch_overhead_s),
        }
    return described


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


class _Fields:
    """A JSON object whose errors name the file, the field and the value."""

    def __init__(self, values: Any, file: str, where: str) -> None:
        self.file = file
        self.where = where
        if not isinstance(values, dict):
            raise BadFileError(f"{file}: {where or 'the document'} is not an object.")
        self.values: dict[str, Any] = values

    def error(self, key: str, text: str) -> BadFileError:
        return BadFileError(f"{self.file}: {self.where}{'.' if self.where else ''}{key}: {text}")

    def only(self, *keys: str, optional: tuple[str, ...] = ()) -> None:
        """Require the keys and refuse others, ``x-`` keys apart."""
        for key in keys:
            if key not in self.values:
                raise self.error(key, "missing.")
        if len(self.values) > len(keys):
            for key in self.values:
                if key not in keys and key not in optional and not key.startswith("x-"):
                    raise self.error(key, "unknown field.")

    def _typed(self, key: str, kind: type[Item], name: str) -> Item:
        value = self.values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"{_excerpt(value)} is not {name}.")
        return value

    def text(self, key: str) -> str:
        return self._typed(key, str, "text")

    def flag(self, key: str) -> bool:
        return self._typed(key, bool, "true or false")

    def integer(self, key: str, least: int = 0, most: int = _LARGEST_INTEGER) -> int:
        value = self._typed(key, int, "an integer")
        if not least <= value <= most:
            raise self.error(key, f"{value:,} is outside {least:,} to {most:,}.")
        return value

    def integer_or_null(self, key: str) -> int | None:
        return None if self.values[key] is None else self.integer(key)

    def seconds(self, key: str) -> float:
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"{_excerpt(value)} is not a number.")
        if not 0 <= value <= _LARGEST_INTEGER or not math.isfinite(value):
            raise self.error(key, f"{value:g} is not a finite, positive number of seconds.")
        return float(value)

    def seconds_or_null(self, key: str) -> float | None:
        return None if self.values[key] is None else self.seconds(key)

    def choice(self, key: str, choices: type[Choice]) -> Choice:
        value = self.text(key)
        try:
            return choices(value)
        except ValueError:
            raise self.error(key, f"{value!r} is none of {', '.join(choices)}.") from None

    def object(self, key: str) -> _Fields:
        return _Fields(self.values[key], self.file, f"{self.where}.{key}" if self.where else key)

    def entries(self, key: str) -> Iterator[_Fields]:
        prefix = f"{self.where}.{key}" if self.where else key
        for index, value in enumerate(self._typed(key, list, "a list")):
            yield _Fields(value, self.file, f"{prefix}[{index}]")

    def mapping(self, key: str, read: Callable[[_Fields, str], Item]) -> dict[str, Item]:
        fields = self.object(key)
        return {name: read(fields, name) for name in fields.values}


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _plan(root: _Fields) -> Plan:
    if root.values.get("format") != FORMAT:
        raise root.error("format", f'{_excerpt(root.values.get("format"))} is not "{FORMAT}".')
    if "version" not in root.values:
        raise root.error("version", "missing.")
    version = root.integer("version")
    if version != VERSION:
        raise root.error("version", f"{version}. This planner reads version {VERSION}.")
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
    last_operator = len(operators) - 1 if operators else _LARGEST_INTEGER
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


def _model(fields: _Fields) -> ModelReference:
    fields.only("name", "sha256", "dims", "shapes", "zero_copy")
    return ModelReference(
        name=fields.text("name"),
        sha256=fields.text("sha256"),
        dims=tuple(fields.mapping("dims", _Fields.integer).items()),
        shapes=tuple(fields.mapping("shapes", _Fields.text).items()),
        zero_copy=fields.flag("zero_copy"),
    )


def _target(fields: _Fields) -> Target:
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


def _known(fields: _Fields) -> dict[str, Any]:
    return {key: value for key, value in fields.values.items() if not key.startswith("x-")}


def _order(root: _Fields, last_operator: int) -> tuple[int, ...]:
    order = root._typed("order", list, "a list")
    for step, operator in enumerate(order):
        if type(operator) is not int or not 0 <= operator <= last_operator:
            raise root.error(f"order[{step}]", f"{_excerpt(operator)} is no operator's index.")
    return tuple(order)


def _operator(fields: _Fields) -> PlannedOperator:
    fields.only("name", "type")
    return PlannedOperator(fields.text("name"), fields.text("type"))


def _storage(fields: _Fields, index: int) -> PlannedStorage:
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


def _tensor(fields: _Fields) -> PlannedTensor:
    fields.only("name", "offset", "bytes")
    return PlannedTensor(fields.text("name"), fields.integer("offset"), fields.integer("bytes"))


def _placement(fields: _Fields, storages: int) -> Placement:
    fields.only("storage", "memory", "offset", "start", "end")
    return Placement(
        storage=fields.integer("storage", most=storages - 1),
        memory=fields.text("memory"),
        offset=fields.integer("offset", least=-_LARGEST_INTEGER),
        start=fields.integer("start", least=-_LARGEST_INTEGER),
        end=fields.integer("end", least=-_LARGEST_INTEGER),
    )


def _transfer(fields: _Fields, storages: int) -> Transfer:
    fields.only("storage", "from", "to", "start", "end", "kind")
    return Transfer(
        storage=fields.integer("storage", most=storages - 1),
        source=fields.text("from"),
        destination=fields.text("to"),
        start=fields.integer("start", least=-_LARGEST_INTEGER),
        end=fields.integer("end", least=-_LARGEST_INTEGER),
        kind=fields.choice("kind", TransferKind),
    )


def _in_place(fields: _Fields, last_operator: int, storages: int) -> InPlace:
    fields.only("operator", "output", "input")
    return InPlace(
        operator=fields.integer("operator", most=last_operator),
        output=fields.integer("output", most=storages - 1),
        input=fields.integer("input", most=storages - 1),
    )


def _metrics(fields: _Fields) -> Metrics:
    fields.only(
        *("peak", "arena", "traffic", "compulsory", "latency_s", "compute_s", "stall_s"),
        *("lower_bound", "cost_source"),
    )
    bounds = fields.object("lower_bound")
    bounds.only("peak", "traffic", "latency_s")
    return Metrics(
        peak_bytes=fields.mapping("peak", _Fields.integer),
        arena_bytes=fields.mapping("arena", _Fields.integer),
        traffic_bytes=fields.integer("traffic"),
        compulsory_bytes=fields.integer("compulsory"),
        latency_s=fields.seconds_or_null("latency_s"),
        compute_s=fields.seconds_or_null("compute_s"),
        stall_s=fields.seconds_or_null("stall_s"),
        peak_lower_bound_bytes=bounds.integer_or_null("peak"),
        traffic_lower_bound_bytes=bounds.integer_or_null("traffic"),
        latency_lower_bound_s=bounds.seconds_or_null("latency_s"),
        cost_source=fields.text("cost_source"),
    )


def _provenance(fields: _Fields) -> Provenance:
    fields.only("planner", "contender", "status", "objective", "seed", "wall_s", "settings")
    settings = fields.object("settings")
    for key, value in settings.values.items():
        _require_plain(settings, key, value, 1)
    return Provenance(
        contender=fields.text("contender"),
        status=fields.text("status"),
        objective=fields.text("objective"),
        seed=fields.integer("seed", least=-_LARGEST_INTEGER),
        wall_s=fields.seconds("wall_s"),
        planner_version=fields.text("planner"),
        settings=settings.values,
    )


def _require_plain(settings: _Fields, key: str, value: Any, depth: int) -> None:
    """Refuse settings nested too deeply and numbers that overflow to infinity."""
    if depth > _DEEPEST_SETTING:
        raise settings.error(key, f"nested more than {_DEEPEST_SETTING} levels deep.")
    if isinstance(value, float) and not math.isfinite(value):
        raise settings.error(key, "a number is not finite.")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _require_plain(settings, key, item, depth + 1)
