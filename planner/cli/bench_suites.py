"""The suites of ``plan bench``: what each takes from the options, and what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from planner.cli.arguments import distinct
from planner.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Options that not all suites have.
_SUITES_WITH = {
    "data": "offsets, cosma, execution, sharing and latency",
    "solver": "offsets, cosma, latency, pipeline and training",
    "network": "cosma, execution, sharing, latency, pipeline and training",
    "parameters": "cosma",
    "dim": "execution, sharing and latency",
    "seed": "cosma, execution, sharing, latency, pipeline and training",
    "cases": "pipeline and training",
    "programs": "latency",
    "decodes": "latency",
    "seeds": "latency",
}
_OF_LATENCY = ("programs", "decodes", "seeds")


class Results(NamedTuple):
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


def _with_page(
    document: Mapping[str, Any],
    text: str,
    notes: Sequence[str],
    picture: str,
    draw: Callable[[], Mapping[str, bytes]],
    page: Callable[[bytes | None], str],
    **files: str,
) -> Results:
    """Return results with a page that shows the picture, where one can be drawn, and files."""

    def drawn() -> dict[str, str | bytes]:
        pictures = draw()
        return {"html": page(pictures["svg"]), **files, **pictures}

    return Results(document, text, notes, picture, drawn, {"html": page(None), **files})


class Suite(NamedTuple):
    """A suite about to run: its rows, and what to make of those that there are in the end."""

    rows: Iterator[Any]
    results: Callable[[list[Any], bool], Results]


def _offsets(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> Suite:
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

    _refuse(options, "network", "parameters", "seed", "dim", "cases", *_OF_LATENCY)
    solvers = chosen_solvers(options.solver)
    time_limit_s = 5.0 if options.time_limit is None else options.time_limit
    instances = (
        generated_instances() if options.data is None else instances_in(options.data, unread.append)
    )

    def results(rows: list[Any], interrupted: bool) -> Results:
        found = by_instance(rows)
        notes = [*unread, *contradictions(found)]
        return Results(
            results_object(found, time_limit_s=time_limit_s, notes=notes, interrupted=interrupted),
            f"{render_table(found)}\n\n{render_summary(found)}" if found else "",
            notes,
            "performance profile",
            lambda: draw_profiles(found),
        )

    return Suite(
        solve_all(instances, solvers, time_limit_s=time_limit_s, on_progress=on_progress), results
    )


def _cosma(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> Suite:
    from planner.bench.cosma_cases import chosen_contenders, run_cases
    from planner.bench.cosma_chart import draw_bars
    from planner.bench.cosma_networks import networks_in, published_networks
    from planner.bench.cosma_page import render_page
    from planner.bench.cosma_results import defects, results_object
    from planner.bench.cosma_table import render_summary, render_table

    _refuse(options, "dim", "cases", *_OF_LATENCY)
    contenders = chosen_contenders(options.solver)
    seed = 0 if options.seed is None else options.seed
    time_limit_s = 30.0 if options.time_limit is None else options.time_limit
    networks = (
        published_networks(options.network)
        if options.data is None
        else networks_in(options.data, options.network, unread.append)
    )

    def results(rows: list[Any], interrupted: bool) -> Results:
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
            return Results(document, "", notes, "chart", dict)

        def page(svg: bytes | None) -> str:
            return render_page(
                rows, svg, parameters=options.parameters, time_limit_s=time_limit_s, notes=notes
            )

        text = f"{render_table(rows)}\n\n{render_summary(rows, parameters=options.parameters)}"
        return _with_page(document, text, notes, "chart", lambda: draw_bars(rows), page)

    return Suite(
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


def _execution(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> Suite:
    from planner.bench.execution_cases import networks_in, run_cases, zoo_networks
    from planner.bench.execution_table import render_summary, render_table, results_object
    from planner.execution.sessions import runtime

    _refuse(options, "solver", "parameters", "cases", *_OF_LATENCY)
    runtime()
    seed = 0 if options.seed is None else options.seed
    time_limit_s = 5.0 if options.time_limit is None else options.time_limit
    networks = (
        zoo_networks(options.network)
        if options.data is None
        else networks_in(options.data, options.network, _dims_by_model(options))
    )

    def results(rows: list[Any], interrupted: bool) -> Results:
        document = results_object(
            rows, time_limit_s=time_limit_s, seed=seed, notes=unread, interrupted=interrupted
        )
        text = f"{render_table(rows)}\n\n{render_summary(rows)}" if rows else ""
        return Results(document, text, unread, "chart", dict)

    return Suite(
        run_cases(networks, time_limit_s=time_limit_s, seed=seed, on_progress=on_progress), results
    )


def _sharing(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> Suite:
    from planner.bench.sharing_cases import models_in, run_sharing, zoo_models
    from planner.bench.sharing_chart import draw_shares
    from planner.bench.sharing_results import (
        defects,
        render_summary,
        render_table,
        results_object,
    )

    _refuse(options, "solver", "parameters", "cases", *_OF_LATENCY)
    seed = 0 if options.seed is None else options.seed
    time_limit_s = 10.0 if options.time_limit is None else options.time_limit
    dims = _dims_by_model(options)
    models = zoo_models(options.network)
    if options.data is not None:
        models += models_in(options.data, dims)
    elif dims:
        raise UsageError("--dim: the networks of the zoo have none to bind. It goes with --data.")

    def results(rows: list[Any], interrupted: bool) -> Results:
        notes = [*unread, *defects(rows)]
        document = results_object(
            rows, time_limit_s=time_limit_s, seed=seed, notes=notes, interrupted=interrupted
        )
        if not rows:
            return Results(document, "", notes, "chart", dict)
        text = f"{render_table(rows)}\n\n{render_summary(rows)}"
        return Results(document, text, notes, "chart", lambda: draw_shares(rows))

    return Suite(
        run_sharing(
            models,
            time_limit_s=time_limit_s,
            seed=seed,
            on_unplanned=unread.append,
            on_progress=on_progress,
        ),
        results,
    )


def _latency(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> Suite:
    from planner.bench.latency_chart import draw_latency_profiles
    from planner.bench.latency_methods import chosen_methods
    from planner.bench.latency_page import render_page
    from planner.bench.latency_programs import chosen_programs, programs_in
    from planner.bench.latency_results import defects, results_object
    from planner.bench.latency_runs import run_programs
    from planner.bench.latency_table import render_tables

    _refuse(options, "parameters", "cases")
    which = "quick" if options.programs is None else options.programs
    decodes = 100 if options.decodes is None else options.decodes
    first = 0 if options.seed is None else options.seed
    seeds = range(first, first + (1 if options.seeds is None else options.seeds))
    time_limit_s = 30.0 if options.time_limit is None else options.time_limit
    dims = _dims_by_model(options)
    programs = chosen_programs(which, options.network)
    methods, missing = chosen_methods(options.solver, exact=which == "small")
    if options.data is not None:
        programs += programs_in(options.data, dims, unread.append)
    elif dims:
        raise UsageError("--dim: the networks of the zoo have none to bind. It goes with --data.")

    def results(rows: list[Any], interrupted: bool) -> Results:
        notes = [*unread, *defects(rows)]
        document = results_object(
            rows,
            programs=which,
            decodes=decodes,
            seeds=seeds,
            time_limit_s=time_limit_s,
            missing=missing,
            notes=notes,
            interrupted=interrupted,
        )
        if not rows:
            return Results(document, "", notes, "performance profile", dict)

        def page(svg: bytes | None) -> str:
            return render_page(
                rows, svg, decodes=decodes, seeds=len(seeds), missing=missing, notes=notes
            )

        return _with_page(
            document,
            render_tables(rows, missing),
            notes,
            "performance profile",
            lambda: draw_latency_profiles(rows),
            page,
        )

    return Suite(
        run_programs(
            programs,
            methods,
            decodes=decodes,
            seeds=seeds,
            time_limit_s=time_limit_s,
            on_progress=on_progress,
        ),
        results,
    )


def _pipeline(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> Suite:
    from itertools import chain

    from planner.bench.pipeline_cases import FULL, QUICK, chosen_cases
    from planner.bench.pipeline_chart import draw_bubbles
    from planner.bench.pipeline_page import render_page
    from planner.bench.pipeline_reproduction import Reproduced, reproduce
    from planner.bench.pipeline_results import defects, results_object
    from planner.bench.pipeline_runs import chosen_solvers, run_cases
    from planner.bench.pipeline_table import render_csv, render_tables
    from planner.bench.results_envelope import envelope

    _refuse(options, "data", "parameters", "dim", *_OF_LATENCY)
    which = QUICK if options.cases is None else options.cases
    seed = 0 if options.seed is None else options.seed
    time_limit_s = 5.0 if options.time_limit is None else options.time_limit
    cases = chosen_cases(which, options.network)
    solvers = chosen_solvers(options.solver)

    def results(rows: list[Any], interrupted: bool) -> Results:
        reproduced = [row for row in rows if isinstance(row, Reproduced)]
        found = [row for row in rows if not isinstance(row, Reproduced)]
        notes = [*unread, *defects(found, reproduced)]
        document = {
            **envelope(
                "pipeline",
                notes=notes,
                interrupted=interrupted,
                cases=which,
                time_limit_s=time_limit_s,
                seed=seed,
            ),
            **results_object(found, reproduced),
        }
        text = render_tables(found, reproduced) if rows else ""
        if not found:
            return Results(document, text, notes, "chart", dict)

        def page(svg: bytes | None) -> str:
            return render_page(found, reproduced, svg, time_limit_s=time_limit_s, notes=notes)

        return _with_page(
            document,
            text,
            notes,
            "chart",
            lambda: draw_bubbles(found),
            page,
            csv=render_csv(found),
        )

    return Suite(
        chain(
            reproduce(everything=which == FULL, models=options.network, on_progress=on_progress),
            run_cases(
                cases, solvers, time_limit_s=time_limit_s, seed=seed, on_progress=on_progress
            ),
        ),
        results,
    )


def _training(
    options: argparse.Namespace, unread: list[str], on_progress: Callable[[str], None]
) -> Suite:
    from planner.bench.results_envelope import envelope
    from planner.bench.training_cases import QUICK, chosen_cases
    from planner.bench.training_chart import draw_frontiers
    from planner.bench.training_page import render_page
    from planner.bench.training_results import defects, results_object
    from planner.bench.training_runs import chosen_solvers, run_cases
    from planner.bench.training_table import render_tables
    from planner.torch import require_torch

    _refuse(options, "data", "parameters", "dim", *_OF_LATENCY)
    which = QUICK if options.cases is None else options.cases
    seed = 0 if options.seed is None else options.seed
    time_limit_s = 30.0 if options.time_limit is None else options.time_limit
    cases = chosen_cases(which, options.network)
    solvers = chosen_solvers(options.solver)
    require_torch("plan bench training")

    def results(rows: list[Any], interrupted: bool) -> Results:
        notes = [*unread, *defects(rows)]
        document = {
            **envelope(
                "training",
                notes=notes,
                interrupted=interrupted,
                cases=which,
                time_limit_s=time_limit_s,
                seed=seed,
            ),
            **results_object(rows),
        }
        if not rows:
            return Results(document, "", notes, "chart", dict)

        def page(svg: bytes | None) -> str:
            return render_page(rows, svg, time_limit_s=time_limit_s, notes=notes)

        return _with_page(
            document, render_tables(rows), notes, "chart", lambda: draw_frontiers(rows), page
        )

    return Suite(
        run_cases(cases, solvers, time_limit_s=time_limit_s, seed=seed, on_progress=on_progress),
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
        value = getattr(options, name)
        if value is not None and value is not False and value != []:
            raise UsageError(
                f"--{name} is an option of plan bench {_SUITES_WITH[name]}, not of {options.suite}."
            )


SUITES: Mapping[str, Callable[[argparse.Namespace, list[str], Callable[[str], None]], Suite]] = {
    "offsets": _offsets,
    "cosma": _cosma,
    "execution": _execution,
    "sharing": _sharing,
    "latency": _latency,
    "pipeline": _pipeline,
    "training": _training,
}
