"""Keep stdout for the result: libraries that print to it while solving go to stderr."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Point file descriptor 1 at stderr for a while.

    HiGHS prints to the descriptor itself, past `sys.stdout`, even when told to be quiet.
    """
    try:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # stdout or stderr is closed: nothing to protect, or nowhere to send it
        yield
        return
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
