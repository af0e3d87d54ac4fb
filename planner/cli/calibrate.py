"""Measure this processor's operators with ONNX Runtime and write them as a target."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import BadFileError, UsageError

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan calibrate``."""
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL.onnx",
        help="whose operators to time (default: the networks of the zoo, batch 1, float32)",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE.toml", help="write the target there"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of absent weights and of operands"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=5,
        metavar="N",
        help="runs of each operator, of which the fastest counts (default: 5)",
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")


def run(options: argparse.Namespace) -> int:
    """Measure, write the target, and say how well it predicts."""
    from planner.calibration.calibrate import calibrate
    from planner.calibration.report import calibration_object, calibration_text
    from planner.cli.main import EXIT_INTERRUPTED
    from planner.report.names import printable
    from planner.target_toml import target_to_toml
    from planner.whole_files import write_whole

    output = Path(options.output)
    _require_writable(output)
    progress = _Progress(options.quiet)
    try:
        calibration = calibrate(
            options.models,
            name=output.stem,
            seed=options.seed,
            repeat=options.repeat,
            on_progress=progress.show,
        )
    except KeyboardInterrupt:
        progress.clear()
        print("plan: interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        progress.clear()
    write_whole({output: target_to_toml(calibration.target)})
    if not options.quiet:
        for name, reason in calibration.skipped:
            print(f"note: {printable(name)} is left out: {printable(reason)}", file=sys.stderr)
    if options.json:
        print(json.dumps(calibration_object(calibration), indent=2, sort_keys=True))
    else:
        print(calibration_text(calibration))
        print(f"wrote {output}")
    return 0


def _require_writable(output: Path) -> None:
    """Fail before minutes are spent on what could not be written.

    Raises
    ------
    UsageError
        If the name is none of a target file.
    BadFileError
        If the file cannot be written.
    """
    if output.suffix != ".toml":
        raise UsageError(f"-o {output}: a target file's name ends in .toml.")
    if output.exists() and not output.is_file():
        raise BadFileError(f"{output} is not a regular file: nothing was measured.")
    try:
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise BadFileError(
            f"{output}: cannot be written: {error.strerror or error}. Nothing was measured."
        ) from None


class _Progress:
    """One line that overwrites itself on a terminal, elsewhere one line per model."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._on_terminal = sys.stderr.isatty()
        self._model = ""

    def show(self, model: str, doing: str) -> None:
        from planner.report.names import printable

        if self._quiet:
            return
        if self._on_terminal:
            line = printable(f"{model}  {doing}", 100)
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif model != self._model:
            print(f"measuring {printable(model)}", file=sys.stderr, flush=True)
        self._model = model

    def clear(self) -> None:
        if self._on_terminal and not self._quiet:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
