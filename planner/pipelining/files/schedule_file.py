"""Pipeline schedules as JSON files: the same schedule is the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.json_text import dump_json, parse_json
from planner.pipelining.files.decoding import decode_schedule
from planner.pipelining.files.encoding import schedule_object
from planner.plan_fields import Fields
from planner.regular_file import read_regular
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os

    from planner.pipelining.files.decoding import StoredSchedule
    from planner.pipelining.result import PipelineResult

_LARGEST_FILE_BYTES = 1 << 28


def schedule_to_json(result: PipelineResult) -> str:
    """Return JSON text: sorted keys, two-space indent, final newline.

    Raises
    ------
    UsageError
        If there is no schedule, or a number is too large for the format, which counts in 53 bits.
    """
    if result.timeline is None:
        raise UsageError("there is no schedule to write.")
    return dump_json(schedule_object(result, result.timeline))


def write_schedule(result: PipelineResult, path: str | os.PathLike[str]) -> None:
    """Write a result's schedule; the file appears whole or not at all.

    Raises
    ------
    BadFileError
        If the file cannot be written.
    UsageError
        As for `schedule_to_json`.
    """
    write_whole({Path(path): schedule_to_json(result)})


def read_schedule(path: str | os.PathLike[str]) -> StoredSchedule:
    """Read a schedule and its problem. Whether it is legal is for `check_pipeline` to say.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file, too large, not JSON, of another format version, or
        if a field is missing, unknown or out of range. The message names file, field and value.
    """
    return schedule_from_json(read_regular(path, _LARGEST_FILE_BYTES), Path(path).name)


def schedule_from_json(data: str | bytes, file: str = "schedule") -> StoredSchedule:
    """Read JSON text; ``file`` names it in error messages. See `read_schedule`."""
    return decode_schedule(Fields(parse_json(data, file), file, ""))
