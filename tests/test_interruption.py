"""Ctrl-C at every moment of a race, its judgement and its report: what was found is handed back."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import planner
from frontends import zoo
from planner.cli.main import main
from planner.interruption import Interruption, listening_for_ctrl_c
from planner.race_thread import RaceThread, wait_for
from planner.testing import assert_legal
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# Greedy's nine bytes are not the least, so the race goes on after it.
ROWS = [(1, 3, 4), (5, 7, 3), (6, 7, 4), (3, 6, 3), (2, 6, 1), (1, 2, 3), (2, 4, 1)]
MOMENTS = 60
# Python drops what is raised in a destructor; the race hears of it all the same.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Presser:
    """Presses Ctrl-C at the n-th call of a function while somebody listens for it."""

    def __init__(self, moment: int) -> None:
        self.calls = 0
        self.held = False
        self._moment = moment

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        listener = signal.getsignal(signal.SIGINT)
        if event == "call" and isinstance(listener, Interruption):
            self.calls += 1
            if self.calls == self._moment:
                self.held = listener._held
                signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def _handler_is_restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def pressed(job: Callable[[], object], moment: int) -> tuple[object, Presser]:
    """Return what the job returns, None if it is given up."""
    presser = Presser(moment)
    result = None
    try:
        sys.setprofile(presser)
        result = job()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return result, presser


def moments(job: Callable[[], object]) -> Iterator[int]:
    """Yield the first calls one by one, and others that are spread over the whole job."""
    job()  # loads what is needed
    _, presser = pressed(job, 0)
    assert presser.calls > MOMENTS
    yield from range(1, MOMENTS // 3)
    yield from range(MOMENTS // 3, presser.calls, max(1, presser.calls // MOMENTS))


def test_ctrl_c_at_any_moment_does_not_lose_a_packing() -> None:
    kept = 0
    for moment in moments(lambda: planner.pack(ROWS)):
        result, presser = pressed(lambda: planner.pack(ROWS), moment)
        assert (result is not None) >= presser.held
        if isinstance(result, planner.PackResult):
            assert result.packing is not None
            assert not planner.check_packing(result.problem, result.packing)
            kept += result.interrupted
    assert kept > MOMENTS // 3


def test_ctrl_c_at_any_moment_does_not_lose_a_plan() -> None:
    graph = planner.load(zoo.build("resnet8"))
    job = lambda: planner.plan(graph, target="npu-1m", solvers=["greedy"])  # noqa: E731
    kept = 0
    for moment in moments(job):
        result, presser = pressed(job, moment)
        assert (result is not None) >= presser.held
        if isinstance(result, planner.PlanResult):
            assert_legal(graph, result.plan.target, result.plan)
            kept += result.interrupted
    assert kept > MOMENTS // 3


def test_ctrl_c_at_any_moment_ends_the_command_with_a_report_or_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    rows = "\n".join(f"b{i},{','.join(map(str, row))}" for i, row in enumerate(ROWS))
    source.write_text(f"id,lower,upper,size\n{rows}\n")
    job = lambda: main(["pack", str(source), "-q", "-o", str(out)])  # noqa: E731
    for moment in moments(job):
        capsys.readouterr()
        out.unlink()
        code, presser = pressed(job, moment)
        report, errors = capsys.readouterr()
        if code == 130 and not presser.held:
            assert (report, errors) == ("", "plan: interrupted before a plan was found\n")
            out.write_text("")
            continue
        assert report.count("checked   legal") == 1 and out.exists()
        if code == 130:
            assert errors == "plan: interrupted; this is the best packing until then\n"
        else:
            assert (code, errors) == (0, "")


def test_ctrl_c_in_the_first_news_of_a_race_keeps_the_packing() -> None:
    result = planner.pack(ROWS, on_progress=lambda _: signal.raise_signal(signal.SIGINT))
    assert result.interrupted and result.packing is not None


def test_the_third_ctrl_c_gives_the_result_up() -> None:
    def press(_: str) -> None:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        planner.pack(ROWS, on_progress=press)


def test_before_there_is_something_to_lose_ctrl_c_raises_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), listening_for_ctrl_c():
        signal.raise_signal(signal.SIGINT)


def test_a_block_within_another_shares_its_count_until_the_outer_one_ends() -> None:
    with listening_for_ctrl_c() as outer:
        with listening_for_ctrl_c() as inner:
            inner.hold()
        signal.raise_signal(signal.SIGINT)
        assert outer is inner and outer.heard and not outer.impatient
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_caller_is_left_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    own = signal.getsignal(signal.SIGINT)
    try:
        result = planner.pack(ROWS, on_progress=lambda _: signal.raise_signal(signal.SIGINT))
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard and not result.interrupted and result.status.value == "optimal"


def test_a_handler_of_the_caller_that_raises_while_a_race_is_waited_for_ends_it() -> None:
    """Which moment it chooses is up to the caller; this one is the usual."""

    def raising(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    deadline = Deadline(60)

    def job() -> None:
        while not deadline.expired():
            time.sleep(0.01)

    before = signal.signal(signal.SIGINT, raising)
    try:
        with listening_for_ctrl_c() as interruption:
            thread = RaceThread("endless", job)
            thread.start()
            threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
            wait_for([thread], deadline, interruption)
    finally:
        signal.signal(signal.SIGINT, before)
    assert interruption.heard and not thread.running()


def test_a_race_in_another_thread_touches_no_handler() -> None:
    found: list[object] = []

    def job() -> None:
        result = planner.pack(
            ROWS, on_progress=lambda _: found.append(signal.getsignal(signal.SIGINT))
        )
        found.append(result.status.value)

    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    assert found[-1] == "optimal"
    assert set(found[:-1]) == {signal.default_int_handler}


def test_ctrl_c_while_the_command_is_loaded_is_no_traceback() -> None:
    script = (
        "import signal, sys, types\n"
        "from planner.cli import main as command\n"
        "def pressed(name):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "command.import_module = pressed\n"
        "sys.argv[1:] = ['doctor']\n"
        "sys.exit(command.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "plan: interrupted before a plan was found\n"
