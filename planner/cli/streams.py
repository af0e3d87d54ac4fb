"""Make stdout and stderr fit to print to, however the process was started."""

from __future__ import annotations

import io
import os
import sys


def open_streams() -> None:
    """Give closed standard streams somewhere to go, and no character a reason to fail.

    Without the former, the first file opened would become file descriptor 1 and receive the report.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of models and tensors may hold what the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
