"""CP-SAT under a deadline that may be cancelled from another thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solvers.protocol import Deadline

LARGEST_SEED = 2**31 - 1

_POLL_S = 0.02


def solve_until(solver: Any, model: Any, deadline: Deadline) -> Any:
    """Solve a model, and return CP-SAT's status.

    CP-SAT knows nothing of the cancel flag, so it runs in a thread of its own and is watched.

    Parameters
    ----------
    solver : ortools.sat.python.cp_model.CpSolver
    model : ortools.sat.python.cp_model.CpModel
    deadline : Deadline
    """
    solver.parameters.max_time_in_seconds = deadline.remaining_s()
    # Ctrl-C is the caller's.
    solver.parameters.catch_sigint_signal = False
    answers: list[Any] = []
    errors: list[Exception] = []

    def search() -> None:
        try:
            answers.append(solver.solve(model))
        except Exception as error:  # raised again by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=search, name="cp-sat", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        if deadline.expired():
            solver.stop_search()
    if errors:
        raise errors[0]
    return answers[0]
