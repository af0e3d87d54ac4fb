"""Ctrl-C as a question that a race asks, instead of an exception at any moment.

A KeyboardInterrupt may come between any two instructions, also between those that hand back the
best plan so far; no number of ``except`` clauses closes all of these gaps. So while there is
something to lose, the handler of SIGINT only counts, and whoever waits looks at the count.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_PATIENCE = 2


class Interruption:
    """How often Ctrl-C was heard; what SIGINT calls while `listening_for_ctrl_c`."""

    def __init__(self) -> None:
        self._times = 0
        self._held = False

    @property
    def heard(self) -> bool:
        """Whether the user wants what there is, soon."""
        return self._times > 0

    @property
    def impatient(self) -> bool:
        """Whether the user wants it at once: Ctrl-C came again."""
        return self._times >= _PATIENCE

    @property
    def insistent(self) -> bool:
        """Whether the user does not even want it: Ctrl-C came a third time."""
        return self._times > _PATIENCE

    def hold(self) -> None:
        """From here on there is something to lose: do not raise before the third Ctrl-C."""
        self._held = True

    def hold_or_raise(self) -> None:
        """Hold, unless Ctrl-C came already.

        Raises
        ------
        KeyboardInterrupt
            If the one that was raised before is lost: Python drops exceptions in destructors.
        """
        if self.heard and not self._held:
            raise KeyboardInterrupt
        self.hold()

    def hear(self) -> None:
        """Count one Ctrl-C."""
        self._times += 1

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT: raise only if nothing is there to be lost, or the user insists."""
        self.hear()
        if self.insistent:
            raise KeyboardInterrupt("interrupted three times; what was found is not reported")
        if not self._held:
            raise KeyboardInterrupt


@contextmanager
def listening_for_ctrl_c() -> Iterator[Interruption]:
    """Ask for Ctrl-C instead of being interrupted by it; within another such block, share that one.

    What `Interruption.hold` keeps back stays so until the end of the outermost block, so whoever
    hands a result on opens one around all of it. Other threads than the main one never get
    signals, and a handler that the caller has put in place is left there: then nothing is heard,
    unless `Interruption.hear` is told.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    present = signal.getsignal(signal.SIGINT)
    if present is not signal.default_int_handler:
        yield present if isinstance(present, Interruption) else interruption
        return
    try:
        signal.signal(signal.SIGINT, interruption)
        yield interruption
    finally:
        # Not a call: Ctrl-C is looked for at calls, and must not come before the one below.
        interruption._held = True
        if signal.getsignal(signal.SIGINT) is interruption:
            signal.signal(signal.SIGINT, signal.default_int_handler)
