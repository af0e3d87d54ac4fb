"""CP-SAT with a seed, a deadline and a cancel flag, and clear of what OR-Tools 9.15 gets wrong."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from solvers.protocol import Deadline

LARGEST_SEED = 2**31 - 1
# CP-SAT wants every sum well inside 64 bits.
LARGEST_SUM = 2**50

_POLL_S = 0.02


class Search(NamedTuple):
    """CP-SAT's status, and the CPU seconds of the thread that it searched in."""

    status: Any
    cpu_s: float


def new_solver(seed: int, *, presolve: bool = False) -> Any:
    """Return a solver with one worker.

    With two workers OR-Tools 9.15 can abort the process, by a failed check of its fixed search. Its
    presolve has lost optima, and claimed proofs for what was left: of sums of binaries with large
    coefficients, and where differences of variables have gaps. Turn it on only for other models.

    Parameters
    ----------
    seed : int
        Any; CP-SAT takes 31 bits of it.
    presolve : bool

    Returns
    -------
    ortools.sat.python.cp_model.CpSolver

    Raises
    ------
    ImportError
        If ortools cannot be loaded.
    """
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.random_seed = seed & LARGEST_SEED
    solver.parameters.num_workers = 1
    solver.parameters.cp_model_presolve = presolve
    # Ctrl-C is the caller's.
    solver.parameters.catch_sigint_signal = False
    return solver


def add_one_of(model: Any, expression: Any, intervals: Iterable[tuple[int, int]]) -> None:
    """Demand that an expression lies in one of the intervals ``[least, greatest]``.

    One binary for each of them that is not empty. Not ``add_linear_expression_in_domain``, with
    which OR-Tools 9.15 has lost optima.
    """
    chosen = []
    for least, greatest in intervals:
        if least <= greatest:
            inside = model.new_bool_var("")
            limits = model.add_linear_constraint(expression, least, greatest)
            limits.only_enforce_if(inside)
            chosen.append(inside)
    model.add_exactly_one(chosen)


def solve_until(
    solver: Any,
    model: Any,
    deadline: Deadline,
    *,
    stop: Callable[[], bool] = lambda: False,
    callback: Any = None,
) -> Search:
    """Solve a model.

    CP-SAT knows nothing of the cancel flag, so it runs in a thread of its own and is watched.
    Ctrl-C ends it as well.

    Parameters
    ----------
    solver : ortools.sat.python.cp_model.CpSolver
    model : ortools.sat.python.cp_model.CpModel
    deadline : Deadline
    stop : callable
        Asked again and again; once true, the search ends.
    callback : ortools.sat.python.cp_model.CpSolverSolutionCallback or None
        Told of every solution, in the other thread.

    Raises
    ------
    RuntimeError
        If CP-SAT refuses the model.
    """
    from ortools.sat.python import cp_model

    solver.parameters.max_time_in_seconds = deadline.remaining_s()
    ended: list[Search] = []
    errors: list[Exception] = []

    def search() -> None:
        started_s = time.thread_time()
        try:
            status = solver.solve(model, callback)
            ended.append(Search(status, time.thread_time() - started_s))
        except Exception as error:  # raised again by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=search, name="cp-sat", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_S)
            if stop() or deadline.expired():
                solver.stop_search()
    finally:
        while thread.is_alive():
            solver.stop_search()
            thread.join(_POLL_S)
    if errors:
        raise errors[0]
    if ended[0].status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"CP-SAT refuses the model: {model.validate()}")
    return ended[0]
