"""Progress on stderr: one line that overwrites itself, on a terminal only."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from types import TracebackType

_TICK_S = 0.5


class ProgressLine:
    """Shows the elapsed time and the latest improvement while a race runs.

    With ``--verbose`` every improvement is a line of its own, also where stderr is a file.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._verbose = options.verbose
        self._shown = sys.stderr.isatty() and not options.quiet and not options.verbose
        self._limit_s = options.time_limit
        self._latest = "reading"
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> ProgressLine:
        if self._shown:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._shown:
            self._thread.join()
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def update(self, line: str) -> None:
        """Take the latest news of the race."""
        self._latest = line
        if self._verbose:
            elapsed = time.monotonic() - self._started
            print(f"{elapsed:8.2f} s  {line}", file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self._stop.wait(_TICK_S):
            elapsed = time.monotonic() - self._started
            line = f"{elapsed:5.1f} s of {self._limit_s:g}  {self._latest}"[:100]
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
