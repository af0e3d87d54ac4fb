"""The paper's tables of bubbles, simulated: the published schedules at the published costs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.cpu_time import cpu_seconds
from planner.bench.pipeline_published import TABLES
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.placements import linear_placement, looped_placement, v_placement
from planner.pipelining.problem import PipelineProblem, StageCosts
from planner.pipelining.simulator import bubble_rate, simulate_pipeline
from planner.race_thread import RaceThread, run_interruptibly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from planner.bench.pipeline_published import PublishedSetting
    from solvers.protocol import Deadline

# Microbatches x devices; what is above takes seconds.
_QUICK = 16 * 48
_LONGEST_S = 600.0
# Columns whose schedules are the results of a search: another may do better.
SEARCHED = ("ZB-1p", "ZB-2p", "ZB-V")


class Reproduced(NamedTuple):
    """One number of a table.

    Attributes
    ----------
    table : int
    setting : PublishedSetting
    column : str
    published : float
        As printed, to four decimals.
    simulated : float
        Bubble of the longest stage if every pass starts as early as it can.
    is_checked : bool
        The checker found the schedule legal, within the memory that the column is about.
    cpu_s : float
    """

    table: int
    setting: PublishedSetting
    column: str
    published: float
    simulated: float
    is_checked: bool
    cpu_s: float

    @property
    def difference(self) -> float:
        """Simulated, rounded as the table is, less published."""
        return round(round(self.simulated, 4) - self.published, 4)


def reproduce(
    *, everything: bool, models: Sequence[str] | None, on_progress: Callable[[str], None]
) -> Iterator[Reproduced]:
    """Simulate the tables' schedules, the small ones or all.

    Raises
    ------
    KeyboardInterrupt
        When interrupted.
    """
    for table, (_, settings) in TABLES.items():
        for setting in settings:
            if not everything and setting.devices * setting.microbatches > _QUICK:
                continue
            if models is not None and setting.model not in models:
                continue
            for column, rate in setting.published().items():
                on_progress(f"table {table}, {setting.name}: {column}")
                yield _reproduced(table, setting, column, float(rate))


def _reproduced(table: int, setting: PublishedSetting, column: str, published: float) -> Reproduced:
    from solvers.protocol import Deadline

    found: list[tuple[float, bool]] = []
    started = cpu_seconds()
    deadline = Deadline(_LONGEST_S)
    thread = RaceThread(column, lambda: found.append(_simulated(setting, column, deadline)))
    if run_interruptibly(thread, deadline):
        raise KeyboardInterrupt
    if thread.error is not None:
        raise thread.error
    simulated, is_checked = found[0]
    cpu_s = cpu_seconds() - started
    return Reproduced(table, setting, column, published, simulated, is_checked, cpu_s)


def _simulated(setting: PublishedSetting, column: str, deadline: Deadline) -> tuple[float, bool]:
    from solvers.pipeline.constructors.handcrafted_zero_bubble import zb_h1, zb_h2
    from solvers.pipeline.constructors.interleaved import interleaved_with_early_start
    from solvers.pipeline.constructors.one_f_one_b import one_f_one_b
    from solvers.pipeline.constructors.zb_v import zb_v
    from solvers.pipeline.constructors.zero_bubble import zero_bubble

    devices = setting.devices
    build, problem = {
        "1F1B": (one_f_one_b, linear_problem(setting, devices)),
        "1F1B-I": (interleaved_with_early_start, interleaved_problem(setting)),
        "ZB-H1": (zb_h1, linear_problem(setting, devices)),
        "ZB-H2": (zb_h2, linear_problem(setting, 2 * devices - 1)),
        "ZB-1p": (partial(zero_bubble, deadline=deadline), linear_problem(setting, devices)),
        "ZB-2p": (partial(zero_bubble, deadline=deadline), linear_problem(setting, 2 * devices)),
        "ZB-V": (partial(zb_v, deadline=deadline), _v(setting)),
    }[column]
    timeline = simulate_pipeline(problem, build(problem))
    return bubble_rate(problem, timeline.longest_stage), not check_pipeline(problem, timeline)


def linear_problem(setting: PublishedSetting, microbatches: int | None = None) -> PipelineProblem:
    """Return the problem with one chunk per device, and room for so many microbatches, or any."""
    size = setting.activation_bytes
    stage = StageCosts(*setting.ticks, size, setting.kept_bytes, setting.communication)
    devices = setting.devices
    return PipelineProblem(
        (stage,) * devices,
        linear_placement(devices),
        setting.microbatches,
        (None if microbatches is None else microbatches * size,) * devices,
    )


def interleaved_problem(setting: PublishedSetting) -> PipelineProblem:
    """Return the problem with several chunks; a tick is a microsecond's part per chunk."""
    devices, chunks = setting.devices, setting.chunks
    stage = StageCosts(*setting.ticks, 1, 0, setting.communication * chunks)
    return PipelineProblem(
        (stage,) * (devices * chunks),
        looped_placement(devices, chunks),
        setting.microbatches,
        (None,) * devices,
    )


def _v(setting: PublishedSetting) -> PipelineProblem:
    """Return the problem with two chunks in a V and the memory of 1F1B; half microseconds."""
    linear = linear_problem(setting, setting.devices)
    stage = StageCosts(
        *setting.ticks,
        setting.activation_bytes // 2,
        setting.kept_bytes // 2,
        2 * setting.communication,
    )
    return replace(
        linear, stages=(stage,) * (2 * setting.devices), device_of=v_placement(setting.devices)
    )
