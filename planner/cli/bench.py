"""Compare solvers: one table, instance by instance, and a chart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from planner.cli.arguments import dimension, distinct, seconds
from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any


# Options that not all suites have.
_SUITES_WITH = {
    "solver": "offsets and cosma",
    "network": "cosma and sharing",
    "parameters": "cosma",
    "dim": "sharing",
    "seed": "cosma and sharing",
}


class _Results(NamedTuple):
    """What a suite has to show.

    Attributes
    ----------
    document : mapping
        For ``--json``.
    text : str
    notes : sequence of str
    picture : str
        What is drawn.
    draw : callable
        Makes files by suffix; raises ImportError where matplotlib is missing.
    without_picture : mapping of str to str
        The files where it is.
    """

    document: Mapping[str, Any]
    text: str
    notes: Sequence[str]
    picture: str
    draw: Callable[[], Mapping[str, str | bytes]]
    without_picture: Mapping[str, str | bytes] = {}


class _Suite(NamedTuple):
    """A suite about to run: its rows, and what to make of those that there are in the end."""

    rows: Iterator[Any]
    results: Callable[[list[Any], bool], _Results]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan bench``."""
    parser.add_argument("suite", metavar="SUITE", choices=_SUITES, help=f"{' or '.join(_SUITES)}")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="offsets: CSV files of buffers there and below; A.1048576.csv names a capacity "
        "(default: a generated set); cosma: bare graphs, *.txt (default: the paper's networks); "
        "sharing: models, *.onnx, beside the zoo",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write SUITE.json, and the chart as SUITE.svg and SUITE.png there; cosma.html too",
    )
    parser.add_argument(
        "--time-limit",
        type=seconds,
        metavar="SECONDS",
        help="for each run of a solver (default: offsets 5, cosma 30, sharing 10)",
    )
    parser.add_argument(
        "--solver",
        type=_names,
        metavar="NAME[,NAME...]",
        help="offsets: those to compare (default: all); cosma: contenders to run by themselves "
        "beside the race",
    )
    parser.add_argument(
        "--network",
        type=_names,
        metavar="NAME[,NAME...]",
        help="cosma, sharing: only these (default: all)",
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
        help="sharing: bind a symbolic dimension of MODEL.onnx (repeatable)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="cosma, sharing: of the race (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def run(options: argparse.Namespace) -> int:
    """Run the solvers, write what was asked for, print the table."""
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.report.names import printable

    unread: list[str] = []
    on_progress = (lambda _: None) if options.quiet else _show_progress
    suite = _SUITES[options.suite](options, unread, on_progress)
    directory = None if options.output is None else _made(Path(options.output))
    rows: list[Any] = []
    interrupted = False
    try:
        with reserved_stdout():
            for row in suite.rows:
                rows.append(row)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if not options.quiet:
            _clear_progress()
    results = suite.results(rows, interrupted)
    notes = list(results.notes)
    written: list[Path] = []
    unwritten: BadFileError | None = None
    # Nothing is no reason to overwrite the results of an earlier run.
    if directory is not None and (rows or not interrupted):
        try:
            try:
                written = _write_outputs(options.suite, results, directory, notes)
            except KeyboardInterrupt:  # the results are there, so they are not thrown away
                interrupted = True
                notes.append(f"no {results.picture} is drawn: interrupted.")
                results = suite.results(rows, interrupted)
                undrawn = results._replace(draw=lambda: undrawn.without_picture)
                written = _write_outputs(options.suite, undrawn, directory, notes)
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
    if interrupted:
        until_then = "; these are the results until then" if rows else " before the first result"
        print(f"plan: interrupted{until_then}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _offsets(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> _Suite:
    from planner.bench.offset_instances import generated_instances, instances_in
    from planner.bench.offset_results import (
        by_instance,
        contradictions,
        render_summary,
        render_table,
        results_object,
    )
    from planner.bench.offset_solves import chosen_solvers, solve_all
    from planner.bench.performance_profile import draw_profiles

    _refuse(options, "network", "parameters", "seed", "dim")
    solvers = chosen_solvers(options.solver)
    time_limit_s = 5.0 if options.time_limit is None else options.time_limit
    instances = (
        generated_instances() if options.data is None else instances_in(options.data, unread.append)
    )

    def results(rows: list[Any], interrupted: bool) -> _Results:
        found = by_instance(rows)
        notes = [*unread, *contradictions(found)]
        return _Results(
            results_object(found, time_limit_s=time_limit_s, notes=notes, interrupted=interrupted),
            f"{render_table(found)}\n\n{render_summary(found)}" if found else "",
            notes,
            "performance profile",
            lambda: draw_profiles(found),
        )

    return _Suite(
        solve_all(instances, solvers, time_limit_s=time_limit_s, on_progress=on_progress), results
    )


def _cosma(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> _Suite:
    from planner.bench.cosma_cases import chosen_contenders, run_cases
    from planner.bench.cosma_chart import draw_bars
    from planner.bench.cosma_networks import networks_in, published_networks
    from planner.bench.cosma_page import render_page
    from planner.bench.cosma_results import defects, results_object
    from planner.bench.cosma_table import render_summary, render_table

    _refuse(options, "dim")
    contenders = chosen_contenders(options.solver)
    seed = 0 if options.seed is None else options.seed
    time_limit_s = 30.0 if options.time_limit is None else options.time_limit
    networks = (
        published_networks(options.network)
        if options.data is None
        else networks_in(options.data, options.network, unread.append)
    )

    def results(rows: list[Any], interrupted: bool) -> _Results:
        notes = [*unread, *defects(rows)]
        document = results_object(
            rows,
            parameters=options.parameters,
            time_limit_s=time_limit_s,
            seed=seed,
            notes=notes,
            interrupted=interrupted,
        )
        if not rows:
            return _Results(document, "", notes, "chart", dict)

        def page(svg: bytes | None) -> str:
            return render_page(
                rows, svg, parameters=options.parameters, time_limit_s=time_limit_s, notes=notes
            )

        def draw() -> dict[str, str | bytes]:
            pictures = draw_bars(rows)
            return {"html": page(pictures["svg"]), **pictures}

        text = f"{render_table(rows)}\n\n{render_summary(rows, parameters=options.parameters)}"
        return _Results(document, text, notes, "chart", draw, {"html": page(None)})

    return _Suite(
        run_cases(
            networks,
            contenders,
            parameters=options.parameters,
            time_limit_s=time_limit_s,
            seed=seed,
            on_progress=on_progress,
        ),
        results,
    )


def _sharing(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> _Suite:
    from planner.bench.sharing_cases import models_in, run_sharing, zoo_models
    from planner.bench.sharing_chart import draw_shares
    from planner.bench.sharing_results import (
        defects,
        render_summary,
        render_table,
        results_object,
    )

    _refuse(options, "solver", "parameters")
    seed = 0 if options.seed is None else options.seed
    time_limit_s = 10.0 if options.time_limit is None else options.time_limit
    dims = _dims_by_model(options)
    models = zoo_models(options.network)
    if options.data is not None:
        models += models_in(options.data, dims)
    elif dims:
        raise UsageError("--dim: the networks of the zoo have none to bind. It goes with --data.")

    def results(rows: list[Any], interrupted: bool) -> _Results:
        notes = [*unread, *defects(rows)]
        document = results_object(
            rows, time_limit_s=time_limit_s, seed=seed, notes=notes, interrupted=interrupted
        )
        if not rows:
            return _Results(document, "", notes, "chart", dict)
        text = f"{render_table(rows)}\n\n{render_summary(rows)}"
        return _Results(document, text, notes, "chart", lambda: draw_shares(rows))

    return _Suite(
        run_sharing(
            models,
            time_limit_s=time_limit_s,
            seed=seed,
            on_unplanned=unread.append,
            on_progress=on_progress,
        ),
        results,
    )


def _dims_by_model(options: argparse.Namespace) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, size in distinct("--dim", options.dim).items():
        model, slash, dimension = name.partition("/")
        if not slash:
            raise UsageError(f"--dim {name}={size}: say of which model, --dim MODEL/{name}={size}.")
        found.setdefault(model, {})[dimension] = size
    return found


def _refuse(options: argparse.Namespace, *names: str) -> None:
    """Refuse options of other suites."""
    for name in names:
        if getattr(options, name) not in (None, False, []):
            raise UsageError(
                f"--{name} is an option of plan bench {_SUITES_WITH[name]}, not of {options.suite}."
            )


_SUITES: Mapping[str, Callable[[argparse.Namespace, list[str], Callable[[str], None]], _Suite]] = {
    "offsets": _offsets,
    "cosma": _cosma,
    "sharing": _sharing,
}


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


def _write_outputs(suite: str, results: _Results, directory: Path, notes: list[str]) -> list[Path]:
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
