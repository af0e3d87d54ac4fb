"""Explain a plan: why the peak is what it is, one step, or one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.report.explain_peak import explain_peak
from planner.report.explain_step import explain_step
from planner.report.explain_tensor import explain_tensor

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan


def render_explanation(
    plan: Plan, graph: Graph | None = None, *, step: int | None = None, tensor: str | None = None
) -> str:
    """Explain the peak of a plan, or one of its steps, or one of its tensors.

    Parameters
    ----------
    graph : Graph, optional
        The plan's graph. With it the text knows every reader, not only the lifetimes.
    step : int, optional
    tensor : str, optional
        Name of a tensor or storage.

    Raises
    ------
    UsageError
        If the plan has no such step or tensor.
    """
    if step is not None:
        return "\n".join(explain_step(plan, graph, step))
    if tensor is not None:
        return "\n".join(explain_tensor(plan, graph, tensor))
    return "\n".join(explain_peak(plan, graph))
