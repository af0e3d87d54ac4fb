"""Learn the portfolio of feature weights that the mallocGame's agent starts from.

The programs are those of ``plan bench latency``, as they are and perturbed. Afterwards the same is
learned without each family in turn, and tested on that family. The budget is in steps: the same
seed gives the same file, unless the time limit or Ctrl-C ends it early.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.arguments import seconds
from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse

    from rl.portfolio_training import TrainingProgram
    from rl.training_run import Run

_CHECKPOINT = "training.checkpoint.json"
# Small ones of five families.
_SMOKE_GRAPHS = ("resnet8", "mobilenet_v2", "unet", "lraspp", "gpt2_decode", "r2plus1d_18")
_SHOWN_EVERY_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan train-agent``."""
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="write portfolio.npz, training.json, training.csv and the chart there, and, "
        f"until it is done, {_CHECKPOINT}",
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
        "segmentation, video, nas",
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
    from rl.portfolio_training import Settings
    from rl.training_run import run_training

    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: must not be negative.")
    end = time.monotonic() + options.time_limit
    directory = _made(Path(options.output))
    checkpoint = directory / _CHECKPOINT
    if checkpoint.exists() and not options.resume:
        raise UsageError(
            f"{checkpoint} is of a run that has not ended. Go on with --resume, or remove it."
        )
    if options.smoke:
        settings = Settings(entries=2, steps=4, population=4, per_graph=1)
    else:
        settings = Settings()
    progress = _Progress(options.quiet)
    programs = _programs(options.smoke, progress)
    with listening_for_ctrl_c() as interruption:
        interruption.hold()  # asked for between two steps
        try:
            done = run_training(
                programs,
                settings,
                options.seed,
                hold_out=options.hold_out,
                checkpoint=checkpoint,
                resume=options.resume and checkpoint.exists(),
                threads=min(os.cpu_count() or 1, settings.population),
                should_stop=lambda: interruption.heard or time.monotonic() >= end,
                on_progress=progress.show,
            )
        finally:
            progress.clear()
        _hand_over(options, directory, done)
        if done.is_complete:
            checkpoint.unlink(missing_ok=True)
            return 0
        reason = "interrupted" if interruption.heard else "the time limit has passed"
        print(f"plan: {reason}; this is what there is until then", file=sys.stderr)
        return EXIT_INTERRUPTED if interruption.heard else 0


def _programs(smoke: bool, progress: _Progress) -> list[TrainingProgram]:
    """State the programs, which takes some seconds for all of them."""
    from planner.bench.latency_programs import chosen_programs
    from rl.portfolio_training import TrainingProgram

    chosen = chosen_programs("quick", _SMOKE_GRAPHS) if smoke else chosen_programs("full", None)
    stated = []
    for program in chosen:
        progress.show(f"reading {program.graph}")
        stated.append(TrainingProgram(program.name, program.graph, program.family, program.build()))
    return stated


def _hand_over(options: argparse.Namespace, directory: Path, done: Run) -> None:
    """Write the files, all or none, and print the score.

    Raises
    ------
    BadFileError
        If one of them cannot be written.
    """
    from planner.json_text import dump_json
    from planner.whole_files import write_whole
    from rl.training_results import (
        curves_csv,
        draw_training,
        render_summary,
        results_object,
        weights_file,
    )

    if not done.portfolio():
        return
    weights = weights_file(done)
    document = results_object(done, weights)
    contents: dict[Path, str | bytes] = {
        directory / "portfolio.npz": weights,
        directory / "training.json": dump_json(document),
        directory / "training.csv": curves_csv(done),
    }
    try:
        pictures = draw_training(done)
    except ImportError:
        pictures = {}
        if not options.quiet:
            print(
                "note: no chart is drawn: matplotlib is not installed. Install it with: "
                'pip install "tensor-planner[plots]".',
                file=sys.stderr,
            )
    for suffix, picture in pictures.items():
        contents[directory / f"training.{suffix}"] = picture
    write_whole(contents)
    if options.json:
        print(json.dumps(document, indent=2, sort_keys=True))
    else:
        print(render_summary(done))
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
