"""Plans as JSON files: the same plan is the same bytes, and nothing is believed unread."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from planner.json_text import dump_json, parse_json
from planner.plan_decoding import decode_plan
from planner.plan_encoding import plan_object
from planner.plan_fields import Fields
from planner.regular_file import read_regular
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os

    from planner.plans import Plan

_LARGEST_FILE_BYTES = 1 << 28


def plan_to_json(plan: Plan) -> str:
    """Return the plan as JSON text: sorted keys, two-space indent, final newline.

    Raises
    ------
    ValueError
        If a number is not finite or a setting is not representable in JSON.
    """
    return dump_json(plan_object(plan))


def plan_digest(plan: Plan) -> str:
    """SHA-256, in hex, of the plan's JSON without the wall time it took to make."""
    document = plan_object(plan)
    del document["provenance"]["wall_s"]
    return hashlib.sha256(dump_json(document).encode()).hexdigest()


def write_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan; the file appears whole or not at all.

    Raises
    ------
    BadFileError
        If the file cannot be written.
    """
    write_whole({Path(path): plan_to_json(plan)})


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan. Whether it is legal is for `planner.check` to say.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file, too large, not JSON, of another format version, or
        if a field is missing, unknown or out of range. The message names file, field and value.
    """
    return plan_from_json(read_regular(path, _LARGEST_FILE_BYTES), Path(path).name)


def plan_from_json(data: str | bytes, file: str = "plan") -> Plan:
    """Read a plan from JSON text; ``file`` names it in error messages. See `read_plan`."""
    return decode_plan(Fields(parse_json(data, file), file, ""))
