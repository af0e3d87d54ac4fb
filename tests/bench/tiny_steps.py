"""Results of training steps that nobody planned, and a step that is planned at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.bench.training_cases import TrainingCase
from planner.bench.training_runs import StepResult, SweepPoint, TargetResult

if TYPE_CHECKING:
    from planner.training.result import TrainingContender

TINY = TrainingCase("tiny", "mlp", {"batch": 64, "width": 16, "hidden": 64, "blocks": 2}, (0.8,))


class Tried(NamedTuple):
    """What `planner.torch.step_trials.Trial` says, without PyTorch."""

    peak_bytes: int
    is_exact: bool = True
    time_ratio: float = 1.25


SWEEP = (SweepPoint("1", 1000, 0), SweepPoint("0.5", 600, 100), SweepPoint("0.1", 700, 200))


def step(
    name: str = "tiny",
    *,
    network: str = "mlp",
    eager_bytes: int | None = 1000,
    sweep: tuple[SweepPoint, ...] = SWEEP,
) -> StepResult:
    """Return a step of 1,000 ps and 1,000 bytes, of which 300 are needed."""
    case = TINY._replace(name=name, network=network)
    return StepResult(
        *(case, 20, 10, 12, 5_000, 1000, 1000, eager_bytes, 300, sweep), *(0.5, 0.25, 0.25, 1.0)
    )


def planned(
    target: int,
    peak: int,
    recompute: int,
    *,
    of: StepResult | None = None,
    bound: int = 0,
    status: str = "feasible",
    trial: Tried | None = None,
    parts: tuple[TrainingContender, ...] = (),
    alone: tuple[TrainingContender, ...] = (),
    failure: str = "",
) -> TargetResult:
    """Return what became of a target."""
    frontier = ((1000, 0), (peak, recompute))
    return TargetResult(
        *(of or step(), f"{target / 10:g} %", target, status, peak, recompute, bound, "moment"),
        *("ladder search", 0.5, frontier, parts, alone),
        trial,  # pyright: ignore[reportArgumentType]
        failure,
    )
