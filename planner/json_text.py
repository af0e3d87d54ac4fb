"""JSON text: the same object is the same text, and nothing ambiguous is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from planner.errors import BadFileError

if TYPE_CHECKING:
    from collections.abc import Mapping


def dump_json(document: Mapping[str, Any]) -> str:
    """Return ASCII text with sorted keys, two-space indent and a final newline.

    Raises
    ------
    ValueError
        If a number is not finite or a value is not representable in JSON.
    """
    return json.dumps(document, sort_keys=True, indent=2, allow_nan=False) + "\n"


def parse_json(data: str | bytes, file: str) -> Any:
    """Read a JSON document; ``file`` names it in messages.

    Raises
    ------
    BadFileError
        If it is no JSON, nested too deeply, names a key of an object twice, or holds a number that
        is not finite.
    """
    try:
        return json.loads(data, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadFileError(f"{file}: nested too deeply. Refused.") from None
    except ValueError as error:  # JSON and Unicode errors, over-long integers, the two hooks
        raise BadFileError(f"{file}: not a JSON document: {error}.") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(k for k in keys if keys.count(k) > 1)!r} appears twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON knows")
