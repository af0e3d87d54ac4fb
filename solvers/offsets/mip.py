"""Solver ``mip``: MEMO's big-M model through PuLP, with whatever solver the user has."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.errors import UsageError
from planner.problem import Outcome, Status
from solvers.offsets.big_m import (
    MOST_UNITS,
    TRUSTED_UNITS,
    big_m_model,
    height_unit,
    point_of,
    sides_chosen,
)
from solvers.offsets.incumbent import NO_HEIGHT, Incumbent, smallest_height
from solvers.offsets.pairs import conflicting_pairs, count_overlaps, least_offsets
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from planner.problem import OffsetProblem, OffsetSolution
    from solvers import SharedBest
    from solvers.offsets.big_m import MixedIntegerModel
    from solvers.offsets.pairs import Pairs
    from solvers.protocol import Deadline

SOLVER_VARIABLE = "PLANNER_PULP_SOLVER"
MOST_PAIRS = 20_000
POLL_S = 0.02
_WORKER = Path(__file__).with_name("pulp_worker.py")


class PulpOffsets:
    """The big-M mixed-integer program of MEMO (arXiv 2407.12117), solved through PuLP.

    Takes the best solver that PuLP finds: Gurobi, CPLEX, Xpress, COPT, MOSEK, SCIP, HiGHS, CBC,
    GLPK, in this order; CBC comes with PuLP. The environment variable ``PLANNER_PULP_SOLVER`` names
    another one, as ``pulp.listSolvers(onlyAvailable=True)`` does. It runs in a process of its own.

    What it returns is rounded to the sides that its binaries choose and packed anew in exact
    integers. A proof counts only if the solver ended before its time limit and the heights are at
    most 2**20 units, the greatest common divisor of all sizes and alignments.
    """

    name = "mip"

    def available(self) -> Availability:
        """Needs pulp."""
        if importlib.util.find_spec("pulp") is None:
            return Availability(False, "needs pulp: pip install pulp")
        return Availability(True)

    def unsupported(self, problem: OffsetProblem) -> str:
        """Say why the problem is too large, or nothing."""
        return too_large(problem, MOST_PAIRS)

    def solve(
        self,
        problem: OffsetProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: OffsetSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
        shared: SharedBest | None = None,
    ) -> Outcome[OffsetSolution]:
        """Solve, or hand back the best by the deadline. The seed is not used.

        Raises
        ------
        UsageError
            If ``PLANNER_PULP_SOLVER`` names a solver that is not there.
        """
        reason = self.unsupported(problem)
        if reason:
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        pairs = conflicting_pairs(problem)
        best = Incumbent(self.name, problem, pairs, shared, on_progress)
        best.begin(incumbent, deadline)
        if best.is_settled() or deadline.expired():
            return best.outcome(cpu_s=0.0)
        model, reason = model_below(problem, pairs, best)
        if model is None:
            return best.outcome(cpu_s=0.0, stopped=reason)
        start = None
        if problem.capacity is None and best.offsets is not None:
            start = point_of(problem, pairs, model, best.offsets).tolist()
        request = {
            **_fields(model),
            "start": start,
            "end": time.time() + deadline.remaining_s(),
            "wanted": os.environ.get(SOLVER_VARIABLE, ""),
        }
        answer, cpu_s = _ask_worker(request, deadline, best)
        if answer is None:
            return best.outcome(stopped="stopped at the deadline", cpu_s=cpu_s)
        if not answer["available"]:
            raise UsageError(
                f"{SOLVER_VARIABLE} names {request['wanted']!r}, which PuLP does not find here."
                if request["wanted"]
                else "PuLP finds no solver here."
            )
        statistics = {"cpu_s": cpu_s, "binaries": model.binaries}
        if "solver" not in answer:
            return best.outcome(stopped="; ".join(answer["failed"]), **statistics)
        take_answer(
            problem,
            pairs,
            model,
            best,
            values=answer["values"],
            optimal=answer["optimal"],
            infeasible=answer["infeasible"],
        )
        return best.outcome(solver=answer["solver"], **statistics)


def too_large(problem: OffsetProblem, most_pairs: int) -> str:
    """Say why a problem is too large for a big-M model, or nothing."""
    overlaps = count_overlaps(problem)
    if overlaps > most_pairs:
        return f"up to {overlaps:,} pairs of buffers conflict; the model takes {most_pairs:,}"
    return too_high(problem, conflicting_pairs(problem), smallest_height(problem))


def too_high(problem: OffsetProblem, pairs: Pairs, height: int) -> str:
    """Say why a model up to a height is beyond floating point, or nothing."""
    unit = height_unit(problem, pairs)
    if height // unit > MOST_UNITS:
        return (
            f"its height is {height // unit:,} units of {unit:,} bytes or more; in floating point "
            f"a model of at most {MOST_UNITS:,} units is sound"
        )
    return ""


def model_below(
    problem: OffsetProblem, pairs: Pairs, best: Incumbent
) -> tuple[MixedIntegerModel | None, str]:
    """Build the model up to the capacity or the best height.

    Returns
    -------
    MixedIntegerModel or None
        None if the bounds alone prove that there is no such packing, or if it cannot be built.
    str
        Why it cannot be built, or nothing.
    """
    ceiling = best.height if problem.capacity is None else problem.capacity
    if ceiling == NO_HEIGHT:
        return None, "no packing is known to start from"
    if reason := too_high(problem, pairs, ceiling):
        return None, reason
    model = big_m_model(problem, pairs, bound=best.bound, ceiling=ceiling)
    if model is None:
        best.offer_bound(ceiling + 1)
    return model, ""


def take_answer(
    problem: OffsetProblem,
    pairs: Pairs,
    model: MixedIntegerModel,
    best: Incumbent,
    *,
    values: list[float] | None,
    optimal: bool,
    infeasible: bool,
) -> None:
    """Take what a floating point solver says: its packing made exact, its proof if trusted."""
    count = len(model.step)
    trusted = model.upper[count] <= TRUSTED_UNITS
    if values is not None:
        point = np.array(values, dtype=np.float64)
        offsets = least_offsets(problem, pairs, sides_chosen(pairs, model, point), NO_HEIGHT)
        if offsets is not None:
            best.offer(offsets)
        if optimal and trusted and problem.capacity is None:
            # A quarter of a unit is far more than the solver's tolerances, see TRUSTED_UNITS.
            best.offer_bound(int(np.ceil(point[count] - 0.25)) * model.unit)
    if infeasible and trusted and problem.capacity is not None:
        best.offer_bound(problem.capacity + 1)


def write_lp(problem: OffsetProblem, path: str | os.PathLike[str]) -> None:
    """Write the big-M model as an LP file. Its variables count units of bytes, see its first line.

    Raises
    ------
    UsageError
        If the problem is too large, or has no packing within its capacity or fixed offsets.
    OSError
        If the file cannot be written.
    """
    from solvers.protocol import Deadline

    reason = too_large(problem, MOST_PAIRS)
    if reason:
        raise UsageError(f"no LP file was written: {reason}.")
    pairs = conflicting_pairs(problem)
    best = Incumbent("mip", problem, pairs, None, None)
    deadline = Deadline(60.0)
    best.begin(None, deadline)
    model, reason = model_below(problem, pairs, best)
    if model is None:
        reason = reason or "the bounds alone rule out every packing"
        raise UsageError(f"no LP file was written: {reason}.")
    with _worker_directory() as directory:
        request = {**_fields(model), "lp_file": True}
        if _run_worker(directory, request, deadline, lambda: False)[0] is None:
            raise UsageError("no LP file was written: it took more than a minute.")
        text = (directory / "model.lp").read_bytes()
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(text)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _fields(model: MixedIntegerModel) -> dict[str, Any]:
    arrays = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in model._asdict().items()
    }
    return {**arrays, "name": f"offsets_in_units_of_{model.unit}_bytes", "lp_file": False}


@contextlib.contextmanager
def _worker_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="planner-mip-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _ask_worker(
    request: dict[str, Any], deadline: Deadline, best: Incumbent
) -> tuple[dict[str, Any] | None, float]:
    """Return the worker's answer, None if it had to be stopped before, and its CPU seconds."""

    def settled() -> bool:
        best.exchange()
        return best.is_settled()

    with _worker_directory() as directory:
        return _run_worker(directory, request, deadline, settled)


def _run_worker(
    directory: Path,
    request: dict[str, Any],
    deadline: Deadline,
    stop: Callable[[], bool],
) -> tuple[dict[str, Any] | None, float]:
    """Run the worker, and kill it and all it has started at the deadline or if told to stop."""
    (directory / "model.json").write_text(json.dumps(request))
    temporary = {name: str(directory) for name in ("TMPDIR", "TMP", "TEMP")}
    with (directory / "errors").open("wb") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            cwd=directory,
            env={**os.environ, **temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            while worker.poll() is None:
                if deadline.expired() or stop():
                    return None, _cpu_s_of_group(worker.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(min(POLL_S, max(0.001, deadline.remaining_s())))
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    answer = directory / "answer.json"
    if not answer.exists():
        message = (directory / "errors").read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"the process for PuLP failed: {message[-1] if message else 'killed'}")
    told = json.loads(answer.read_text())
    return told, told["cpu_s"]


def _cpu_s_of_group(group: int) -> float:
    """Return the CPU seconds that a process group has taken so far; 0 where there is no /proc."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # From the state on: the name before it may hold anything. See proc_pid_stat(5).
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
