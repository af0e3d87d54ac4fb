"""Allocation logs: what they mean, and that every fault has its line and reason."""

from __future__ import annotations

import os
import random
import tracemalloc

import pytest

from frontends.buffers import malloc_log
from frontends.buffers.malloc_log import read_malloc_log
from planner.errors import BadFileError, PlannerError
from planner.packing.problem import Buffer

from .training_traces import training_trace


def read(tmp_path, text):
    path = tmp_path / "step.log"
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text, encoding="utf-8")
    return read_malloc_log(path)


def fault(tmp_path, text):
    """The message behind the file's name."""
    with pytest.raises(BadFileError) as caught:
        read(tmp_path, text)
    return str(caught.value).removeprefix(str(tmp_path / "step.log"))


def test_a_buffer_lives_from_the_event_of_its_malloc_to_that_of_its_free(tmp_path):
    text = "# a step\nmalloc x 100\n\nmalloc 7 5 # the second\n  free x\r\n#free 7\nfree\t7\n"
    assert read(tmp_path, text).buffers == (Buffer("x", 0, 2, 100), Buffer("7", 1, 3, 5))


def test_what_is_never_freed_lives_to_the_end(tmp_path):
    problem = read(tmp_path, "malloc a 1\nmalloc b 2\nfree a\nmalloc c 3")
    assert problem.buffers == (Buffer("a", 0, 2, 1), Buffer("b", 1, 4, 2), Buffer("c", 3, 4, 3))


def test_an_id_used_again_is_another_buffer_whatever_the_others_are_called(tmp_path):
    text = (
        "malloc 0x7f 8\nmalloc 0x7f#2 9\nfree 0x7f\nmalloc 0x7f 16\nfree 0x7f\nmalloc 0x7f 24\n"
        "free 0x7f#2\nmalloc 0x7f#2 1\n"
    )
    problem = read(tmp_path, text)
    assert [buffer.size for buffer in problem.buffers] == [8, 9, 16, 24, 1]
    names = [buffer.name for buffer in problem.buffers]
    assert names[:2] == ["0x7f", "0x7f#2"] and len(set(names)) == 5


def test_a_malloc_of_no_bytes_makes_no_buffer_but_takes_its_time(tmp_path):
    problem = read(tmp_path, "malloc a 0\nmalloc b 4\nfree a\nmalloc a 8\nfree b\nmalloc n 0\n")
    assert problem.buffers == (Buffer("b", 1, 4, 4), Buffer("a", 3, 6, 8))


@pytest.mark.parametrize("seed", range(20))
def test_any_interleaving_is_read_as_it_was_written(tmp_path, seed):
    rng = random.Random(seed)
    alive, expected, lines = {}, [], []
    for time in range(200):
        if alive and rng.random() < 0.5:
            name = rng.choice(list(alive))
            expected.append((alive[name][0], time, alive.pop(name)[1]))
            lines.append(f"free {name}")
        else:
            name = next(
                n for n in (f"p{rng.randrange(1000)}" for _ in iter(int, 1)) if n not in alive
            )
            alive[name] = (time, rng.randint(1, 10**6))
            lines.append(f"malloc {name} {alive[name][1]}")
    expected += [(lower, 200, size) for lower, size in alive.values()]
    found = [(b.lower, b.upper, b.size) for b in read(tmp_path, "\n".join(lines)).buffers]
    assert found == sorted(expected)


def test_the_log_of_a_training_step_is_its_lifetimes(tmp_path):
    trace = training_trace(3, 4)
    found = {b.name: (b.lower, b.upper, b.size) for b in read(tmp_path, trace.log()).buffers}
    assert found == trace.lifetimes()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("malloc a 1\nfree b\n", 2, "free of 'b', which is not allocated"),
        ("malloc a 1\nfree a\nfree a\n", 3, "free of 'a', which is already freed"),
        ("malloc a 1\n# x\nmalloc a 2\n", 3, "allocated since line 1"),
        ("malloc a 0\nmalloc a 2\n", 2, "allocated since line 1"),
        ("malloc a -4\n", 1, "negative"),
        ("malloc a 4.5\n", 1, "no whole number"),
        ("malloc a 0x10\n", 1, "no whole number"),
        ("malloc a 1_000\n", 1, "no whole number"),
        ("malloc a \u0661\n", 1, "no whole number"),
        (f"malloc a {2**62}\n", 1, "too large for 62 bits"),
        ("malloc a " + "9" * 4000 + "\n", 1, "too large for 62 bits"),
        (f"malloc a {2**61}\nmalloc b {2**61}\n", 2, "add up to"),
        ("malloc a 1\nmalloc b\n", 2, "expected malloc ID BYTES"),
        ("malloc a 1\nfree\n", 2, "expected free ID"),
        ("malloc a 1 2\n", 1, "expected malloc ID BYTES"),
        ("malloc a 1\nfree a 1\n", 2, "expected free ID"),
        ("malloc a 1\nmal", 2, "unknown event 'mal'"),
        ("id,lower,upper,size\n", 1, "unknown event"),
        ("malloc a 1\nMALLOC b 1\n", 2, "unknown event"),
        (b"malloc a 1\n\xff\xfe\n", 2, "not UTF-8"),
        (b"malloc a\0b 1\n", 1, "control characters"),
        ("malloc " + "a" * 5000 + " 1\n", 1, "more than"),
        (b"\0" * 10_000_000, 1, "more than"),
    ],
)
def test_faults_have_their_line_and_reason(tmp_path, text, line, reason):
    message = fault(tmp_path, text)
    assert message.startswith(f":{line}: ")
    assert reason in message and len(message) < 300


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_log_without_events_is_refused(tmp_path, text):
    assert "no event" in fault(tmp_path, text)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.log")
    for path in (tmp_path, tmp_path / "pipe.log", tmp_path / "absent.log", tmp_path / "a\0b"):
        with pytest.raises(BadFileError):
            read_malloc_log(path)


def test_logs_with_too_many_requests_stop_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(malloc_log, "MAX_REQUESTS", 1000)
    message = fault(tmp_path, "malloc a 1\nfree a\n" * 5000)
    assert message.startswith(":2001: ") and "1,000" in message


def test_comments_without_end_need_no_memory(tmp_path):
    path = tmp_path / "step.log"
    path.write_bytes(b"# nothing\n" * 50_000)
    tracemalloc.start()
    try:
        with pytest.raises(BadFileError, match="no event"):
            read_malloc_log(path)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(30))
def test_damaged_logs_end_in_an_error_for_people_or_a_problem(tmp_path, seed):
    rng = random.Random(seed)
    content = bytearray(training_trace(seed, 3).log().encode())
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(content))
        content[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(3))
    try:
        assert read(tmp_path, bytes(content)).buffers
    except PlannerError as error:
        assert "step.log:" in str(error)
