"""Allocation logs: who asked for how many bytes, and gave them back when."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from frontends.buffers.load import LARGEST_FILE_BYTES
from planner.errors import BadFileError
from planner.packing.problem import LIMIT, Buffer, PackingProblem
from planner.plan_fields import excerpt
from planner.regular_file import open_regular

if TYPE_CHECKING:
    import os
    from typing import BinaryIO

MAX_REQUESTS = 1_000_000
MAX_LINE_BYTES = 4096


class _Request(NamedTuple):
    """A malloc that has not been freed yet; size 0 for one that holds no bytes."""

    name: str
    lower: int
    size: int
    line: int


class _Fault(Exception):
    """What is wrong with one line."""


def read_malloc_log(path: str | os.PathLike[str]) -> PackingProblem:
    """Read an allocation log as buffers in one memory without capacity.

    One event a line::

        # comment
        malloc ID BYTES
        free ID

    The requests of one training step are what MEMO plans memory from (arXiv 2407.12117); the paper
    gives no file format, this one is ours.

    An ID is any word, a pointer or a number. Time is the index of the event, comments not counted:
    a buffer lives from its malloc to its free, and to the end of the log if it is never freed. An
    ID may be used again after its free, which is another buffer, named ``ID#2``, ``ID#3`` and so
    on. A malloc of 0 bytes makes no buffer.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file, too large or holds no event; with the line number,
        if a line is malformed, frees what is not allocated, allocates an ID twice, asks for a
        negative or too large number of bytes, or is the malloc after the 1,000,000th.
    """
    with open_regular(path, LARGEST_FILE_BYTES) as file:
        return PackingProblem(tuple(_read_buffers(file, Path(path))))


def _read_buffers(file: BinaryIO, path: Path) -> list[Buffer]:
    log = _Log()
    number = 0
    # Bounded, because the "line" of a binary file can be the whole file.
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        try:
            log.read(_words(line), number)
        except _Fault as fault:
            raise BadFileError(f"{path}:{number}: {fault}.") from None
    if log.time == 0:
        raise BadFileError(f"{path} holds no event. An allocation log has lines malloc ID BYTES.")
    return log.finished()


def _words(line: bytes) -> list[str]:
    """The words before a comment."""
    if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
        raise _Fault(f"the line has more than {MAX_LINE_BYTES - 1:,} bytes; is this a text file?")
    if line.startswith(b"#"):
        return []
    try:
        text = line.decode().rstrip("\r\n").replace("\t", " ")
    except UnicodeDecodeError:
        raise _Fault("it is not UTF-8 text; is this a text file?") from None
    if not text.isprintable():
        raise _Fault("it holds control characters; is this a text file?")
    words = text.split()
    for index, word in enumerate(words):
        if word.startswith("#"):
            return words[:index]
    return words


class _Log:
    """The events up to now.

    Attributes
    ----------
    time : int
        Number of events.
    """

    def __init__(self) -> None:
        self.time = 0
        self._open: dict[str, _Request] = {}
        # In order of their mallocs, which is the order of the buffers; None until freed.
        self._buffers: list[Buffer | None] = []
        self._index: dict[str, int] = {}
        self._generation: dict[str, int] = {}
        self._requests = 0
        self._total_bytes = 0

    def read(self, words: list[str], line: int) -> None:
        """Add the event of a line, if it has one."""
        if not words:
            return
        match words:
            case ["malloc", name, size]:
                self._malloc(name, _bytes(size), line)
            case ["free", name]:
                self._free(name)
            case ["malloc" | "free", *_]:
                raise _Fault(
                    f"a {words[0]} of {len(words)} words; expected "
                    f"{'malloc ID BYTES' if words[0] == 'malloc' else 'free ID'}"
                )
            case _:
                raise _Fault(
                    f"unknown event {excerpt(words[0])}; expected malloc ID BYTES or free ID"
                )
        self.time += 1

    def finished(self) -> list[Buffer]:
        """All buffers in order of their mallocs; those never freed live to the end."""
        for request in self._open.values():
            self._close(request)
        return [buffer for buffer in self._buffers if buffer is not None]

    def _malloc(self, name: str, size: int, line: int) -> None:
        if name in self._open:
            raise _Fault(
                f"malloc of {excerpt(name)}, which is allocated since line "
                f"{self._open[name].line:,} and not freed"
            )
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            raise _Fault(f"more than {MAX_REQUESTS:,} mallocs; a log may have that many")
        # One byte of alignment for each buffer: the sum that the solvers keep inside 62 bits.
        self._total_bytes += size + 1
        if self._total_bytes >= LIMIT:
            raise _Fault(
                f"the sizes up to here add up to {self._total_bytes:,} bytes; solvers count in "
                "62 bits"
            )
        if size == 0:
            self._open[name] = _Request(name, self.time, size, line)
            return
        unique = self._unique_name(name)
        self._index[unique] = len(self._buffers)
        self._buffers.append(None)
        self._open[name] = _Request(unique, self.time, size, line)

    def _free(self, name: str) -> None:
        request = self._open.pop(name, None)
        if request is None:
            before = "not allocated" if name not in self._generation else "already freed"
            raise _Fault(f"free of {excerpt(name)}, which is {before}")
        self._close(request)

    def _close(self, request: _Request) -> None:
        if request.size:
            self._buffers[self._index[request.name]] = Buffer(
                request.name, request.lower, self.time, request.size
            )

    def _unique_name(self, name: str) -> str:
        generation = self._generation.get(name, 0) + 1
        unique = name if generation == 1 else f"{name}#{generation}"
        while unique in self._index:
            generation += 1
            unique = f"{name}#{generation}"
        self._generation[name] = generation
        return unique


def _bytes(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise _Fault(f"the size {excerpt(text)} is no whole number of bytes")
    if digits != text and digits.strip("0"):
        raise _Fault(f"the size {excerpt(text)} is negative")
    if int(digits) >= LIMIT:
        raise _Fault(f"the size {excerpt(text)} is too large for 62 bits")
    return int(digits)
