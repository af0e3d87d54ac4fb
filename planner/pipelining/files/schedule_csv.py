"""Schedules as the CSV files of PyTorch's ``torch.distributed.pipelining``.

A row is a rank, a cell is an action, in order: ``2F0`` is the forward pass of stage 2 on
microbatch 0, ``2I0`` its gradient of the input (our B), ``2W0`` its gradient of the weights,
``2B0`` both at once (our D). An empty cell is a step without work and means nothing.
The format is the runtime's ``compute_only``; nothing here needs PyTorch.
"""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import BadFileError, UsageError
from planner.pipelining.problem import MOST_PASSES
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.plan_fields import excerpt
from planner.regular_file import read_regular
from planner.whole_files import write_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_LARGEST_FILE_BYTES = 1 << 26
_LETTERS = {
    PassKind.FORWARD: "F",
    PassKind.BACKWARD: "I",
    PassKind.WEIGHT: "W",
    PassKind.FUSED: "B",
}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}
# The runtime matches a beginning of the cell and drops the rest; a typing error must not pass.
_COMPUTE = re.compile(r"(0|[1-9][0-9]{0,8})([FIWB])(0|[1-9][0-9]{0,8})")
_COMMUNICATION = re.compile(
    r"(0|[1-9][0-9]{0,8})"
    r"(?:(?:UNSHARD|RESHARD|REDUCE_GRAD)|(?:SEND_F|RECV_F|SEND_B|RECV_B)(?:0|[1-9][0-9]{0,8}))"
)
_OVERLAPPED = re.compile(r"\(([^()]*)\)OVERLAP_F_B")
_CELL = re.compile(r"([^,]*)(?:,|$)")


class ScheduleCsv(NamedTuple):
    """What a CSV file says.

    Attributes
    ----------
    schedule : PipelineSchedule
        Its placement is that of the file. Whether its orders are legal is for
        `planner.pipelining.checking.order_faults` to say.
    microbatches : int
        One more than the greatest that is named.
    communications : int
        Cells of transfers and collectives that were skipped: they follow from the passes.
    overlapped : int
        Cells of two passes at once that were read as one after the other.
    """

    schedule: PipelineSchedule
    microbatches: int
    communications: int
    overlapped: int


def action_text(item: Pass) -> str:
    """Return the cell of a pass that has one.

    Raises
    ------
    UsageError
        For passes of the vocabulary layer.
    """
    letter = _LETTERS.get(item.kind)
    if letter is None:
        raise UsageError(
            f"{item.kind} {item.stage}.{item.microbatch} is a pass of the split vocabulary layer, "
            "for which PyTorch's CSV has no action"
        )
    return f"{item.stage}{letter}{item.microbatch}"


def in_loss_order(schedule: PipelineSchedule) -> PipelineSchedule:
    """Return the schedule with microbatches numbered as they reach the last stage.

    They are interchangeable to us, but PyTorch's runtime keeps the losses in a list in the order of
    the last stage's forward passes, and takes that of microbatch ``j`` from its place ``j``.
    """
    last = len(schedule.device_of) - 1
    row = schedule.passes[schedule.device_of[last]]
    order = [item.microbatch for item in row if item[:2] == (PassKind.FORWARD, last)]
    number = {microbatch: index for index, microbatch in enumerate(order)}
    named = {item.microbatch for passes in schedule.passes for item in passes}
    if order == sorted(order) or number.keys() != named:
        return schedule
    return replace(
        schedule,
        passes=tuple(
            tuple(item._replace(microbatch=number[item.microbatch]) for item in passes)
            for passes in schedule.passes
        ),
        copies=tuple(
            tuple(copy._replace(microbatch=number[copy.microbatch]) for copy in copies)
            for copies in schedule.copies
        ),
    )


def schedule_to_csv(schedule: PipelineSchedule) -> str:
    """Return CSV text of the passes; copies to the host go to a file of their own.

    Microbatches are numbered as ``in_loss_order`` says.

    Raises
    ------
    UsageError
        If the schedule has what the format cannot say: vocabulary passes, gathers of sharded
        weights, a device without passes.
    """
    if any(schedule.units):
        raise UsageError(
            "the schedule says when sharded weights are gathered, which PyTorch's CSV of passes "
            "cannot: its runtime places the gathers itself"
        )
    for device, passes in enumerate(schedule.passes):
        if not passes:
            raise UsageError(f"device {device} has no passes, but PyTorch wants some on each rank")
    rows = (",".join(map(action_text, own)) for own in in_loss_order(schedule).passes)
    return "".join(row + "\n" for row in rows)


def write_schedule_csv(schedule: PipelineSchedule, path: str | os.PathLike[str]) -> None:
    """Write a schedule; the file appears whole or not at all.

    Raises
    ------
    UsageError
        As for `schedule_to_csv`.
    BadFileError
        If the file cannot be written.
    """
    write_whole({Path(path): schedule_to_csv(schedule)})


def read_schedule_csv(path: str | os.PathLike[str]) -> ScheduleCsv:
    """Read a schedule.

    Raises
    ------
    BadFileError
        If the file is missing, no regular file or too large; if a cell is no action; if a stage
        lies on two ranks or on none. The message names file, rank and cell.
    """
    return schedule_from_csv(read_regular(path, _LARGEST_FILE_BYTES), Path(path).name)


def schedule_from_csv(data: bytes, file: str = "schedule.csv") -> ScheduleCsv:
    """Read the bytes of a CSV file; ``file`` names it in messages. See `read_schedule_csv`."""
    return _Reader(file).read(data)


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.rank_of: dict[int, int] = {}
        self.microbatches = 0
        self.passes = 0
        self.communications = 0
        self.overlapped = 0

    def read(self, data: bytes) -> ScheduleCsv:
        passes = tuple(tuple(self._row(rank, row)) for rank, row in enumerate(BytesIO(data)))
        if not passes:
            raise BadFileError(f"{self.file}: empty. It needs a row of actions for each rank.")
        schedule = PipelineSchedule(Path(self.file).stem, self._placement(), passes)
        return ScheduleCsv(schedule, self.microbatches, self.communications, self.overlapped)

    def _row(self, rank: int, line: bytes) -> Iterator[Pass]:
        before = self.passes
        try:
            row = line.removesuffix(b"\n").removesuffix(b"\r").decode("ascii")
        except UnicodeDecodeError as error:
            raise BadFileError(
                f"{self.file}: rank {rank} has a byte {line[error.start]:#04x}, but actions are "
                "ASCII text."
            ) from None
        for column, match in enumerate(_CELL.finditer(row)):
            cell = match[1].strip(" \t")
            if len(cell) > 1 and cell[0] == cell[-1] == '"':
                cell = cell[1:-1].strip(" \t")
            if not cell:
                continue
            where = f"{self.file}: rank {rank}, cell {column}"
            if pair := _OVERLAPPED.fullmatch(cell):
                self.overlapped += 1
                for part in pair[1].split(";"):
                    yield self._compute(part.strip(" \t"), rank, where)
            elif other := _COMMUNICATION.fullmatch(cell):
                self.communications += 1
                self._place(int(other[1]), rank, where)
            else:
                yield self._compute(cell, rank, where)
        if self.passes == before:
            raise BadFileError(f"{self.file}: rank {rank} has no passes.")

    def _compute(self, cell: str, rank: int, where: str) -> Pass:
        match = _COMPUTE.fullmatch(cell)
        if match is None:
            raise BadFileError(
                f"{where}: {excerpt(cell)} is no action. An action is a stage, one of F, I, W and "
                "B, and a microbatch, as in 2F0."
            )
        stage, microbatch = int(match[1]), int(match[3])
        self._place(stage, rank, where)
        self.passes += 1
        self.microbatches = max(self.microbatches, microbatch + 1)
        if max(stage + 1, self.microbatches, self.passes // 3) > MOST_PASSES:
            raise BadFileError(
                f"{where}: {cell} is more than the {MOST_PASSES:,} forward passes that can be "
                "planned."
            )
        return Pass(_KINDS[match[2]], stage, microbatch)

    def _place(self, stage: int, rank: int, where: str) -> None:
        other = self.rank_of.setdefault(stage, rank)
        if other != rank:
            raise BadFileError(f"{where}: stage {stage} is on rank {other} already.")

    def _placement(self) -> tuple[int, ...]:
        stages = 1 + max(self.rank_of)
        if stages > len(self.rank_of):
            gap = next(stage for stage in range(stages) if stage not in self.rank_of)
            raise BadFileError(
                f"{self.file}: stage {gap} has no actions on any rank, but stage {stages - 1} has."
            )
        if stages * self.microbatches > MOST_PASSES:
            raise BadFileError(
                f"{self.file}: {stages} stages x {self.microbatches} microbatches are more than "
                f"the {MOST_PASSES:,} forward passes that can be planned."
            )
        return tuple(self.rank_of[stage] for stage in range(stages))
