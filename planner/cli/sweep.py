"""``plan solve`` over a range of capacities."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.arguments import distinct
from planner.cli.solve import write_into
from planner.errors import UsageError
from planner.sweeps.capacities import CapacityRange

if TYPE_CHECKING:
    import argparse

    from planner.sweeps.result import SweepResult


def run_sweep(options: argparse.Namespace) -> int:
    """Sweep the one memory that has a range, write what was asked for, report."""
    import planner
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.cli.progress import ProgressLine
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.report.names import printable

    memory, capacities, fixed = _swept(distinct("--memory", options.memory))
    with ProgressLine(options) as progress, reserved_stdout():
        result = planner.sweep(
            options.model,
            capacities=capacities,
            target=planner.read_target(options.target).with_capacities(fixed),
            memory=memory,
            objective=options.objective,
            solvers=options.solver,
            time_limit=options.time_limit,
            seed=options.seed,
            dims=distinct("--dim", options.dim),
            shapes=distinct("--shape", options.shape),
            in_place=not options.no_inplace,
            zero_copy=options.zero_copy,
            parameters=options.parameters,
            on_progress=progress.update,
        )
    try:
        written = _write_outputs(result, Path(options.output)) if options.output else []
    except KeyboardInterrupt:  # the curve is there, so it is not thrown away
        result = replace(result, interrupted=True)
        written = _write_outputs(result, Path(options.output))
    if not options.quiet:
        for note in result.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        if result.timed_out:
            print(
                f"note: --time-limit {options.time_limit:g} s was over before every capacity had "
                "its turn; those without have the plans and bounds of the others",
                file=sys.stderr,
            )
    if options.json:
        print(json.dumps(result.to_json(), indent=2, sort_keys=True))
    else:
        from planner.report.sweep_text import render_sweep_text

        print(render_sweep_text(result))
        if written:
            print(f"wrote     {'  '.join(str(path) for path in written)}")
    if result.interrupted:
        print("plan: interrupted; these are the points until then", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


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


def _write_outputs(result: SweepResult, directory: Path) -> list[Path]:
    """Write the curve as JSON, CSV and a page; all or none, each complete or absent."""
    from planner.json_text import dump_json
    from planner.report.sweep_html import render_sweep_html
    from planner.report.sweep_text import render_sweep_csv

    stem = Path(result.graph.model.name).stem or "model"
    return write_into(
        directory,
        {
            f"{stem}.sweep.json": dump_json(result.to_json()),
            f"{stem}.sweep.csv": render_sweep_csv(result),
            f"{stem}.sweep.html": render_sweep_html(result),
        },
    )
