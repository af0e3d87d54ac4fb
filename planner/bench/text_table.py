"""Tables of a comparison, as text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_LINE_WIDTH = 120


class Table(NamedTuple):
    """A table with a title: names of columns, rows, and the columns that stand to the left."""

    title: str
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    left: Collection[str]


def render_columns(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    *,
    left: Collection[str],
    heads: Mapping[str, str] | None = None,
) -> str:
    """Return one line for each row below a line of names; empty columns are left out.

    Parameters
    ----------
    columns : sequence of str
        Names, in order; a row has a text for each.
    left : collection of str
        Columns whose texts stand to the left.
    heads : mapping of str to str, optional
        What to print above the columns instead of their names.
    """
    first = {name: name if heads is None else heads[name] for name in columns}
    shown = [name for name in columns if any(row[name] for row in rows)]
    widths = {name: max(len(row[name]) for row in (first, *rows)) for name in shown}
    lines = []
    for row in (first, *rows):
        cells = [
            row[name].ljust(widths[name]) if name in left else row[name].rjust(widths[name])
            for name in shown
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def render_titled(tables: Sequence[Table], explanations: Sequence[str]) -> str:
    """Return tables below their titles, and paragraphs on how to read them."""
    blocks = [
        f"{table.title}\n{render_columns(table.columns, table.rows, left=table.left)}"
        for table in tables
    ]
    blocks.append(
        "\n".join(line for text in explanations for line in textwrap.wrap(text, _LINE_WIDTH))
    )
    return "\n\n".join(blocks)
