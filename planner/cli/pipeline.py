"""Order the passes of pipeline-parallel training: the least bubble that fits the memory, proven."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.cli.arguments import dimension, distinct, positive, seconds, size
from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    from fractions import Fraction

    from planner.pipelining.costs import ProblemFamily, VocabularyTimes
    from planner.pipelining.partitioning.partition import Partition
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.result import PipelineResult
    from planner.pipelining.schedule import PipelineSchedule

_OBJECTIVES = ("longest-stage", "makespan")
_PLACEMENTS = ("linear", "looped", "v")
_OF_MODELS = ("target", "dim", "link_bandwidth", "link_latency")
_OF_COSTS = (
    "devices",
    "microbatches",
    "memory_limit",
    "chunks",
    "placement",
    "offload_bandwidth",
    "reload_bandwidth",
    "host_memory",
    "vocabulary",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan pipeline``."""
    parser.add_argument(
        "--costs", metavar="COSTS.csv", help="times and bytes of each stage, see docs/pipeline.md"
    )
    parser.add_argument(
        "--model", metavar="MODEL.onnx", help="in place of costs: a model to cut into stages"
    )
    parser.add_argument(
        "-t", "--target", metavar="NAME|FILE.toml", help="of --model: each device; default: host"
    )
    parser.add_argument(
        "--dim",
        action="append",
        type=dimension,
        default=[],
        metavar="NAME=N",
        help="of --model: bind a symbolic dimension (repeatable)",
    )
    parser.add_argument(
        "--link-bandwidth",
        type=size,
        metavar="SIZE",
        help="of --model: bytes per second between devices; default: the target's",
    )
    parser.add_argument(
        "--link-latency", type=exact_seconds, metavar="TIME", help="of --model, e.g. 10us"
    )
    parser.add_argument("--devices", type=positive, metavar="P")
    parser.add_argument("--microbatches", type=positive, metavar="M")
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE|X",
        help="of activations on each device: 10GiB, or 0.75x of what 1F1B needs; one for all, or "
        "one for each with commas between",
    )
    parser.add_argument(
        "--chunks",
        type=positive,
        metavar="V",
        help="stages per device; rows of costs for whole devices are cut into as many",
    )
    parser.add_argument(
        "--placement",
        action="append",
        choices=_PLACEMENTS,
        help="default: all that suit the chunks (repeatable)",
    )
    parser.add_argument(
        "--objective",
        choices=_OBJECTIVES,
        default=_OBJECTIVES[0],
        help="makespan where a barrier ends every iteration (default: %(default)s)",
    )
    parser.add_argument(
        "--offload-bandwidth",
        type=size,
        metavar="SIZE",
        help="bytes per second of a device to the host, e.g. 15GB; allows offloading",
    )
    parser.add_argument(
        "--reload-bandwidth", type=size, metavar="SIZE", help="the other way, if that differs"
    )
    parser.add_argument(
        "--copy-streams",
        type=int,
        choices=(1, 2),
        default=2,
        help="1 if a device copies one way at a time (default: 2)",
    )
    parser.add_argument(
        "--host-memory", type=size, metavar="SIZE", help="that the host has for each device"
    )
    parser.add_argument(
        "--vocabulary",
        type=vocabulary,
        metavar="KEY=VALUE,...",
        help="the output layer split over all devices: forward=2ms,backward=3ms and, optionally, "
        "barriers=1|2, barrier=TIME, broadcast=TIME, activation_bytes=SIZE; of --model, barriers "
        "alone",
    )
    parser.add_argument(
        "--schedule",
        metavar="FILE",
        help="check and price this schedule, .csv of PyTorch or .json of this program, instead of "
        "searching",
    )
    parser.add_argument(
        "--solver",
        type=lambda text: [name for name in text.split(",") if name],
        metavar="NAME[,NAME...]",
        help="constructors and searches, see plan solvers; default: all",
    )
    parser.add_argument("--time-limit", type=seconds, default=30.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="writes the schedule as .json and PyTorch's .csv, its picture as .svg and .html, and "
        "a .trace.json",
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="no progress, no warnings")
    loudness.add_argument("-v", "--verbose", action="store_true", help="every improvement")


def run(options: argparse.Namespace) -> int:
    """Plan or price, write what was asked for, report."""
    from planner.cli.progress import ProgressLine
    from planner.cli.reserved_stdout import reserved_stdout
    from planner.interruption import listening_for_ctrl_c
    from planner.pipelining.race import price, race

    if options.solver == []:
        raise UsageError("--solver: no solver is named. plan solvers lists them.")
    directory = _directory(options.output)
    with listening_for_ctrl_c() as interruption:
        with ProgressLine(options) as progress, reserved_stdout():
            if options.schedule is not None:
                problem, placement, schedule, remarks = _given(options)
                result = price(
                    problem, schedule, placement=placement, time_limit=options.time_limit
                )
            else:
                family, partitions = _family(options)
                result = race(
                    family.problems,
                    time_limit=options.time_limit,
                    seed=options.seed,
                    solvers=options.solver,
                    on_progress=progress.update,
                )
                result = replace(result, partition=partitions.get(result.placement))
                remarks = family.notes
            result = replace(result, notes=(*result.notes, *remarks))
        _hand_over(result, directory, options)
        return _exit_code(result, options.time_limit, result.interrupted or interruption.heard)


def vocabulary(text: str) -> VocabularyTimes | int:
    """Read ``forward=2ms,backward=3ms,barriers=2,...``; ``barriers=2`` alone is a number.

    Raises
    ------
    argparse.ArgumentTypeError
        If a part is malformed, unknown or missing.
    """
    from planner.pipelining.costs import VocabularyTimes

    values: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key not in VocabularyTimes._fields or key in values:
            known = ", ".join(VocabularyTimes._fields)
            raise argparse.ArgumentTypeError(f"{part!r}: give each of {known} once, as KEY=VALUE")
        if key == "barriers":
            if value not in ("1", "2"):
                raise argparse.ArgumentTypeError(f"{part!r}: there are 1 or 2 barriers")
            values[key] = int(value)
        elif key == "activation_bytes":
            values[key] = size(value)
        else:
            values[key] = exact_seconds(value)
    if [*values] == ["barriers"]:
        return values["barriers"]
    if missing := [key for key in ("forward", "backward") if key not in values]:
        raise argparse.ArgumentTypeError(f"{text!r}: {' and '.join(missing)} must be given")
    return VocabularyTimes(**values)


def exact_seconds(text: str) -> Fraction:
    """Read a time with its unit, exactly: ``1.5ms``.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is malformed, negative or more than a day.
    """
    from planner.pipelining.files.costs_file import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _directory(name: str | None) -> Path | None:
    """Make the directory before the work, not after it."""
    if name is None:
        return None
    path = Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFileError(f"{path}: {error.strerror or error}.") from None
    return path


def _family(options: argparse.Namespace) -> tuple[ProblemFamily, dict[str, Partition]]:
    from planner.pipelining.api import model_family, pipeline_problems

    if (options.costs is None) == (options.model is None):
        raise UsageError("give --costs, what the stages cost, or --model to cut into stages.")
    for name in ("devices", "microbatches"):
        if getattr(options, name) is None:
            raise UsageError(f"--{name}: how many there are must be given.")
    if options.model is not None:
        if not isinstance(options.vocabulary, int | None):
            raise UsageError("--vocabulary: of a model the times are known; give barriers=1 or 2.")
        return model_family(
            options.model,
            target=options.target or "host",
            dims=distinct("--dim", options.dim),
            devices=options.devices,
            microbatches=options.microbatches,
            memory_limit=options.memory_limit,
            chunks=options.chunks,
            placement=options.placement,
            objective=options.objective,
            link_bandwidth=options.link_bandwidth,
            link_latency_s=None if options.link_latency is None else float(options.link_latency),
            offload_bandwidth=options.offload_bandwidth,
            reload_bandwidth=options.reload_bandwidth,
            copy_streams=options.copy_streams,
            host_memory=options.host_memory,
            barriers=options.vocabulary or 0,
        )
    _refuse_together_with(options, _OF_MODELS, "of --model alone; what stages cost is in --costs")
    if isinstance(options.vocabulary, int):
        raise UsageError("--vocabulary: forward and backward must be given.")
    family = pipeline_problems(
        options.costs,
        devices=options.devices,
        microbatches=options.microbatches,
        memory_limit=options.memory_limit,
        chunks=options.chunks,
        placement=options.placement,
        objective=options.objective,
        offload_bandwidth=options.offload_bandwidth,
        reload_bandwidth=options.reload_bandwidth,
        copy_streams=options.copy_streams,
        host_memory=options.host_memory,
        vocabulary=options.vocabulary,
    )
    return family, {}


def _refuse_together_with(options: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    """Refuse options that would be passed over."""
    if given := [name for name in names if getattr(options, name) not in (None, [])]:
        text = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{text}: {reason}.")


def _given(
    options: argparse.Namespace,
) -> tuple[PipelineProblem, str, PipelineSchedule, tuple[str, ...]]:
    """Return problem, placement and schedule of ``--schedule``, and notes on the problem."""
    from planner.pipelining.api import placed_as, placement_name
    from planner.pipelining.files.schedule_csv import read_schedule_csv
    from planner.pipelining.race import require_legal

    path = Path(options.schedule)
    if path.suffix.lower() == ".csv":
        found = read_schedule_csv(path)
        schedule = found.schedule
        if options.microbatches is None:
            options.microbatches = found.microbatches
        if options.devices is None:
            options.devices = len(schedule.passes)
        if options.chunks is None:
            options.chunks = -(-len(schedule.device_of) // max(1, len(schedule.passes)))
        schedule = _with_copies(path, schedule)
    else:
        from planner.pipelining.files.schedule_file import read_schedule

        stored = read_schedule(path)
        schedule = stored.schedule
        if options.costs is None and options.model is None:
            _refuse_together_with(
                options, _OF_COSTS, "without --costs the problem in the file is priced as it is"
            )
            require_legal(stored.problem, stored.timeline)
            name = placement_name(schedule.device_of, stored.problem.devices)
            return stored.problem, name, schedule, ()
        options.microbatches = options.microbatches or stored.problem.microbatches
        options.devices = options.devices or stored.problem.devices
        options.chunks = options.chunks or len(schedule.device_of) // stored.problem.devices
    # The file has a placement of its own; any that suits the chunks will do until then.
    options.placement = None
    family, _ = _family(options)
    placement, problem = placed_as(family, schedule)
    return problem, placement, schedule, family.notes


def _with_copies(path: Path, schedule: PipelineSchedule) -> PipelineSchedule:
    """Add the copies to the host that lie in a file beside a CSV."""
    from planner.pipelining.files.offload_file import read_offload

    beside = path.with_suffix(".offload.json")
    return read_offload(beside, schedule) if beside.exists() else schedule


def _exit_code(result: PipelineResult, time_limit: float, interrupted: bool) -> int:
    """Say how an interrupted race ended.

    Raises
    ------
    DoesNotFitError
        If another one ended without a schedule.
    """
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.pipelining.misfit import misfit

    if result.timeline is None:
        raise misfit(result, time_limit)
    if interrupted:
        print("plan: interrupted; this is the best schedule until then", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _hand_over(result: PipelineResult, directory: Path | None, options: argparse.Namespace) -> None:
    """Write the files, then print notes and report."""
    from planner.report.names import printable

    source = Path(options.costs or options.model or options.schedule).name
    written: list[Path] = []
    notes: list[str] = []
    if directory is not None and result.timeline is not None:
        written, notes = _write(result, directory, source)
    if not options.quiet and result.timeline is not None:
        partition = () if result.partition is None else result.partition.notes
        for note in (*partition, *result.notes, *notes):
            print(f"note: {printable(note)}", file=sys.stderr)
    if options.json:
        print(json.dumps(result.to_json(), indent=2, sort_keys=True))
        return
    if result.timeline is not None:
        from planner.report.pipeline_text import render_pipeline

        print(render_pipeline(result, result.timeline, source))
    if written:
        print(f"wrote     {'  '.join(printable(str(path)) for path in written)}")


def _write(result: PipelineResult, directory: Path, source: str) -> tuple[list[Path], list[str]]:
    """Write all files or none; return them, and what their formats leave out."""
    from planner.json_text import dump_json
    from planner.pipelining.files.offload_file import offload_to_json
    from planner.pipelining.files.schedule_csv import schedule_to_csv
    from planner.pipelining.files.schedule_file import schedule_to_json
    from planner.pipelining.partitioning.partition import partition_fields
    from planner.report.pipeline_html import render_pipeline_html
    from planner.report.pipeline_svg import render_pipeline_svg
    from planner.report.pipeline_trace import render_pipeline_trace
    from planner.whole_files import write_whole

    timeline = result.timeline
    assert timeline is not None, "there is something to write"
    stem = Path(source).name.split(".")[0] or "pipeline"
    contents: dict[Path, str | bytes] = {
        directory / f"{stem}.schedule.json": schedule_to_json(result),
        directory / f"{stem}.html": render_pipeline_html(result, timeline, source),
        directory / f"{stem}.svg": render_pipeline_svg(result, timeline, source),
        directory / f"{stem}.trace.json": render_pipeline_trace(result, timeline, source),
    }
    if result.partition is not None:
        fields = partition_fields(result.partition)
        contents[directory / f"{stem}.partition.json"] = dump_json(fields)
    notes = []
    try:
        contents[directory / f"{stem}.schedule.csv"] = schedule_to_csv(timeline.schedule)
    except UsageError as error:
        notes.append(f"no CSV for PyTorch is written: {error}.")
    else:
        if any(timeline.schedule.copies):
            beside = directory / f"{stem}.schedule.offload.json"
            contents[beside] = offload_to_json(timeline.schedule)
            notes.append(f"PyTorch's CSV has no copies to the host: they are in {beside.name}.")
    write_whole(contents)
    return list(contents), notes
