"""The page around a memory map: one file that fetches nothing, its policy, its building blocks."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from planner.report.names import markup
from planner.report.quantities import format_bytes, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

# One script in this order, so that a later part may use an earlier one.
_SCRIPTS_BEFORE = (
    "memory_map_data.js",
    "memory_map_layout.js",
    "memory_map_draw.js",
    "memory_map_tooltip.js",
)
_SCRIPTS_AFTER = ("memory_map.js",)


class MapWords(NamedTuple):
    """What the map's tools call things.

    Attributes
    ----------
    find : str
        What can be searched for.
    walked : str
        What the arrow keys go along.
    links : str
        The fragments that name a place in the map.
    file : str
        Where everything is that the tables leave out.
    colour_tool : str
        Markup of a choice of colours, if there is one.
    scale : str
        A sentence on the time axis, if it needs one.
    """

    find: str
    walked: str
    links: str
    file: str
    colour_tool: str = ""
    scale: str = ""


def render_page(
    *,
    title: str,
    heading: str,
    subtitle: str,
    figures: Sequence[str],
    map_label: str,
    words: MapWords,
    sections: Sequence[str],
    footer: str,
    data: str,
    details: str,
) -> str:
    """Return the page. ``subtitle``, ``sections`` and ``footer`` are markup, the others text.

    A Content-Security-Policy allows the page's own script and style, by their hashes, and nothing
    else.

    Parameters
    ----------
    figures : sequence of str
        Of `figure` or `bytes_figure`.
    sections : sequence of str
        Empty ones are left out.
    data : str
        Of `embedded_json`.
    details : str
        The script that says what this page's tooltips say.
    """
    style = asset("memory_map.css")
    script = "\n".join(asset(name) for name in (*_SCRIPTS_BEFORE, details, *_SCRIPTS_AFTER))
    return Template(asset("memory_map.html")).substitute(
        policy=f"default-src 'none'; script-src {policy_hash(script)}; "
        f"style-src {policy_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
        title=escape(title),
        style=style,
        heading=escape(heading),
        subtitle=subtitle,
        figures="\n".join(figures),
        map_label=escape(map_label),
        sections="\n".join(section for section in sections if section),
        footer=footer,
        data=data,
        scripts=f'<script type="module">{script}</script>',
        **words._asdict(),
    )


def figure(label: str, value: str, *details: str) -> str:
    """Return one of the numbers at the top."""
    small = "".join(f"<small>{escape(detail)}</small>" for detail in details if detail)
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}{small}</dd></div>"


def bytes_figure(label: str, size_bytes: int, *details: str) -> str:
    """Return a number of bytes at the top, short and exact."""
    exact = "" if size_bytes < 1024 else format_bytes(size_bytes)
    return figure(label, format_size(size_bytes), exact, *details)


def columns(*sections: str) -> str:
    """Return sections side by side, where the page is wide enough."""
    return f'<div class="columns">{"".join(sections)}</div>'


def notes_section(notes: Sequence[str]) -> str:
    """Return the notes as a list, nothing without any."""
    if not notes:
        return ""
    items = "".join(f"<li>{markup(note)}</li>" for note in notes)
    return f'<section><h2>Notes</h2><ul class="notes">{items}</ul></section>'


def asset(name: str) -> str:
    """Return a file of this package."""
    return resources.files("planner.report").joinpath(name).read_text(encoding="utf-8")


def policy_hash(text: str) -> str:
    """Return what a Content-Security-Policy calls the inline text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
