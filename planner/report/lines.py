"""Reports of labelled lines that an engineer reads in ten seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.problem import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LABEL_WIDTH = 10
_LINE_WIDTH = 110
# What stands behind the label.
TEXT_WIDTH = _LINE_WIDTH - _LABEL_WIDTH


def labelled(lines: Iterable[tuple[str, str]]) -> str:
    """Join pairs of label and text, without a final line break."""
    return "\n".join(f"{label:<{_LABEL_WIDTH}}{text}".rstrip() for label, text in lines)


def wrapped(label: str, parts: Sequence[str], separator: str) -> Iterator[tuple[str, str]]:
    """Join the parts; break lines between them, never within."""
    line = ""
    for part in parts:
        if line and len(line + separator + part) > TEXT_WIDTH:
            yield label, line
            label, line = "", part
        else:
            line = line + separator + part if line else part
    if line:
        yield label, line


def solver_part(name: str, status: str, wall_s: float) -> str:
    """How one solver did: ``exact 0.02 s optimal``; of a feasible one the time is enough."""
    words = [name]
    if status != "skipped":
        words.append(f"{wall_s:.2f} s")
    if status != Status.FEASIBLE:
        words.append(status)
    return " ".join(words)
