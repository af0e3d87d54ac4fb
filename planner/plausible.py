"""What can be said of a plan without its model: that there is something to show at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError

if TYPE_CHECKING:
    from planner.plans import Plan


def require_plausible(plan: Plan) -> None:
    """Refuse what cannot be written down at all, where no model is there to check the plan.

    Raises
    ------
    InvalidPlanError
        If an operator runs twice or never, or something happens at no step or in no memory.
    """
    steps = len(plan.order)
    unknown = [pair for pair in plan.in_place if pair.operator >= steps]
    if unknown or sorted(plan.order) != list(range(len(plan.operators) or steps)):
        raise InvalidPlanError("the plan does not run every operator once.")
    memories = {memory.name for memory in plan.target.memories}
    held = [
        *((f"placements[{i}]", p, {p.memory}) for i, p in enumerate(plan.placements)),
        *((f"transfers[{i}]", t, {t.source, t.destination}) for i, t in enumerate(plan.transfers)),
    ]
    for where, entry, used in held:
        if not 0 <= entry.start <= entry.end <= steps:
            raise InvalidPlanError(
                f"{where} of the plan is from {entry.start:,} to {entry.end:,}; its steps are "
                f"counted from 0 to {steps:,}."
            )
        for name in used - memories:
            raise InvalidPlanError(f'{where} of the plan: its target has no memory "{name}".')


def require_no_time_before_the_first_step(plan: Plan) -> None:
    """Refuse placements and transfers that would be counted from the wrong end.

    Raises
    ------
    InvalidPlanError
        If one begins or ends before step 0.
    """
    for kind, entries in (("placements", plan.placements), ("transfers", plan.transfers)):
        for index, entry in enumerate(entries):
            if min(entry.start, entry.end) < 0:
                raise InvalidPlanError(
                    f"{kind}[{index}] of the plan is from {entry.start:,} to {entry.end:,}; its "
                    "steps are counted from 0."
                )
