"""Tables of the HTML reports: static markup, complete without any script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from planner.report.names import markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAME_WIDTH = 72


class Cell(NamedTuple):
    """Markup of one cell, already escaped, and its class."""

    markup: str
    style: str = ""


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], right: set[int]) -> str:
    """Return a table; the heads of columns in ``right`` stand to the right."""
    head = "".join(
        f'<th scope="col"{_class("number" if column in right else "")}>{escape(text)}</th>'
        for column, text in enumerate(heads)
    )
    body = "\n".join(
        "<tr>" + "".join(f"<td{_class(cell.style)}>{cell.markup}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def placement_cell(placement: int, name: str) -> Cell:
    """A name that shows its placement in the map."""
    return Cell(f'<a href="#placement={placement}">{markup(name, NAME_WIDTH)}</a>', "name")


def number_cell(text: str) -> Cell:
    """A number, to the right."""
    return Cell(escape(text), "number")


def optional_bytes_cell(size_bytes: int | None) -> Cell:
    """A number of bytes, nothing for None."""
    return number_cell("" if size_bytes is None else f"{size_bytes:,}")


def interval_cell(start: int, end: int) -> Cell:
    """A half-open interval."""
    return Cell(f"[{start:,}, {end:,})", "plain")


def status_cell(status: str) -> Cell:
    """A status in its colour."""
    return Cell(markup(status), f"plain status {markup(status)}")


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""
