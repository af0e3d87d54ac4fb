"""Jobs that compete in daemon threads, under one deadline and with Ctrl-C heard."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from planner.interruption import listening_for_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.interruption import Interruption
    from solvers.protocol import Deadline

_POLL_S = 0.05
_GRACE_S = 10.0


class RaceThread:
    """A job in its thread. One that outlives the process' patience does not keep it alive.

    Attributes
    ----------
    error : Exception or None
        What ended the job early.
    wall_s, cpu_s : float
        What it took, once it has ended.
    """

    def __init__(self, name: str, job: Callable[[], None]) -> None:
        self._job = job
        # Not Thread.join: interrupted by Ctrl-C, it takes the thread for ended (bpo-45274).
        self._ended = threading.Event()
        self.error: Exception | None = None
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def _run(self) -> None:
        started, cpu_started = time.monotonic(), time.thread_time()
        try:
            self._job()
        except Exception as error:  # who crashes loses, the race goes on
            self.error = error
        finally:
            self.wall_s = time.monotonic() - started
            self.cpu_s = time.thread_time() - cpu_started
            self._ended.set()

    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set()

    def wait(self, seconds: float) -> None:
        """Wait for its end, so long at most."""
        self._ended.wait(seconds)


def wait_for(
    threads: Sequence[RaceThread],
    deadline: Deadline,
    interruption: Interruption,
    *,
    owes: Callable[[], bool] = lambda: False,
    settled: Callable[[], bool] = lambda: False,
    at_most_s: float = math.inf,
) -> None:
    """Return when all threads have ended, or some time after the deadline, which is then cancelled.

    Parameters
    ----------
    interruption : Interruption
        Asked again and again; once heard, the deadline is cancelled, and once the user is
        impatient, nobody is waited for.
    owes : callable
        Says whether there is nothing to show yet; then the wait goes on all the same.
    settled : callable
        Asked again and again; once true, the threads are asked to stop.
    at_most_s : float
        Return after so many seconds in any case.
    """
    give_up = time.monotonic() + at_most_s
    grace_end: float | None = None
    while any(thread.running() for thread in threads):
        try:
            for thread in threads:
                thread.wait(min(_POLL_S, at_most_s))
        except KeyboardInterrupt:
            if interruption.insistent:
                raise
            interruption.hear()  # of a handler that the caller has put in place
        if interruption.heard or settled():
            deadline.cancel.set()
        if time.monotonic() >= give_up or (interruption.impatient and not owes()):
            return
        if not deadline.expired():
            continue
        now = time.monotonic()
        grace_end = now + _GRACE_S if grace_end is None else grace_end
        if now > grace_end and not owes():
            deadline.cancel.set()
            return


def run_interruptibly(thread: RaceThread, deadline: Deadline) -> bool:
    """Run one job until it has ended, the deadline has passed, or Ctrl-C is heard.

    Returns
    -------
    bool
        Whether the user stopped it.
    """
    with listening_for_ctrl_c() as interruption:
        interruption.hold_or_raise()
        thread.start()
        wait_for([thread], deadline, interruption)
        return interruption.heard
