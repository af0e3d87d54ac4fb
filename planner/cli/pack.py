"""Give buffers with known lifetimes their offsets, checked and compared with proven bounds."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.arguments import capacity, distinct, positive, seconds, size
from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from planner.packing.problem import PackingProblem
    from planner.packing.result import PackResult

_OUTPUTS = {
    ".csv": "the offsets as MiniMalloc's CSV",
    ".json": "problem and packing",
    ".html": "the memory map",
    ".lp": "the MIP, for any other solver",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan pack``."""
    parser.add_argument(
        "buffers",
        metavar="BUFFERS",
        help="MiniMalloc's .csv, our .json, or a .log of malloc and free",
    )
    parser.add_argument(
        "--capacity", type=size, metavar="SIZE", help="any height within it will do, e.g. 1MiB"
    )
    parser.add_argument(
        "--alignment", type=positive, default=1, metavar="N", help="of every offset"
    )
    parser.add_argument(
        "--memory",
        action="append",
        type=capacity,
        default=[],
        metavar="NAME=SIZE",
        help="another capacity of a memory of the .json; for a .csv or .log, the memories to use, "
        "the preferred one first (repeatable)",
    )
    parser.add_argument(
        "--solver",
        type=lambda text: [name for name in text.split(",") if name],
        metavar="NAME[,NAME...]",
        help="default: greedy, exact, and cp or local; greedy always takes part",
    )
    parser.add_argument("--time-limit", type=seconds, default=30.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help=f"by suffix (repeatable): {', '.join(f'{s} {what}' for s, what in _OUTPUTS.items())}",
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="no progress, no warnings")
    loudness.add_argument("-v", "--verbose", action="store_true", help="every improvement")


def run(options: argparse.Namespace) -> int:
    """Pack, write what was asked for, report."""
    from frontends.buffers import load_buffers
    from planner.cli.progress import ProgressLine
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.interruption import listening_for_ctrl_c
    from planner.packing.race import race
    from planner.registry import SOLVERS

    outputs = _outputs(options.output, Path(options.buffers))
    if options.solver == []:
        known = ", ".join(SOLVERS["offsets"])
        raise UsageError(f"--solver: no solver is named. There are: {known}.")
    with listening_for_ctrl_c() as interruption:
        with ProgressLine(options) as progress, reserved_stdout():
            problem = load_buffers(
                options.buffers, capacity=options.capacity, alignment=options.alignment
            )
            problem = _with_memories(problem, options)
            inclusive = _has_inclusive_ends(options.buffers, outputs)
            if any(path.suffix.lower() == ".lp" for path in outputs):
                _require_mip(problem)
            result = race(
                problem,
                time_limit=options.time_limit,
                seed=options.seed,
                solvers=options.solver,
                on_progress=progress.update,
            )
        _hand_over(result, outputs, inclusive, options)
        return _exit_code(result, options.time_limit, result.interrupted or interruption.heard)


def _exit_code(result: PackResult, time_limit: float, interrupted: bool) -> int:
    """Say how an interrupted race ended.

    Raises
    ------
    DoesNotFitError
        If another one ended without a packing.
    """
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.packing.misfit import misfit
    from planner.report.names import printable

    if interrupted:
        so_far = "this is the best packing until then"
        if result.packing is None:
            so_far = printable(str(misfit(result, result.wall_s)))
        print(f"plan: interrupted; {so_far}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if result.packing is None:
        raise misfit(result, time_limit)
    return 0


def _outputs(names: list[str], source: Path) -> list[Path]:
    """Look at the names before the work, not after it."""
    paths = [Path(name) for name in dict.fromkeys(names)]
    for path in paths:
        if path.suffix.lower() not in _OUTPUTS:
            raise UsageError(f"-o {path}: the suffix must be one of {', '.join(_OUTPUTS)}.")
        if not path.parent.is_dir():
            raise BadFileError(f"{path}: there is no directory {path.parent}.")
        # Of a problem as JSON nothing is lost.
        same = path.exists() and source.exists() and path.samefile(source)
        if same and path.suffix.lower() == ".csv":
            raise UsageError(
                f"-o {path}: this is the file that is read, and offsets in it would be fixed ones "
                "from then on. Give another name."
            )
    return paths


def _with_memories(problem: PackingProblem, options: argparse.Namespace) -> PackingProblem:
    """Take the capacities of ``--memory``; where the file names no memories, take those."""
    from planner.packing.problem import MemorySpace

    given = distinct("--memory", options.memory)
    if not given:
        return problem
    if options.capacity is not None:
        raise UsageError("--capacity and --memory are both given. Give one of them.")
    if problem.memories == (MemorySpace(alignment=options.alignment),):
        spaces = (MemorySpace(name, limit, options.alignment) for name, limit in given.items())
        return replace(problem, memories=tuple(spaces))
    known = [memory.name for memory in problem.memories]
    for name in given:
        if name not in known:
            raise UsageError(f"--memory {name}: {options.buffers} has {', '.join(known)}.")
    return replace(
        problem,
        memories=tuple(
            memory._replace(capacity=given.get(memory.name, memory.capacity))
            for memory in problem.memories
        ),
    )


def _require_mip(problem: PackingProblem) -> None:
    """Say why there is no MIP to write before the race, not after it."""
    from planner.packing.race import offset_problem_of
    from planner.registry import SOLVERS

    mip = SOLVERS["offsets"]["mip"].load()
    available, reason = mip.available()
    if len(problem.memories) > 1:
        reason = f"the model is about one memory, there are {len(problem.memories):,}."
    elif available:
        reason = mip.unsupported(offset_problem_of(problem))
    if reason:
        raise UsageError(f"no .lp file can be written: {reason}")


def _write(
    result: PackResult, outputs: Sequence[Path], source: str, inclusive: bool
) -> tuple[list[Path], tuple[str, ...]]:
    """Write what there is, all or none; without a packing that is at most the MIP.

    Returns
    -------
    list of Path
        The files.
    tuple of str
        What their formats leave out.
    """
    from planner.problem import Status
    from planner.whole_files import write_whole

    contents: dict[Path, str | bytes] = {}
    notes = []
    for path in outputs:
        form = path.suffix.lower()
        if form == ".lp":
            # The bounds alone may rule out every packing; then there is no model.
            impossible = result.status is Status.INFEASIBLE
            with suppress(UsageError) if impossible else nullcontext():
                contents[path] = _lp(result.problem)
        elif result.packing is None:
            continue
        elif form == ".csv":
            from planner.export.minimalloc import dropped, minimalloc_csv

            contents[path] = minimalloc_csv(
                result.problem, packing=result.packing, inclusive=inclusive
            )
            notes.append(dropped(result.problem, packing=result.packing))
        elif form == ".json":
            from planner.packing.encoding import PackingSolution
            from planner.packing.file import packing_to_json

            contents[path] = packing_to_json(result.problem, PackingSolution.of(result))
        else:
            from planner.report.packing_html import render_packing_html

            contents[path] = render_packing_html(result, result.packing, source)
    write_whole(contents)
    return list(contents), tuple(dict.fromkeys(filter(None, notes)))


def _has_inclusive_ends(source: str, outputs: Sequence[Path]) -> bool:
    """Whether a CSV is written, and the one that is read counts the last time in."""
    from frontends.buffers.csv import ends_are_inclusive
    from frontends.buffers.load import format_of

    written = any(path.suffix.lower() == ".csv" for path in outputs)
    return written and format_of(source) == "csv" and ends_are_inclusive(source)


def _lp(problem: PackingProblem) -> bytes:
    from tempfile import TemporaryDirectory

    from planner.packing.race import offset_problem_of
    from solvers.offsets.mip import write_lp

    with TemporaryDirectory() as directory:
        path = Path(directory) / "packing.lp"
        write_lp(offset_problem_of(problem), path)
        return path.read_bytes()


def _hand_over(
    result: PackResult, outputs: Sequence[Path], inclusive: bool, options: argparse.Namespace
) -> None:
    """Write the files, then print notes and report."""
    from planner.report.names import printable

    source = Path(options.buffers).name
    written, notes = _write(result, outputs, source, inclusive)
    # Without a packing the error says what the notes say.
    if not options.quiet and result.packing is not None:
        for note in (*result.notes, *notes):
            print(f"note: {printable(note)}", file=sys.stderr)
    if options.json:
        print(json.dumps(result.to_json(), indent=2, sort_keys=True))
        return
    if result.packing is not None:
        from planner.report.packing_text import render_packing

        print(render_packing(result, result.packing, source))
    if written:
        print(f"wrote     {'  '.join(printable(str(path)) for path in written)}")
