"""Processor time of ONNX Runtime sessions, without what other programs do to the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from planner.execution.sessions import (
    RuntimeRefusalError,
    ValueType,
    first_line,
    node_session,
    ort_value,
    raw_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Larger than the last-level cache of most processors, and read in a few milliseconds.
_SWEPT_BYTES = 1 << 26
# A session that takes longer is not repeated beyond the second time.
_LONG_S = 0.25
_EMPTY_RUNS = 25
_SCALAR = ValueType(TensorProto.FLOAT, (1,))


def bound_run(session: Any, feeds: Mapping[str, Any], results: Iterable[str]) -> Callable[[], None]:
    """Return a call that runs a session on bound OrtValues; nothing is copied or converted."""
    binding = session.io_binding()
    for name, value in feeds.items():
        binding.bind_ortvalue_input(name, value)
    for name in results:
        binding.bind_output(name, "cpu")

    def run() -> None:
        try:
            session.run_with_iobinding(binding)
        except Exception as error:
            raise RuntimeRefusalError(first_line(error)) from None

    return run


class Stopwatch:
    """Least processor seconds of this thread over several runs; sessions use no other thread.

    Processor time does not count while another program has the core, and the least of several
    runs leaves out most of what remains of its influence.
    """

    def __init__(self, repeat: int) -> None:
        self._repeat = repeat
        self._swept = np.ones(_SWEPT_BYTES // 8)
        node = helper.make_node("Identity", ["x"], ["y"])
        session = node_session([node], {"x": _SCALAR}, ["y"], {}, {"": 13}, 8, prepacks=True)
        value = ort_value(np.ones(1, dtype=np.float32).tobytes(), _SCALAR)
        self._empty = bound_run(session, {"x": value}, ["y"])
        self.call_s = min(_timed(self._empty) for _ in range(_EMPTY_RUNS))

    def warm(self, run: Callable[[], None]) -> float:
        """Seconds of a run whose operands are in the caches as far as they fit."""
        run()
        return self._least(lambda: _timed(run))

    def cold(self, run: Callable[[], None], operands: Iterable[Any]) -> float:
        """Seconds of a run that finds its weights in memory and its operands in the caches.

        As in a whole model: its weights were last used one inference ago, its operands have just
        been written.
        """
        views = [raw_bytes(value) for value in operands]

        def timed() -> float:
            self._swept.sum()
            for view in views:
                view.max(initial=0)
            self._empty()  # the sweep drove out the code of a call as well
            return _timed(run)

        run()
        return self._least(timed)

    def _least(self, timed: Callable[[], float]) -> float:
        least = timed()
        for done in range(1, self._repeat):
            if done > 1 and least > _LONG_S:
                break
            least = min(least, timed())
        return least


def _timed(run: Callable[[], None]) -> float:
    started = time.thread_time()
    run()
    return time.thread_time() - started
