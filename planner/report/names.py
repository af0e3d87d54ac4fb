"""Names from a model, made safe to print: they are written by whoever wrote the model."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan


def printable(name: str, width: int | None = None) -> str:
    r"""Escape what a terminal or a page could obey, and shorten in the middle.

    Control characters, line breaks, bidirectional overrides and lone surrogates become ``\x1b``,
    ``\n``, ``\u202e``; everything else stays as it is.
    """
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    if width is None or len(safe) <= width:
        return safe
    head = (width - 1) // 2
    return f"{safe[:head]}…{safe[len(safe) - (width - 1 - head) :]}"


def markup(name: str, width: int | None = None) -> str:
    """Return what `printable` does, escaped for HTML text and quoted attributes."""
    return escape(printable(name, width))


def operator_name(plan: Plan, operator: int, graph: Graph | None = None) -> str:
    """Return the operator's name; ``operator 12`` where it has none that is known."""
    name, _ = _name_and_type(plan, operator, graph)
    return printable(name) or f"operator {operator}"


def operator_label(plan: Plan, operator: int, graph: Graph | None = None) -> str:
    """Name and type: ``conv_7 (Conv)``, ``operator 12 (Conv)``, ``operator 12``."""
    name, kind = operator_name(plan, operator, graph), operator_type(plan, operator, graph)
    return f"{name} ({kind})" if kind else name


def operator_type(plan: Plan, operator: int, graph: Graph | None = None) -> str:
    """Return ``Conv``, or nothing where only indices are known."""
    return printable(_name_and_type(plan, operator, graph)[1])


def _name_and_type(plan: Plan, operator: int, graph: Graph | None) -> tuple[str, str]:
    known = plan.operators or (graph.operators if graph is not None else ())
    return (known[operator].name, known[operator].type) if operator < len(known) else ("", "")
