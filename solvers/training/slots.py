"""The staged grid as a line of times, and where the executions of a schedule lie on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.training.schedule import TrainingSchedule
    from solvers.training.stages import StagedGrid


class Slots(NamedTuple):
    """Times of the grid, counted through.

    Attributes
    ----------
    of : tuple of dict of int to int
        Time at which each operator may run, stage by stage.
    hand_over : int
        Time at which forward outputs have to be there; the next one is the crossing.
    end : int
        Time at which gradients have to be there, after everything.
    """

    of: tuple[dict[int, int], ...]
    hand_over: int
    end: int


def number_slots(grid: StagedGrid) -> Slots:
    """Count the times of a grid through."""
    rows: list[dict[int, int]] = []
    time = hand_over = 0
    for t, stage in enumerate(grid.stages):
        if t == grid.crossing:
            hand_over = time
            time += 2
        rows.append({operator: time + k for k, operator in enumerate(stage.operators)})
        time += len(stage.operators)
    return Slots(tuple(rows), hand_over, time)


def execution_times(
    grid: StagedGrid, slots: Slots, schedule: TrainingSchedule
) -> dict[int, list[int]] | None:
    """Return when each forward operator runs in a schedule; None if it is not of the grid."""
    times: dict[int, list[int]] = {o: [] for o in grid.producer.values()}
    for sequence, first, ends in (
        (schedule.forward, 0, grid.crossing),
        (schedule.backward, grid.crossing, len(grid.stages)),
    ):
        stage, last = first, -1
        for operator in sequence:
            time = slots.of[stage].get(operator, -1) if stage < ends else -1
            if time <= last:
                return None
            last = time
            if operator in times:
                times[operator].append(time)
            if operator == grid.stages[stage].frontier:
                stage, last = stage + 1, -1
    return times
