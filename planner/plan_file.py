"""Plans as JSON files: the same plan is the same bytes, and nothing is believed unread."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from planner.errors import BadFileError
from planner.plan_decoding import decode_plan
from planner.plan_encoding import plan_object
from planner.plan_fields import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.plans import Plan

_LARGEST_FILE_BYTES = 1 << 28


def plan_to_json(plan: Plan) -> str:
    """Return the plan as JSON text: sorted keys, two-space indent, final newline.

    Raises
    ------
    ValueError
        If a number is not finite or a setting is not representable in JSON.
    """
    return _dump(plan_object(plan))


def plan_digest(plan: Plan) -> str:
    """SHA-256, in hex, of the plan's JSON without the wall time it took to make."""
    document = plan_object(plan)
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
    return decode_plan(Fields(document, file, ""))


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
