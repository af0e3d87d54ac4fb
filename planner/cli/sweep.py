"""``plan solve`` over a range of capacities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.arguments import distinct
from planner.cli.solve import conclude, race_options
from planner.errors import UsageError
from planner.sweeps.capacities import CapacityRange

if TYPE_CHECKING:
    import argparse

    from planner.sweeps.result import SweepResult


def run_sweep(options: argparse.Namespace) -> int:
    """Sweep the one memory that has a range, write what was asked for, report."""
    import planner
    from planner.cli.progress import ProgressLine
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.interruption import listening_for_ctrl_c
    from planner.report.sweep_text import render_sweep_text

    memory, capacities, fixed = _swept(distinct("--memory", options.memory))
    with listening_for_ctrl_c() as interruption:
        with ProgressLine(options) as progress, reserved_stdout():
            result = planner.sweep(
                options.model,
                capacities=capacities,
                target=planner.read_target(options.target).with_capacities(fixed),
                memory=memory,
                on_progress=progress.update,
                **race_options(options),
            )
        return conclude(
            result,
            options,
            interruption,
            _outputs,
            render_sweep_text,
            "these are the points until then",
        )


def _swept(
    given: dict[str, int | CapacityRange],
) -> tuple[str, CapacityRange, dict[str, int]]:
    """Tell the one range from the capacities beside it."""
    ranges = {name: v for name, v in given.items() if isinstance(v, CapacityRange)}
    if len(ranges) != 1:
        raise UsageError(
            f"--memory: ranges of {' and '.join(ranges)}. One memory can be swept at a time."
        )
    ((memory, capacities),) = ranges.items()
    return memory, capacities, {n: v for n, v in given.items() if isinstance(v, int)}


def _outputs(result: SweepResult) -> dict[str, str]:
    """Return the curve as JSON, CSV and a page, by file name."""
    from planner.json_text import dump_json
    from planner.report.sweep_html import render_sweep_html
    from planner.report.sweep_text import render_sweep_csv

    stem = Path(result.graph.model.name).stem or "model"
    return {
        f"{stem}.sweep.json": dump_json(result.to_json()),
        f"{stem}.sweep.csv": render_sweep_csv(result),
        f"{stem}.sweep.html": render_sweep_html(result),
    }
