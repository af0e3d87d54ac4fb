"""Copies to the host and back, in a JSON file beside a schedule's CSV.

PyTorch's CSV has no action for them. The file names passes by their cells in the CSV, so it can be
read beside it: ``{"kind": "offload", "stage": 0, "microbatch": 2, "from": "0F3", "until": "0F5"}``
may start when ``0F3`` starts, and has ended before ``0F5`` starts; without ``until`` nothing waits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import InvalidPlanError
from planner.json_text import dump_json, parse_json
from planner.pipelining.files.schedule_csv import action_text, in_loss_order
from planner.pipelining.schedule import Copy, CopyKind, Pass, PassKind, PipelineSchedule
from planner.plan_fields import Fields, require_format
from planner.regular_file import read_regular
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os

FORMAT = "planner.pipeline-offload"
VERSION = 1
_LARGEST_FILE_BYTES = 1 << 28
_WORDS = {CopyKind.OFFLOAD: "offload", CopyKind.RELOAD: "reload"}
_KINDS = {word: kind for kind, word in _WORDS.items()}


def offload_to_json(schedule: PipelineSchedule) -> str:
    """Return JSON text of a schedule's copies: sorted keys, two-space indent, final newline.

    Microbatches are numbered as in the schedule's CSV.

    Raises
    ------
    InvalidPlanError
        If the copies are no round trips within their passes, see `read_offload`.
    UsageError
        If a copy is anchored at a pass of the vocabulary layer.
    """
    schedule = in_loss_order(schedule)
    ranks: list[dict[str, Any]] = []
    for rank, passes in enumerate(schedule.passes):
        copies = schedule.copies[rank] if schedule.copies else ()
        _require_round_trips(f"rank {rank}", rank, schedule, copies)
        ranks.append({"rank": rank, "moves": [_move(copy, passes) for copy in copies]})
    return dump_json({"format": FORMAT, "version": VERSION, "ranks": ranks})


def write_offload(schedule: PipelineSchedule, path: str | os.PathLike[str]) -> None:
    """Write a schedule's copies; the file appears whole or not at all.

    Raises
    ------
    InvalidPlanError, UsageError
        As for `offload_to_json`.
    BadFileError
        If the file cannot be written.
    """
    write_whole({Path(path): offload_to_json(schedule)})


def read_offload(path: str | os.PathLike[str], schedule: PipelineSchedule) -> PipelineSchedule:
    """Read the copies that go with a schedule, and return it with them.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file, too large, not JSON, of another format version, or
        if a field is missing, unknown or out of range. The message names file, field and value.
    InvalidPlanError
        If the file belongs to another schedule, or if copies are no round trips: out once, after
        the forward pass, and back in before the gradient of the input.
    """
    return offload_from_json(read_regular(path, _LARGEST_FILE_BYTES), schedule, Path(path).name)


def offload_from_json(
    data: str | bytes, schedule: PipelineSchedule, file: str = "offload.json"
) -> PipelineSchedule:
    """Read JSON text; ``file`` names it in messages. See `read_offload`."""
    root = Fields(parse_json(data, file), file, "")
    require_format(root, FORMAT, VERSION)
    root.only("format", "version", "ranks")
    ranks = list(root.entries("ranks"))
    if len(ranks) != len(schedule.passes):
        raise InvalidPlanError(
            f"{file}: {len(ranks)} ranks, but the schedule has {len(schedule.passes)}."
        )
    copies = []
    for rank, fields in enumerate(ranks):
        fields.only("rank", "moves")
        if fields.integer("rank") != rank:
            raise fields.error("rank", f"{fields.integer('rank')} stands in the place of {rank}.")
        at = {action_text(item): index for index, item in enumerate(schedule.passes[rank])}
        own = tuple(_copy(entry, at) for entry in fields.entries("moves"))
        _require_round_trips(f"{file}: rank {rank}", rank, schedule, own)
        copies.append(own)
    return replace(schedule, copies=tuple(copies))


def _move(copy: Copy, passes: tuple[Pass, ...]) -> dict[str, Any]:
    move = {
        "kind": _WORDS[copy.kind],
        "stage": copy.stage,
        "microbatch": copy.microbatch,
        "from": action_text(passes[copy.after]),
    }
    if copy.before < len(passes):
        move["until"] = action_text(passes[copy.before])
    return move


def _copy(fields: Fields, at: dict[str, int]) -> Copy:
    fields.only("kind", "stage", "microbatch", "from", optional=("until",))
    kind = _KINDS.get(fields.text("kind"))
    if kind is None:
        raise fields.error("kind", f"{fields.text('kind')!r} is none of {', '.join(_KINDS)}.")
    return Copy(
        kind,
        fields.integer("stage"),
        fields.integer("microbatch"),
        _index(fields, "from", at),
        _index(fields, "until", at) if "until" in fields.values else len(at),
    )


def _index(fields: Fields, key: str, at: dict[str, int]) -> int:
    name = fields.text(key)
    if name not in at:
        raise fields.error(key, f"{name!r} is not in this rank's row of the schedule.")
    return at[name]


def _require_round_trips(
    place: str, rank: int, schedule: PipelineSchedule, copies: tuple[Copy, ...]
) -> None:
    passes = schedule.passes[rank]
    at = {item: index for index, item in enumerate(passes)}
    out: dict[tuple[int, int], Copy] = {}
    back: dict[tuple[int, int], Copy] = {}

    def refuse(copy: Copy, reason: str) -> InvalidPlanError:
        name = f"the {_WORDS[copy.kind]} of stage {copy.stage}, microbatch {copy.microbatch}"
        return InvalidPlanError(f"{place}: {name} {reason}.")

    for copy in copies:
        key = (copy.stage, copy.microbatch)
        mine = out if copy.kind is CopyKind.OFFLOAD else back
        forward = at.get(Pass(PassKind.FORWARD, *key))
        fused = at.get(Pass(PassKind.FUSED, *key))
        gradient = at.get(Pass(PassKind.BACKWARD, *key), fused)
        if forward is None or gradient is None:
            raise refuse(copy, "is of nothing that this rank computes")
        if key in mine:
            raise refuse(copy, "is there twice")
        if not 0 <= copy.after < len(passes) or not copy.after < copy.before <= len(passes):
            raise refuse(copy, "ends before it may start")
        if copy.kind is CopyKind.OFFLOAD and not forward < copy.before:
            raise refuse(copy, "ends before the forward pass")
        if copy.kind is CopyKind.RELOAD:
            if key not in out:
                raise refuse(copy, "does not follow an offload")
            if max(copy.after, out[key].after, forward + 1) > gradient:
                raise refuse(copy, "starts after the gradient of the input, which needs it")
        mine[key] = copy
    for key, copy in out.items():
        if key not in back:
            raise refuse(copy, "has no reload")
