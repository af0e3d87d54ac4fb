"""One rank of a pipeline in PyTorch: a small model, the runtime, and a ledger of what it did."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import threading
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from saved_activations import SavedActivations
from torch import nn
from torch.distributed import pipelining
from torch.distributed.pipelining import schedules

from planner.errors import UsageError
from planner.pipelining.files.schedule_csv import action_text
from planner.pipelining.schedule import CopyKind, Pass, PassKind, PipelineSchedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TESTED_WITH = "2.13.0"
PRIVATE_NAMES = (
    *("_Action", "_PipelineScheduleRuntime._load_csv", "_validate_schedule"),
    *("_add_send_recv", "_simulate_comms_compute"),
)
WIDTH, HEADS, TOKENS, SAMPLES = 32, 2, 16, 2


class Block(nn.Module):
    """A transformer block: attention and a perceptron, each beside a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_perceptron = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        # Softmax ignores a bias of the keys: its gradient is rounding alone, of no relative size.
        self.heads = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.perceptron = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.heads(self.before_attention(x)).unflatten(-1, (3, HEADS, WIDTH // HEADS))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        x = x + self.attended((scores @ value).transpose(1, 2).flatten(2))
        return x + self.perceptron(self.before_perceptron(x))


def stage_model(stage: int) -> nn.Module:
    """Return the model of a stage: the same in every process."""
    torch.manual_seed(stage)
    return Block().double()


def batch(microbatches: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return input and target of all microbatches."""
    chance = torch.Generator().manual_seed(1)
    shape = (SAMPLES * microbatches, TOKENS, WIDTH)
    x, y = (torch.randn(shape, generator=chance, dtype=torch.float64) for _ in range(2))
    return x, y


def reference_gradients(stages: int, microbatches: int) -> list[list[torch.Tensor]]:
    """Return, per stage, the gradients of its parameters, computed without a pipeline."""
    models = [stage_model(stage) for stage in range(stages)]
    whole = nn.Sequential(*models)
    x, y = batch(microbatches)
    for one, target in zip(x.chunk(microbatches), y.chunk(microbatches), strict=True):
        (nn.functional.mse_loss(whole(one), target) / microbatches).backward()
    return [[p.grad for p in model.parameters() if p.grad is not None] for model in models]


def require_private_names() -> None:
    """Refuse a PyTorch that lacks what is private in it and used here."""
    for name in PRIVATE_NAMES:
        owner: Any = schedules
        for part in name.split("."):
            owner = getattr(owner, part, None)
        if owner is None:
            raise UsageError(
                f"torch {torch.__version__} has no {schedules.__name__}.{name}, a private name; "
                f"this was tested with torch {TESTED_WITH}"
            )


def torch_refusal(schedule: PipelineSchedule, microbatches: int) -> list[str]:
    """Return why PyTorch's own checks refuse the orders of a schedule; nothing if they do not."""
    stages, rank_of = len(schedule.device_of), schedule.device_of.__getitem__
    rows: dict[int, Any] = {
        rank: [schedules._Action.from_str(action_text(item)) for item in passes]
        for rank, passes in enumerate(schedule.passes)
    }
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            schedules._validate_schedule(rows, len(rows), stages, microbatches)
            rows = schedules._add_send_recv(rows, rank_of, stages)
            schedules._simulate_comms_compute(rows, rank_of, stages)
    except (AssertionError, ValueError, RuntimeError, KeyError) as error:
        return [f"PyTorch refuses it: {str(error).splitlines()[0]}"]
    return []


class Ledger:
    """What one rank runs, pass by pass, and the moves that are due before each pass."""

    def __init__(self, schedule: PipelineSchedule, rank: int) -> None:
        self.activations = SavedActivations()
        self.running: tuple[int, int] | None = None
        self.ran: list[str] = []
        self.bytes_of_stage: dict[int, tuple[int, int]] = {}
        passes = schedule.passes[rank]
        self.due: list[list[tuple[CopyKind, tuple[int, int]]]] = [[] for _ in passes]
        for copy in schedule.copies[rank] if schedule.copies else ():
            key = copy.stage, copy.microbatch
            forward = passes.index(Pass(PassKind.FORWARD, *key))
            self.due[max(copy.after, forward + 1)].append((copy.kind, key))
        for moves in self.due:
            moves.sort()  # what leaves makes room

    @contextlib.contextmanager
    def record(self, stage: int, letter: str, microbatch: int, moving: bool) -> Iterator[None]:
        for kind, key in self.due[len(self.ran)] if moving else ():
            move = self.activations.offload if kind is CopyKind.OFFLOAD else self.activations.reload
            move(key)
        self.running = stage, microbatch
        yield
        self.running = None
        self.ran.append(f"{stage}{letter}{microbatch}")
        held = self.activations.bytes_of((stage, microbatch))
        if letter == "F":
            self.bytes_of_stage[stage] = held, 0
        elif letter == "I":
            self.bytes_of_stage[stage] = self.bytes_of_stage[stage][0], held


class CountedModel(nn.Module):
    """A stage whose saved activations the ledger holds."""

    def __init__(self, body: nn.Module, ledger: Ledger) -> None:
        super().__init__()
        self.body = body
        self.ledger = ledger

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.ledger.running is None:  # the runtime asks for shapes
            return self.body(x)
        # The runtime itself keeps the input, in a buffer of its own for each microbatch.
        kept = {t.untyped_storage().data_ptr() for t in (x, *self.body.parameters())}
        with self.ledger.activations.saving(self.ledger.running, kept):
            return self.body(x)


class RecordedStage(pipelining.PipelineStage):
    """A stage that tells the ledger what the runtime asks of it."""

    ledger: Ledger
    moving = False

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        with self.ledger.record(self.stage_index, "F", fwd_chunk_id, self.moving):
            return super().forward_one_chunk(fwd_chunk_id, *args, **kwargs)

    def backward_one_chunk(
        self,
        bwd_chunk_id: int,
        loss: Any = None,
        full_backward: bool = True,
        last_backward: bool = False,
    ) -> Any:
        letter = "B" if full_backward else "I"
        with self.ledger.record(self.stage_index, letter, bwd_chunk_id, self.moving):
            return super().backward_one_chunk(bwd_chunk_id, loss, full_backward, last_backward)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        with self.ledger.record(self.stage_index, "W", bwd_chunk_id, self.moving):
            return super().backward_weight_one_chunk(bwd_chunk_id, *args, **kwargs)


@dataclass(frozen=True)
class Task:
    """What a process is told: the schedule, as the runtime's file and as ours, and a folder."""

    schedule: PipelineSchedule
    microbatches: int
    folder: Path
    limit_s: float

    @property
    def csv(self) -> Path:
        return self.folder / "schedule.csv"

    def gradients(self, rank: int) -> Path:
        return self.folder / f"gradients-{rank}.pt"


@dataclass(frozen=True)
class Report:
    """What a rank did: in both runs the passes, and in bytes the peak, the moves and the rest.

    ``bytes_of_stage`` has what one microbatch holds after the forward pass, and after the gradient
    of the input.
    """

    ran: list[list[str]]
    peaks: list[int]
    moved: list[int]
    left: list[int]
    bytes_of_stage: dict[int, tuple[int, int]]


def run_rank(rank: int, task: Task, pipe: Connection) -> None:
    """Run one rank in a process of its own; send a report, or what went wrong."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    # However the parent ends, nobody waits for it.
    leave = threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True)
    leave.start()
    try:
        pipe.send(_run_rank(rank, task))
    except Exception as error:
        cause = error.__cause__ or error
        pipe.send(f"{type(cause).__name__}: {cause}")


def _run_rank(rank: int, task: Task) -> Report:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=(task.folder / "rendezvous").as_uri(),
        rank=rank,
        world_size=len(task.schedule.passes),
        timeout=timedelta(seconds=task.limit_s),
    )
    total = len(task.schedule.device_of)
    mine = [stage for stage, at in enumerate(task.schedule.device_of) if at == rank]
    ledger = Ledger(task.schedule, rank)
    models = {stage: CountedModel(stage_model(stage), ledger) for stage in mine}
    device = torch.device("cpu")
    stages = [RecordedStage(models[stage], stage, total, device) for stage in mine]
    runtime = schedules._PipelineScheduleRuntime(
        stages, n_microbatches=task.microbatches, loss_fn=nn.MSELoss(), scale_grads=True
    )
    runtime._load_csv(str(task.csv), format="compute_only")
    x, y = batch(task.microbatches)
    report = Report([], [], [], [], ledger.bytes_of_stage)
    gradients = []
    for moving in (False, True):
        for stage in stages:
            stage.ledger, stage.moving = ledger, moving
            stage.submod.zero_grad()
        ledger.ran = []
        ledger.activations.restart()
        last = {"target": y, "losses": []} if total - 1 in mine else {}
        runtime.step(*((x,) if 0 in mine else ()), **last)
        report.ran.append(ledger.ran)
        report.peaks.append(ledger.activations.peak_bytes)
        report.moved.append(ledger.activations.moved_bytes)
        report.left.append(ledger.activations.live_bytes)
        gradients.append({s: [p.grad for p in m.parameters()] for s, m in models.items()})
    torch.save(gradients, task.gradients(rank))
    dist.barrier()
    dist.destroy_process_group()
    return report


def gradient_errors(task: Task) -> list[float]:
    """Return, per rank, the largest difference relative to the largest gradient of a parameter."""
    reference = reference_gradients(len(task.schedule.device_of), task.microbatches)
    return [
        max(
            float((ours - theirs).abs().max() / theirs.abs().max())
            for run in torch.load(task.gradients(rank))
            for stage, gradients in run.items()
            for ours, theirs in zip(gradients, reference[stage], strict=True)
        )
        for rank in range(len(task.schedule.passes))
    ]
