"""Learn, from a seed, what the mallocGame's agents are shipped with.

By default the portfolio of feature weights: its programs are those of ``plan bench latency``, as
they are and perturbed, and afterwards the same is learned without each family in turn, and tested
on that family. Or the network of the player in program order, which learns by playing itself
without one family, and is tested on that one. The budget is in steps: the same seed gives the same
file, unless the time limit or Ctrl-C ends it early.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.cli.arguments import seconds
from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from planner.bench.latency_programs import Program
    from rl.portfolio_training import TrainingProgram

_PORTFOLIO, _PROGRAM_ORDER = "portfolio", "program-order"
# By player: the weights; the curves and the chart beside them; how far a run is.
_FILES = {
    _PORTFOLIO: ("portfolio.npz", "training", "training.checkpoint.json"),
    _PROGRAM_ORDER: ("program_order.npz", "program_order", "program_order.checkpoint.npz"),
}
# Small ones of five families.
_SMOKE_GRAPHS = ("resnet8", "mobilenet_v2", "unet", "lraspp", "gpt2_decode", "r2plus1d_18")
_SHOWN_EVERY_S = 0.5


class _Result(NamedTuple):
    """What either player hands over; ``weights`` is None if nothing was learned yet."""

    is_complete: bool
    weights: bytes | None
    document: dict[str, Any]
    curves: str
    summary: str
    draw: Callable[[], dict[str, bytes]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan train-agent``."""
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="write the weights there, the score, the curves and the chart, and, until it is "
        "done, a checkpoint",
    )
    parser.add_argument(
        "--player",
        choices=(_PORTFOLIO, _PROGRAM_ORDER),
        default=_PORTFOLIO,
        help="whose weights: those that malloc-game starts from, or the network of the player in "
        f"program order (default: {_PORTFOLIO})",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="default: 0, which gives what is shipped"
    )
    parser.add_argument(
        "--time-limit",
        type=seconds,
        default=3600.0,
        metavar="SECONDS",
        help="then it ends with what it has; --resume goes on (default: 3600)",
    )
    parser.add_argument(
        "--hold-out",
        metavar="FAMILY",
        help="learn without this family alone and test on it: cnn, prefill, decode, "
        f"segmentation, video, nas (default: the {_PORTFOLIO} learns from all, and afterwards "
        f"without each; {_PROGRAM_ORDER} without segmentation)",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps on a few small networks: seconds"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an earlier run in DIR was ended"
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")


def run(options: argparse.Namespace) -> int:
    """Train, write the weights and what is known of them, print the score."""
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.interruption import listening_for_ctrl_c

    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: must not be negative.")
    end = time.monotonic() + options.time_limit
    directory = _made(Path(options.output))
    checkpoint = directory / _FILES[options.player][2]
    if checkpoint.exists() and not options.resume:
        raise UsageError(
            f"{checkpoint} is of a run that has not ended. Go on with --resume, or remove it."
        )
    learn = _portfolio if options.player == _PORTFOLIO else _program_order
    progress = _Progress(options.quiet)
    with listening_for_ctrl_c() as interruption:
        try:
            result = learn(
                options,
                checkpoint,
                # Asked for between two steps.
                interruption.hold,
                lambda: interruption.heard or time.monotonic() >= end,
                progress,
            )
        finally:
            progress.clear()
        _hand_over(options, directory, result)
        if result.is_complete:
            checkpoint.unlink(missing_ok=True)
            return 0
        reason = "interrupted" if interruption.heard else "the time limit has passed"
        print(f"plan: {reason}; this is what there is until then", file=sys.stderr)
        return EXIT_INTERRUPTED if interruption.heard else 0


def _portfolio(
    options: argparse.Namespace,
    checkpoint: Path,
    hold: Callable[[], None],
    should_stop: Callable[[], bool],
    progress: _Progress,
) -> _Result:
    from planner.bench.latency_programs import chosen_programs, training_programs
    from rl import training_results
    from rl.portfolio_training import Settings
    from rl.training_run import run_training

    if options.smoke:
        settings = Settings(entries=2, steps=4, population=4, per_graph=1)
        chosen = chosen_programs("quick", _SMOKE_GRAPHS)
    else:
        settings = Settings()
        chosen = training_programs()
    programs = _stated(chosen, progress)
    hold()
    done = run_training(
        programs,
        settings,
        options.seed,
        hold_out=options.hold_out,
        checkpoint=checkpoint,
        resume=options.resume and checkpoint.exists(),
        threads=min(os.cpu_count() or 1, settings.population),
        should_stop=should_stop,
        on_progress=progress.show,
    )
    weights = training_results.weights_file(done) if done.portfolio() else None
    return _Result(
        done.is_complete,
        weights,
        training_results.results_object(done, weights or b""),
        training_results.curves_csv(done),
        training_results.render_summary(done),
        lambda: training_results.draw_training(done),
    )


def _program_order(
    options: argparse.Namespace,
    checkpoint: Path,
    hold: Callable[[], None],
    should_stop: Callable[[], bool],
    progress: _Progress,
) -> _Result:
    from planner.bench.game_programs import game_programs
    from planner.bench.latency_programs import chosen_programs, training_programs
    from rl import program_order_results
    from rl.program_order import Play
    from rl.program_order_run import LEFT_OUT, run_network_training
    from rl.program_order_training import Training

    hold_out = LEFT_OUT if options.hold_out is None else options.hold_out
    if options.smoke:
        how = Play(simulations=4, horizon=4, noise=1.0)
        training = Training(steps=4, games=2, validate_every=2, how=how)
        chosen = whole = chosen_programs("quick", _SMOKE_GRAPHS)
    else:
        training = Training()
        chosen, whole = game_programs(), training_programs()
    known = dict.fromkeys(program.family for program in whole)
    if hold_out not in known:
        raise UsageError(
            f"no program is of the family {hold_out!r}. There are: {', '.join(known)}."
        )
    seen = _stated([program for program in chosen if program.family != hold_out], progress)
    unseen = _stated([program for program in whole if program.family == hold_out], progress)
    hold()
    done = run_network_training(
        seen,
        unseen,
        training,
        options.seed,
        hold_out=hold_out,
        checkpoint=checkpoint,
        resume=options.resume and checkpoint.exists(),
        should_stop=should_stop,
        on_progress=progress.show,
    )
    weights = program_order_results.weights_file(done) if done.progress.steps else None
    return _Result(
        done.is_complete,
        weights,
        program_order_results.results_object(done, weights or b""),
        program_order_results.curves_csv(done),
        program_order_results.render_summary(done),
        lambda: program_order_results.draw_training(done),
    )


def _stated(chosen: Sequence[Program], progress: _Progress) -> list[TrainingProgram]:
    """State the programs, which takes some seconds for all of them."""
    from rl.portfolio_training import TrainingProgram

    stated = []
    for program in chosen:
        progress.show(f"reading {program.graph}")
        stated.append(TrainingProgram(program.name, program.graph, program.family, program.build()))
    return stated


def _hand_over(options: argparse.Namespace, directory: Path, result: _Result) -> None:
    """Write the files, all or none, and print the score.

    Raises
    ------
    BadFileError
        If one of them cannot be written.
    """
    from planner.json_text import dump_json
    from planner.whole_files import write_whole

    if result.weights is None:
        return
    weights_name, stem, _ = _FILES[options.player]
    contents: dict[Path, str | bytes] = {
        directory / weights_name: result.weights,
        directory / f"{stem}.json": dump_json(result.document),
        directory / f"{stem}.csv": result.curves,
    }
    try:
        pictures = result.draw()
    except ImportError:
        pictures = {}
        if not options.quiet:
            print(
                "note: no chart is drawn: matplotlib is not installed. Install it with: "
                'pip install "tensor-planner[plots]".',
                file=sys.stderr,
            )
    for suffix, picture in pictures.items():
        contents[directory / f"{stem}.{suffix}"] = picture
    write_whole(contents)
    if options.json:
        print(json.dumps(result.document, indent=2, sort_keys=True))
    else:
        print(result.summary)
        print(f"wrote {'  '.join(str(path) for path in contents)}")


def _made(directory: Path) -> Path:
    """Make the directory before minutes are spent on what goes there.

    Raises
    ------
    BadFileError
        If it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFileError(
            f"{directory}: the weights cannot be written there: {error.strerror or error}."
        ) from None
    return directory


class _Progress:
    """One line that overwrites itself on a terminal, elsewhere a line for every entry."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._on_terminal = sys.stderr.isatty()
        self._shown_at = 0.0
        self._said = ""

    def show(self, line: str) -> None:
        if self._quiet:
            return
        if self._on_terminal:
            if time.monotonic() - self._shown_at >= _SHOWN_EVERY_S:
                self._shown_at = time.monotonic()
                print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)
            return
        # Without the step.
        said = line.partition(", ")[0]
        if said != self._said:
            print(said, file=sys.stderr, flush=True)
            self._said = said

    def clear(self) -> None:
        if self._on_terminal and not self._quiet:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
