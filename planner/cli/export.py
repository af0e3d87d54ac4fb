"""Write a plan for others: as C source, as MiniMalloc's CSV, as a trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse

    from planner.graph import Graph
    from planner.plans import Plan

_FORMATS = {
    "c": "a static schedule in C99, .h and .c",
    "minimalloc": "the nearest memory as MiniMalloc's .csv",
    "perfetto": "the simulated run as Trace Event .json",
}
_SUFFIXES = {"minimalloc": ".csv", "perfetto": ".trace.json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan export``."""
    parser.add_argument("plan", metavar="PLAN.json")
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL.onnx",
        help="to check the plan before it is written; c cannot do without it",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="FORMAT",
        help=", ".join(f"{name} ({what})" for name, what in _FORMATS.items()),
    )
    parser.add_argument(
        "-o",
        "--output",
        default="",
        metavar="FILE",
        help="for c the name of both files, in small letters, and the prefix of all in them "
        "(default: named after the model, in this directory)",
    )


def run(options: argparse.Namespace) -> int:
    """Check the plan, write it, say what the format has no place for."""
    from planner.plan_file import read_plan
    from planner.report.names import printable

    if options.to not in _FORMATS:
        raise UsageError(
            f"--to {options.to}: there is no such format yet. There are: {', '.join(_FORMATS)}."
        )
    if options.to == "c" and not options.model:
        raise UsageError(
            "--to c needs the model as well, for what each operator reads and how it is "
            "configured: plan export PLAN.json MODEL.onnx --to c."
        )
    plan = read_plan(options.plan)
    if options.to == "c":
        written, note = _write_c(plan, options.model, options.output)
    else:
        path = _single_file(plan, options.to, options.output)
        written, note = [path], _write_single(plan, options.model, options.to, path)
    if note:
        print(f"note: {printable(note)}", file=sys.stderr)
    print("wrote", *(printable(str(path)) for path in written))
    return 0


def _write_c(plan: Plan, model: str, output: str) -> tuple[list[Path], str]:
    from planner.export.c import load_planned_calls, write_c

    files = write_c(load_planned_calls(model, plan), plan, output)
    folder = Path(output) if Path(output).is_dir() else Path(output).parent
    return [folder / f"{files.prefix}.h", folder / f"{files.prefix}.c"], files.note


def _single_file(plan: Plan, to: str, output: str) -> Path:
    """Where to write; the default is named after the model."""
    path = Path(output)
    if path.is_dir():
        from planner.export.c_names import c_prefix

        return path / f"{c_prefix(Path(plan.model.name).stem)}{_SUFFIXES[to]}"
    if not path.parent.is_dir():
        raise BadFileError(f"{path}: there is no directory {path.parent}.")
    return path


def _write_single(plan: Plan, model: str | None, to: str, path: Path) -> str:
    from planner.cli.check import load_planned_model
    from planner.export.c import require_legal
    from planner.plausible import require_plausible
    from planner.whole_files import write_whole

    notes = []
    graph = None
    if model:
        graph = load_planned_model(model, plan)
        require_legal(graph, plan)
    else:
        require_plausible(plan)
        notes.append("Not checked: that takes the model, plan export PLAN.json MODEL.onnx.")
    if to == "minimalloc":
        from planner.export.minimalloc import minimalloc_csv
        from planner.export.plan_buffers import planned_buffers

        problem, note = planned_buffers(plan)
        notes.append(note)
        write_whole({path: minimalloc_csv(problem)})
    else:
        write_whole({path: _trace(plan, graph)})
    return " ".join(filter(None, notes))


def _trace(plan: Plan, graph: Graph | None) -> str:
    """The simulated run; without a model or rates every step takes as long."""
    from planner.report.trace import render_trace
    from planner.simulator import simulate

    timeline = None
    if graph is not None and plan.target.compute is not None:
        timeline = simulate(graph, plan.target, plan)
    return render_trace(plan, timeline, graph)
