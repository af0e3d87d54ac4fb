"""From a JSON object to a pipeline problem and its timeline, believing nothing."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.errors import BadFileError, UsageError
from planner.pipelining.files.encoding import FORMAT, VERSION
from planner.pipelining.problem import (
    Offloading,
    PipelineObjective,
    PipelineProblem,
    ShardedParameters,
    StageCosts,
    VocabularyLayer,
)
from planner.pipelining.schedule import (
    Copy,
    CopyKind,
    Pass,
    PassKind,
    PipelineSchedule,
    WeightUnit,
)
from planner.pipelining.simulator import PipelineTimeline, Span
from planner.plan_fields import LARGEST_INTEGER, Fields, excerpt, require_format
from planner.problem import Status

if TYPE_CHECKING:
    from collections.abc import Callable

_PASS = re.compile(r"([FBWDST]) (\d{1,7})\.(\d{1,7})", re.ASCII)


class StoredSchedule(NamedTuple):
    """What a schedule's file holds.

    Attributes
    ----------
    problem : PipelineProblem
    timeline : PipelineTimeline
        With the times of the file, which nobody has checked.
    bound_ticks : int
    contender : str
    status : Status
    """

    problem: PipelineProblem
    timeline: PipelineTimeline
    bound_ticks: int
    contender: str
    status: Status

    @property
    def schedule(self) -> PipelineSchedule:
        """The orders."""
        return self.timeline.schedule


def decode_schedule(root: Fields) -> StoredSchedule:
    """Read the fields of a JSON object.

    See `planner.pipelining.files.schedule_file.read_schedule`.
    """
    require_format(root, FORMAT, VERSION)
    root.only(
        *("format", "version", "problem", "schedule", "times", "metrics", "bound", "provenance")
    )
    try:
        problem = _problem(root.object("problem"))
    except UsageError as error:
        raise BadFileError(f"{root.file}: problem: {error}") from None
    schedule = _schedule(root.object("schedule"), problem)
    root.object("metrics").only(
        *("longest_stage", "makespan", "bubble", "peak_bytes"),
        optional=("peak_bytes_until_weight", "peak_host_bytes"),
    )
    bound = root.object("bound")
    bound.only("ticks", "bubble", "placements")
    made = root.object("provenance")
    made.only("planner", "contender", "status", "wall_s")
    return StoredSchedule(
        problem,
        _timeline(root.object("times"), schedule),
        bound.integer("ticks"),
        made.text("contender"),
        made.choice("status", Status),
    )


def _problem(fields: Fields) -> PipelineProblem:
    fields.only(
        *("stages", "device_of", "microbatches", "limits", "tick", "objective"),
        *("offloading", "vocabulary", "sharding"),
    )
    stages = tuple(map(_stage, fields.entries("stages")))
    tick = fields.object("tick")
    tick.only("numerator", "denominator")
    count = len(stages)
    return PipelineProblem(
        stages,
        _integers(fields, "device_of", count),
        fields.integer("microbatches", least=1),
        tuple(_limits(fields)),
        Fraction(tick.integer("numerator", least=1), tick.integer("denominator", least=1)),
        fields.choice("objective", PipelineObjective),
        _optional(fields, "offloading", lambda inner: _offloading(inner, count)),
        _optional(fields, "vocabulary", _vocabulary),
        _optional(fields, "sharding", lambda inner: _sharding(inner, count)),
    )


def _stage(fields: Fields) -> StageCosts:
    names = ("forward", "backward", "weight", "communication", "activation_bytes", "kept_bytes")
    fields.only(*names)
    return StageCosts(**{name: fields.integer(name) for name in names})


def _limits(fields: Fields) -> list[int | None]:
    values = _list(fields, "limits")
    for index, value in enumerate(values):
        if value is not None and not _is_count(value):
            raise fields.error(f"limits[{index}]", f"{excerpt(value)} is no number of bytes.")
    return values


def _optional(fields: Fields, key: str, read: Callable[[Fields], Any]) -> Any:
    return None if fields.values[key] is None else read(fields.object(key))


def _offloading(fields: Fields, stages: int) -> Offloading:
    fields.only("offload", "reload", "streams", "host_bytes")
    return Offloading(
        _integers(fields, "offload", stages),
        _integers(fields, "reload", stages),
        fields.integer("streams", least=1, most=2),
        fields.integer_or_null("host_bytes"),
    )


def _vocabulary(fields: Fields) -> VocabularyLayer:
    fields.only("forward", "backward", "broadcast", "barrier", "barriers", "activation_bytes")
    return VocabularyLayer(
        fields.integer("forward"),
        fields.integer("backward"),
        fields.integer("broadcast"),
        fields.integer("barrier"),
        fields.integer("barriers", least=1, most=2),
        fields.integer("activation_bytes"),
    )


def _sharding(fields: Fields, stages: int) -> ShardedParameters:
    names = ("gather", "reduce", "parameter_bytes", "gradient_bytes")
    fields.only(*names)
    return ShardedParameters(*(_integers(fields, name, stages) for name in names))


def _schedule(fields: Fields, problem: PipelineProblem) -> PipelineSchedule:
    fields.only("name", "passes", "copies", "units")
    devices = problem.devices
    passes = tuple(
        tuple(_pass(fields, f"passes[{device}][{index}]", text) for index, text in enumerate(own))
        for device, own in enumerate(_lists(fields, "passes", devices))
    )
    lengths, stages = [len(own) for own in passes], len(problem.stages)
    # Without any copies there is no list per device either.
    copies = tuple(
        tuple(_copy(entry, length, stages) for entry in own)
        for length, own in zip(lengths, _entries(fields, "copies", devices), strict=False)
    )
    units = tuple(
        tuple(_unit(entry, length, stages) for entry in own)
        for length, own in zip(lengths, _entries(fields, "units", devices), strict=False)
    )
    return PipelineSchedule(fields.text("name"), problem.device_of, passes, copies, units)


def _pass(fields: Fields, key: str, text: Any) -> Pass:
    match = _PASS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise fields.error(key, f"{excerpt(text)} is no pass, as 'F 3.1' is.")
    return Pass(PassKind(match[1]), int(match[2]), int(match[3]))


def _copy(fields: Fields, passes: int, stages: int) -> Copy:
    fields.only(*Copy._fields)
    return Copy(
        fields.choice("kind", CopyKind),
        fields.integer("stage", most=stages - 1),
        fields.integer("microbatch"),
        fields.integer("after", least=-1, most=passes - 1),
        fields.integer("before", most=passes),
    )


def _unit(fields: Fields, passes: int, stages: int) -> WeightUnit:
    fields.only(*WeightUnit._fields)
    last = fields.integer("last", most=passes - 1)
    first = fields.integer("first", most=last)
    return WeightUnit(
        fields.integer("stage", most=stages - 1),
        fields.integer("after", least=-1, most=first - 1),
        first,
        last,
        fields.flag("reduces"),
    )


def _timeline(fields: Fields, schedule: PipelineSchedule) -> PipelineTimeline:
    fields.only("passes", "copies", "gathers", "reductions")
    devices = len(schedule.passes)
    counts = {
        "passes": schedule.passes,
        "copies": schedule.copies,
        "gathers": schedule.units,
        "reductions": schedule.units,
    }
    read: dict[str, tuple[tuple[Span | None, ...], ...]] = {}
    for name, items in counts.items():
        spans = []
        for device, own in enumerate(_lists(fields, name, devices)):
            expected = len(items[device]) if items else 0
            if len(own) != expected:
                raise fields.error(f"{name}[{device}]", f"{len(own):,} times for {expected:,}.")
            key = f"{name}[{device}]"
            spans.append(
                tuple(
                    None if name == "reductions" and pair is None else _span(fields, key, pair)
                    for pair in own
                )
            )
        read[name] = tuple(spans)
    return PipelineTimeline(schedule, **read)  # type: ignore[arg-type]


def _span(fields: Fields, key: str, pair: Any) -> Span:
    if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_tick, pair)):
        raise fields.error(key, f"{excerpt(pair)} is no pair of start and end.")
    return Span(*pair)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_INTEGER


def _is_tick(value: Any) -> bool:
    return type(value) is int and abs(value) <= LARGEST_INTEGER


def _list(fields: Fields, key: str) -> list[Any]:
    value = fields.values[key]
    if not isinstance(value, list):
        raise fields.error(key, f"{excerpt(value)} is not a list.")
    return value


def _integers(fields: Fields, key: str, count: int) -> tuple[int, ...]:
    values = _list(fields, key)
    if len(values) != count:
        raise fields.error(key, f"{len(values):,} for {count:,} stages.")
    for index, value in enumerate(values):
        if not _is_count(value):
            raise fields.error(f"{key}[{index}]", f"{excerpt(value)} is no count.")
    return tuple(values)


def _lists(fields: Fields, key: str, devices: int) -> list[list[Any]]:
    """Read one list per device."""
    values = _list(fields, key)
    if len(values) != devices:
        raise fields.error(key, f"of {len(values):,} devices; the problem has {devices:,}.")
    for index, value in enumerate(values):
        if not isinstance(value, list):
            raise fields.error(f"{key}[{index}]", f"{excerpt(value)} is not a list.")
    return values


def _entries(fields: Fields, key: str, devices: int) -> list[list[Fields]]:
    """Read one list of objects per device, or no list at all."""
    if fields.values[key] == []:
        return []
    return [
        [
            Fields(value, fields.file, f"{fields.where}.{key}[{device}][{index}]")
            for index, value in enumerate(own)
        ]
        for device, own in enumerate(_lists(fields, key, devices))
    ]
