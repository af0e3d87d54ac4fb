"""What to say when no plan keeps the budget: by how much, what is in the way, what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import DoesNotFitError
from planner.problem import Status

if TYPE_CHECKING:
    from planner.training.result import TrainingResult

_LISTED = 5


def misfit(result: TrainingResult) -> DoesNotFitError:
    """Return the error that says why the budget is missed."""
    least = result.predicted_peak_bytes
    listed = ", ".join(
        f"{name} {size:,} ({role})" for name, size, role in result.culprits[:_LISTED]
    )
    more = len(result.culprits) - _LISTED
    at_peak = f"At its peak, {result.peak_step}, are live: {listed}"
    at_peak += f" and {more:,} smaller." if more > 0 else "."
    proven = result.status is Status.INFEASIBLE
    if proven:
        start = (
            f"no plan keeps this training step within {result.budget_bytes:,} bytes: it is proven "
            f"that {result.peak_bound_bytes:,} are needed."
        )
    else:
        start = (
            f"no plan within {result.budget_bytes:,} bytes was found; it is proven that "
            f"{result.peak_bound_bytes:,} are needed."
        )
    return DoesNotFitError(
        f"{start} The least peak found is {least:,} bytes ({result.contender}). {at_peak} Give "
        f"budget_bytes={least} or more, a smaller batch, or host_bytes to offload to.",
        proven=proven,
    )
