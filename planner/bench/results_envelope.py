"""What every suite's JSON object begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence


def envelope(
    suite: str, *, notes: Sequence[str], interrupted: bool, **settings: Any
) -> dict[str, Any]:
    """Return the format's name and version, the planner's, how it was run, and how it ended."""
    return {
        "format": f"planner.bench-{suite}",
        "version": 1,
        "planner": VERSION,
        **settings,
        "notes": list(notes),
        "interrupted": interrupted,
    }
