"""Compare solvers: one table, instance by instance, and a chart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.arguments import dimension, positive, seconds
from planner.cli.bench_suites import SUITES
from planner.errors import BadFileError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from planner.cli.bench_suites import Results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan bench``."""
    parser.add_argument("suite", metavar="SUITE", choices=SUITES, help=f"{' or '.join(SUITES)}")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="offsets: CSV files of buffers there and below; A.1048576.csv names a capacity "
        "(default: a generated set); cosma: bare graphs, *.txt (default: the paper's networks); "
        "execution: models, *.onnx (default: the zoo); sharing, latency: likewise, beside the zoo",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write SUITE.json, and the chart as SUITE.svg and SUITE.png there; cosma, latency, "
        "pipeline and training: SUITE.html too; pipeline: pipeline.csv too",
    )
    parser.add_argument(
        "--time-limit",
        type=seconds,
        metavar="SECONDS",
        help="for each run of a solver, or each plan (default: cosma, latency and training "
        "30, sharing 10, others 5)",
    )
    parser.add_argument(
        "--solver",
        type=_names,
        metavar="NAME[,NAME...]",
        help="offsets: those to compare (default: all); cosma: contenders to run by themselves "
        "beside the race; latency: methods (default: all); pipeline, training: solvers to race by "
        "themselves",
    )
    parser.add_argument(
        "--network",
        type=_names,
        metavar="NAME[,NAME...]",
        help="cosma, execution, sharing, latency: only these (default: all); pipeline: costs of "
        "these models only; training: these models only",
    )
    parser.add_argument(
        "--cases",
        metavar="SET",
        help="pipeline: quick, some limits on few devices (default); known, those of which it is "
        "known what a search reaches; full, all limits on up to 32 devices, which takes hours; "
        "training: quick, five small models that are executed too (default); full, with steps of "
        "1,500 and more operators that are only planned",
    )
    parser.add_argument(
        "--programs",
        metavar="SET",
        help="latency: quick, one program of each network (default); full; small, which an exact "
        "solver can prove; large, of thousands of operators",
    )
    parser.add_argument(
        "--decodes",
        type=positive,
        metavar="N",
        help="latency: of every method that searches (default: 100)",
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        metavar="N",
        help="latency: as many, from --seed on (default: 1)",
    )
    parser.add_argument(
        "--parameters",
        action="store_true",
        help="cosma: parameters pass through the scratchpad too",
    )
    parser.add_argument(
        "--dim",
        action="append",
        type=dimension,
        default=[],
        metavar="MODEL/NAME=N",
        help="execution, sharing, latency: bind a symbolic dimension of MODEL.onnx (repeatable)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="not offsets: of the race, or the first (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def run(options: argparse.Namespace) -> int:
    """Run the solvers, write what was asked for, print the table."""
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.interruption import listening_for_ctrl_c

    unread: list[str] = []
    on_progress = (lambda _: None) if options.quiet else _show_progress
    suite = SUITES[options.suite](options, unread, on_progress)
    directory = None if options.output is None else _made(Path(options.output))
    rows: list[Any] = []
    interrupted = False
    with listening_for_ctrl_c() as interruption:
        try:
            with reserved_stdout():
                for row in suite.rows:
                    rows.append(row)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            interruption.hold()  # the results are there, so they are not thrown away
            if not options.quiet:
                _clear_progress()
        results = suite.results(rows, interrupted)
        _hand_over(options, directory, results, rows, interrupted)
        if interrupted or interruption.heard:
            until = "; these are the results until then" if rows else " before the first result"
            if not interrupted:
                until = " after the last result: all of them are there"
            print(f"plan: interrupted{until}", file=sys.stderr)
            return EXIT_INTERRUPTED
        return 0


def _hand_over(
    options: argparse.Namespace,
    directory: Path | None,
    results: Results,
    rows: Sequence[Any],
    interrupted: bool,
) -> None:
    """Write what was asked for, print the table.

    Raises
    ------
    BadFileError
        If a file cannot be written: after the table, which may have taken hours to get.
    """
    from planner.report.names import printable

    notes = list(results.notes)
    written: list[Path] = []
    unwritten: BadFileError | None = None
    # Nothing is no reason to overwrite the results of an earlier run.
    if directory is not None and (rows or not interrupted):
        try:
            written = _write_outputs(options.suite, results, directory, notes)
        except BadFileError as error:
            unwritten = error
    if not options.quiet:
        for note in notes:
            print(f"note: {printable(note)}", file=sys.stderr)
    if options.json:
        print(json.dumps(results.document, indent=2, sort_keys=True))
    elif rows:
        print(results.text)
        if written:
            print(f"wrote {'  '.join(str(path) for path in written)}")
    if unwritten is not None:
        raise unwritten


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


def _write_outputs(suite: str, results: Results, directory: Path, notes: list[str]) -> list[Path]:
    """Write the JSON and, where it can be drawn, the chart; all or none.

    Raises
    ------
    BadFileError
        If one of them cannot be written.
    """
    from planner.json_text import dump_json
    from planner.whole_files import write_whole

    try:
        drawn = results.draw()
    except ImportError:
        drawn = results.without_picture
        notes.append(
            f"no {results.picture} is drawn: matplotlib is not installed. Install it with: "
            'pip install "tensor-planner[plots]".'
        )
    contents: dict[Path, str | bytes] = {
        directory / f"{suite}.json": dump_json(results.document),
        **{directory / f"{suite}.{suffix}": content for suffix, content in drawn.items()},
    }
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
