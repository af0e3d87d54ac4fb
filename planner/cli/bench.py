"""Compare solvers: one table, instance by instance, and a performance profile."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.arguments import seconds
from planner.errors import BadFileError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import Any

    from planner.bench.offset_results import InstanceResult

_SUITES = ("offsets",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan bench``."""
    parser.add_argument("suite", metavar="SUITE", choices=_SUITES, help="offsets")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="CSV files of buffers there and below; A.1048576.csv names a capacity "
        "(default: a generated set)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write SUITE.json, and the performance profile as SUITE.svg and SUITE.png there",
    )
    parser.add_argument(
        "--time-limit",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="for each run of a solver (default: 5)",
    )
    parser.add_argument(
        "--solver",
        type=lambda text: [name for name in text.split(",") if name],
        metavar="NAME[,NAME...]",
        help="default: all",
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")


def run(options: argparse.Namespace) -> int:
    """Run the solvers, write what was asked for, print the table."""
    from planner.bench.offset_instances import generated_instances, instances_in
    from planner.bench.offset_results import (
        by_instance,
        contradictions,
        render_summary,
        render_table,
        results_object,
    )
    from planner.bench.offset_solves import OffsetSolve, chosen_solvers, solve_all
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.report.names import printable

    solvers = chosen_solvers(options.solver)
    notes: list[str] = []
    instances = (
        generated_instances() if options.data is None else instances_in(options.data, notes.append)
    )
    directory = None if options.output is None else _made(Path(options.output))
    solves: list[OffsetSolve] = []
    interrupted = False
    try:
        with reserved_stdout():
            for solve in solve_all(
                instances,
                solvers,
                time_limit_s=options.time_limit,
                on_progress=(lambda _: None) if options.quiet else _show_progress,
            ):
                solves.append(solve)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if not options.quiet:
            _clear_progress()
    results = by_instance(solves)
    notes += contradictions(results)
    document = results_object(
        results, time_limit_s=options.time_limit, notes=notes, interrupted=interrupted
    )
    # Nothing is no reason to overwrite the results of an earlier run.
    written = []
    if directory is not None and (results or not interrupted):
        written = _write_outputs(results, document, directory, notes)
    if not options.quiet:
        for note in notes:
            print(f"note: {printable(note)}", file=sys.stderr)
    if options.json:
        print(json.dumps(document, indent=2, sort_keys=True))
    elif results:
        print(f"{render_table(results)}\n\n{render_summary(results)}")
        if written:
            print(f"wrote {'  '.join(str(path) for path in written)}")
    if interrupted:
        until_then = "; these are the results until then" if results else " before the first result"
        print(f"plan: interrupted{until_then}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _made(directory: Path) -> Path:
    """Make the directory before hours are spent on what goes there.

    Raises
    ------
    BadFileError
        If it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFileError(
            f"{directory}: the outputs cannot be written there: {error.strerror or error}."
        ) from None
    return directory


def _write_outputs(
    results: Sequence[InstanceResult],
    document: Mapping[str, Any],
    directory: Path,
    notes: list[str],
) -> list[Path]:
    """Write the JSON and, where it can be drawn, the profile; all or none.

    Raises
    ------
    BadFileError
        If one of them cannot be written.
    """
    from planner.bench.performance_profile import draw_profiles
    from planner.json_text import dump_json
    from planner.whole_files import write_whole

    contents: dict[Path, str | bytes] = {directory / "offsets.json": dump_json(document)}
    try:
        pictures = draw_profiles(results)
    except ImportError:
        pictures = {}
        notes.append(
            "no performance profile is drawn: matplotlib is not installed. Install it with: "
            'pip install "tensor-planner[plots]".'
        )
    for suffix, picture in pictures.items():
        contents[directory / f"offsets.{suffix}"] = picture
    write_whole(contents)
    return list(contents)


def _show_progress(line: str) -> None:
    """Overwrite the line before on a terminal; a line of its own elsewhere."""
    from planner.report.names import printable

    on_terminal = sys.stderr.isatty()
    begin, end = ("\r\033[K", "") if on_terminal else ("", "\n")
    print(f"{begin}{printable(line, 100)}", end=end, file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
