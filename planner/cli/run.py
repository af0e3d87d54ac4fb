"""Execute a plan: run the model inside its planned memory, compare every tensor bit for bit."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from planner.errors import BadFileError, InvalidPlanError, LoweringError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from planner.execution.result import Execution

EXIT_INTERRUPTED = 130
_SHOWN_EVERY_S = 0.5
_LARGEST_INPUT_BYTES = 1 << 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``plan run``."""
    parser.add_argument("plan", metavar="PLAN.json")
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=FILE.npy",
        help="values of a graph input (repeatable); others are drawn from the seed",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of absent weights and of inputs that are not given; default: 0",
    )
    parser.add_argument(
        "--require-run",
        action="store_true",
        help="exit 5 where ONNX Runtime refuses the model, instead of 0",
    )
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Execute, report, and tell by the exit code: 0 exact or not executed, 4 otherwise."""
    import planner
    from planner.cli.check import load_planned_model
    from planner.execution.result import Verdict
    from planner.report.execution_text import execution_text

    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: must not be negative.")
    plan = planner.read_plan(options.plan)
    inputs = _read_inputs(options.input)
    graph = load_planned_model(options.model, plan)
    violations = planner.check(graph, plan.target, plan)
    with _Progress(options.quiet) as progress:
        try:
            outcome = planner.execute(
                options.model, plan, seed=options.seed, inputs=inputs, on_step=progress.update
            )
        except KeyboardInterrupt:
            progress.clear()
            steps = f"step {progress.step:,} of {len(plan.order):,}; all right so far"
            text = (
                f"interrupted at {steps}" if progress.step else "interrupted before the first step"
            )
            print(f"plan: {text}", file=sys.stderr)
            return EXIT_INTERRUPTED
    if options.json:
        found = [violation.message for violation in violations]
        print(json.dumps(_object(options, outcome, found), indent=2, sort_keys=True))
    else:
        print(execution_text(plan, outcome, len(violations)))
    if outcome.verdict is Verdict.MISMATCH or violations:
        return InvalidPlanError.exit_code
    if outcome.verdict is Verdict.NOT_EXECUTED and options.require_run:
        return LoweringError.exit_code
    return 0


def _object(
    options: argparse.Namespace, outcome: Execution, violations: Sequence[str]
) -> dict[str, Any]:
    wrong = outcome.mismatch
    return {
        "format": "planner.run",
        "version": 1,
        "plan": options.plan,
        "model": options.model,
        "legal": not violations,
        "violations": list(violations),
        "verdict": outcome.verdict.value,
        "reason": outcome.reason or None,
        "mismatch": None
        if wrong is None
        else {
            "message": wrong.message,
            "step": wrong.step,
            "tensor": wrong.tensor,
            "memory": wrong.memory or None,
            "addresses": None if wrong.addresses is None else list(wrong.addresses),
            "written_by": wrong.written_by or None,
        },
        "steps": outcome.steps,
        "views": outcome.views,
        "compared": outcome.compared,
        "skipped": outcome.skipped,
        "in_place": outcome.overwritten,
        "copies": outcome.copies,
        "copied_bytes": outcome.copied_bytes,
        "arena_bytes": dict(outcome.arena_bytes),
        "measured_bytes": dict(outcome.measured_bytes),
        "runtime_cpu_s": outcome.runtime_s,
        "reference_cpu_s": outcome.reference_s,
        "arena_cpu_s": outcome.arena_s,
        "notes": list(outcome.notes),
    }


def _read_inputs(given: Sequence[str]) -> dict[str, Any]:
    import numpy as np

    from planner.regular_file import open_regular

    inputs: dict[str, Any] = {}
    for text in given:
        name, separator, path = text.rpartition("=")
        if not separator or not name or not path:
            raise UsageError(f"--input {text}: give NAME=FILE.npy.")
        if name in inputs:
            raise UsageError(f"--input {name}: given twice.")
        try:
            open_regular(path, _LARGEST_INPUT_BYTES).close()
            # Mapped, since the header of a short file may promise any number of bytes.
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            reason = str(error).rstrip(".")
            raise BadFileError(f"{path} is no array of numbers in .npy format: {reason}.") from None
        if not isinstance(values, np.ndarray):
            raise BadFileError(f"{path} is an archive; give a single array, FILE.npy.")
        inputs[name] = values
    return inputs


class _Progress:
    """The step that runs, on one line of a terminal."""

    def __init__(self, quiet: bool) -> None:
        self.step = 0
        self._shown = sys.stderr.isatty() and not quiet
        self._last = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Leave nothing behind."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def update(self, step: int, steps: int) -> None:
        """Take note of the step about to run."""
        self.step = step
        now = time.monotonic()
        if self._shown and now - self._last > _SHOWN_EVERY_S:
            self._last = now
            text = f"\r\033[Kstep {step:,} of {steps:,}"
            print(text, end="", file=sys.stderr, flush=True)
