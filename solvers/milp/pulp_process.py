"""Programs solved, or written as LP files, by PuLP in a process of its own."""

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
from solvers.milp.program import Answer
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from solvers.milp.program import Program
    from solvers.protocol import Deadline

SOLVER_VARIABLE = "PLANNER_PULP_SOLVER"
POLL_S = 0.02
_WORKER = Path(__file__).with_name("pulp_worker.py")


def pulp_available() -> Availability:
    """Return whether pulp is there."""
    if importlib.util.find_spec("pulp") is None:
        return Availability(False, "needs pulp: pip install pulp")
    return Availability(True)


def solve_by_pulp(
    program: Program,
    name: str,
    *,
    deadline: Deadline,
    start: NDArray[np.float64] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Answer:
    """Solve with the best solver that PuLP finds, or the one named in the environment.

    Gurobi, CPLEX, Xpress, COPT, MOSEK, SCIP, HiGHS, CBC, GLPK, in this order; CBC comes with PuLP.
    The environment variable ``PLANNER_PULP_SOLVER`` names another one, as
    ``pulp.listSolvers(onlyAvailable=True)`` does. What the solver finds by nine tenths of the time
    counts; if the process has to be killed, its best is lost. A proof counts if the solver ended
    before its time limit. The only bound it gives is that of an optimum. Statistics: ``cpu_s``,
    the ``solver``, or why it ``stopped``.

    Parameters
    ----------
    start : float64 array of shape [columns], optional
        A feasible point.
    stop : callable
        Asked now and then whether the answer is no longer needed.

    Raises
    ------
    UsageError
        If ``PLANNER_PULP_SOLVER`` names a solver that is not there, or there is none at all.
    RuntimeError
        If the process crashes.
    """
    request = {
        **_fields(program, name),
        "start": None if start is None else start.tolist(),
        "end": time.time() + deadline.remaining_s(),
        "wanted": os.environ.get(SOLVER_VARIABLE, ""),
    }
    told, cpu_s = _ask_worker(request, deadline, stop)
    statistics: dict[str, Any] = {"cpu_s": cpu_s}
    if told is None:
        statistics["stopped"] = "stopped at the deadline"
        return Answer(None, False, False, -np.inf, statistics)
    if not told["available"]:
        raise UsageError(
            f"{SOLVER_VARIABLE} names {request['wanted']!r}, which PuLP does not find here."
            if request["wanted"]
            else "PuLP finds no solver here."
        )
    if "solver" not in told:
        statistics["stopped"] = "; ".join(told["failed"])
        return Answer(None, False, False, -np.inf, statistics)
    statistics["solver"] = told["solver"]
    values = None if told["values"] is None else np.array(told["values"], dtype=np.float64)
    optimal = values is not None and told["optimal"]
    bound = float(program.cost @ values) if values is not None and optimal else -np.inf
    return Answer(values, optimal, told["infeasible"], bound, statistics)


def lp_text(program: Program, name: str, deadline: Deadline) -> bytes | None:
    """Return the program as the text of an LP file; None if the time does not suffice."""
    with _worker_directory() as directory:
        request = {**_fields(program, name), "lp_file": True}
        if _run_worker(directory, request, deadline, lambda: False)[0] is None:
            return None
        return (directory / "model.lp").read_bytes()


def _fields(program: Program, name: str) -> dict[str, Any]:
    arrays = {
        field: value.tolist() if isinstance(value, np.ndarray) else value
        for field, value in program._asdict().items()
    }
    return {**arrays, "name": name, "lp_file": False}


@contextlib.contextmanager
def _worker_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="planner-mip-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _ask_worker(
    request: dict[str, Any], deadline: Deadline, stop: Callable[[], bool]
) -> tuple[dict[str, Any] | None, float]:
    """Return the worker's answer, None if it had to be stopped before, and its CPU seconds."""
    with _worker_directory() as directory:
        return _run_worker(directory, request, deadline, stop)


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
