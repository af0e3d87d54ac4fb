"""Plan a model: operator order, offsets, spills, checked and compared with proven bounds."""

from __future__ import annotations

import json
import sys
from argparse import BooleanOptionalAction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from planner.cli.arguments import (
    assignment,
    capacity_or_range,
    dimension,
    distinct,
    seconds,
)
from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from planner.interruption import Interruption
    from planner.result import PlanResult
    from planner.sweeps.result import SweepResult

# What the names of the contenders that solve COSMA's program begin with.
_REFERENCE = "cosma"

Result = TypeVar("Result", "PlanResult", "SweepResult")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan solve``."""
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument(
        "-t", "--target", default="host", metavar="NAME|FILE.toml", help="default: host"
    )
    parser.add_argument(
        "--memory",
        action="append",
        type=capacity_or_range,
        default=[],
        metavar="NAME=SIZE|LOW:HIGH",
        help="another capacity, e.g. sram=256KiB (repeatable); a range, e.g. sram=256KiB:4MiB, "
        "sweeps it: traffic and latency against capacity. A third part is a number of points "
        "(sram=256KiB:4MiB:20) or a step (sram=256KiB:4MiB:64KiB)",
    )
    parser.add_argument(
        "--objective",
        choices=("peak", "traffic", "latency"),
        help="default: traffic where the nearest memory has a capacity, else peak",
    )
    parser.add_argument(
        "--solver",
        type=lambda text: [name for name in text.split(",") if name],
        metavar="NAME[,NAME...]",
        help="default: all that apply; greedy always takes part",
    )
    parser.add_argument(
        "--time-limit",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="default: 30; of a sweep as a whole",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--dim",
        action="append",
        type=dimension,
        default=[],
        metavar="NAME=N|INPUT:AXIS=N",
        help="bind a symbolic dimension (repeatable)",
    )
    parser.add_argument(
        "--shape",
        action="append",
        type=assignment,
        default=[],
        metavar="NAME=2x3:float32",
        help="give a tensor's shape and type yourself (repeatable)",
    )
    parser.add_argument(
        "--no-inplace", action="store_true", help="outputs never overwrite operands"
    )
    parser.add_argument(
        "--zero-copy",
        action="store_true",
        help="Concat, Split, Slice and Gather share storage instead of copying, where it pays",
    )
    parser.add_argument(
        "--parameters",
        action=BooleanOptionalAction,
        help="constants move as well: fetched where they are used, part of the arena (default: "
        "only for the least latency where operands may lie in either memory)",
    )
    parser.add_argument(
        "--partial-spills",
        action="store_true",
        help="a part of a tensor may leave the nearest memory while the rest stays",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write MODEL.plan.json, MODEL.html and MODEL.trace.json there (and, if it takes part, "
        "COSMA's program as MODEL.cosma.lp); of a sweep "
        "MODEL.sweep.json, MODEL.sweep.csv and MODEL.sweep.html",
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="no progress, no warnings")
    loudness.add_argument("-v", "--verbose", action="store_true", help="every improvement")


def run(options: argparse.Namespace) -> int:
    """Plan, write what was asked for, report. A range of capacities is a sweep."""
    if any(not isinstance(given, int) for _, given in options.memory):
        from planner.cli.sweep import run_sweep

        return run_sweep(options)
    import planner
    from planner.cli.progress import ProgressLine
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.interruption import listening_for_ctrl_c
    from planner.report.text import render_text

    wants_program = any(name.startswith(_REFERENCE) for name in options.solver or ())
    with listening_for_ctrl_c() as interruption:
        with ProgressLine(options) as progress, reserved_stdout():
            result = planner.plan(
                options.model,
                target=options.target,
                memory=distinct("--memory", options.memory),
                on_progress=progress.update,
                **race_options(options),
            )
        return conclude(
            result,
            options,
            interruption,
            _outputs_and_program if wants_program else _outputs,
            render_text,
            "this is the best plan until then",
        )


def race_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `planner.plan` and `planner.sweep` are asked alike."""
    return {
        "objective": options.objective,
        "solvers": options.solver,
        "time_limit": options.time_limit,
        "seed": options.seed,
        "dims": distinct("--dim", options.dim),
        "shapes": distinct("--shape", options.shape),
        "in_place": not options.no_inplace,
        "zero_copy": options.zero_copy,
        "parameters": options.parameters,
        "partial_spills": options.partial_spills,
    }


def conclude(
    result: Result,
    options: argparse.Namespace,
    interruption: Interruption,
    outputs: Callable[[Result], Mapping[str, str | bytes]],
    render: Callable[[Result], str],
    until_then: str,
) -> int:
    """Write the files that were asked for, report, and return the exit code.

    Parameters
    ----------
    interruption : Interruption
        Heard or not until the report is printed.
    outputs : callable
        Makes the contents of the files, by name.
    render : callable
        Makes the report.
    until_then : str
        What an interrupted run has to show.

    Raises
    ------
    BadFileError
        If a file cannot be written: after the report, which may have taken long to get.
    """
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.report.names import printable

    written: list[Path] = []
    unwritten: BadFileError | None = None
    if options.output:
        directory = Path(options.output)
        try:
            written = _write_into(directory, outputs(result))
        except BadFileError as error:
            unwritten = error
    if not options.quiet:
        for note in result.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
    if options.json:
        print(json.dumps(result.to_json(), indent=2, sort_keys=True))
    else:
        print(render(result))
        if written:
            print(f"wrote     {'  '.join(str(path) for path in written)}")
    if unwritten is not None:
        raise unwritten
    if result.interrupted or interruption.heard:
        print(f"plan: interrupted; {until_then}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _outputs(result: PlanResult) -> dict[str, str]:
    """Return plan, report and trace by file name."""
    from planner.plan_file import plan_to_json
    from planner.report.html import render_html
    from planner.report.trace import render_trace

    stem = Path(result.plan.model.name).stem or "model"
    return {
        f"{stem}.plan.json": plan_to_json(result.plan),
        f"{stem}.html": render_html(
            result.plan,
            result.contenders,
            result.timeline,
            graph=result.graph,
            notes=result.notes,
        ),
        f"{stem}.trace.json": render_trace(result.plan, result.timeline, graph=result.graph),
    }


def _outputs_and_program(result: PlanResult) -> dict[str, str | bytes]:
    """Add COSMA's integer program, for any other solver, where it can be stated."""
    from planner.problem import PlanningProblem

    outputs: dict[str, str | bytes] = {**_outputs(result)}
    in_place = bool(result.plan.provenance.settings["in_place"])
    problem = PlanningProblem(result.graph, result.plan.target, result.objective, in_place)
    stem = Path(result.plan.model.name).stem or "model"
    try:
        lp_file = import_module("solvers.contenders.cosma").lp_file
        outputs[f"{stem}.{_REFERENCE}.lp"] = lp_file(problem)
    except UsageError as error:
        print(f"note: {error}", file=sys.stderr)
    return outputs


def _write_into(directory: Path, texts: Mapping[str, str | bytes]) -> list[Path]:
    """Write files by name into a directory, which is made if need be; all or none.

    Raises
    ------
    BadFileError
        If one of them cannot be written.
    """
    from planner.whole_files import write_whole

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFileError(
            f"{directory}: the outputs cannot be written there: {error.strerror or error}."
        ) from None
    contents = {directory / name: text for name, text in texts.items()}
    write_whole(contents)
    return list(contents)
