"""CPU seconds: what a solver costs, whatever else the machine does."""

from __future__ import annotations

import os
import time


def cpu_seconds() -> float:
    """CPU seconds of this process, all its threads, and of the solvers it has seen end."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system
