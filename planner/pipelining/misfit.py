"""What to say when no schedule keeps the memory limits: which device, by how much, what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import DoesNotFitError
from planner.pipelining.result import OVER_LIMIT
from planner.problem import Status

if TYPE_CHECKING:
    from planner.pipelining.result import PipelineResult


def misfit(result: PipelineResult, time_limit_s: float) -> DoesNotFitError:
    """Return the error that says why there is no schedule."""
    from solvers.pipeline.bounds.least_memory import least_limits

    least = max(least_limits(result.problem))
    if result.status is Status.INFEASIBLE:
        proof = result.notes[0].rstrip(".")
        return DoesNotFitError(
            f"does not fit: {proof}. One limit for all devices must be {least:,} B at least.",
            proven=True,
        )
    over = [r for r in result.contenders if r.status == OVER_LIMIT and r.peak_bytes is not None]
    text = f"no schedule within the limits was found in {round(time_limit_s, 2):g} s"
    if over:
        best = min(over, key=lambda report: report.peak_bytes or 0)
        text += f": the least that one of them needs is {best.peak_bytes:,} bytes ({best.name})"
    return DoesNotFitError(
        f"{text}; proven is only that {least:,} bytes are needed. Try a longer --time-limit or a "
        "larger --memory-limit.",
        proven=False,
    )
