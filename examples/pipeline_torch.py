"""Run a pipeline schedule in PyTorch, on CPU, and check its gradients.

python examples/pipeline_torch.py SCHEDULE.csv [--offload FILE.json] [--microbatches M]

One process for each row of the CSV runs it through torch.distributed.pipelining, on a small
transformer in float64, twice: as it is, and with the moves of the offload file. The gradients are
compared with those of the same model without a pipeline, and the passes that ran with the file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import InvalidPlanError, PlannerError
from planner.pipelining.checking.order_faults import order_faults
from planner.pipelining.files.offload_file import read_offload
from planner.pipelining.files.schedule_csv import (
    action_text,
    in_loss_order,
    read_schedule_csv,
    write_schedule_csv,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.process import BaseProcess

    from pipeline_rank import Report, Task

LARGEST_ERROR = 1e-6


def run_ranks(task: Task) -> list[Report]:
    """Run all ranks; leave no process behind, whatever happens."""
    from pipeline_rank import run_rank

    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    children: list[BaseProcess] = []
    pipes: dict[Connection, int] = {}
    reports: dict[int, Report] = {}
    deadline = time.monotonic() + task.limit_s
    try:
        # Ctrl-C goes to every process of a terminal; the parent alone answers it. Python's helper
        # comes first, as its start unblocks the signal.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for rank in range(len(task.schedule.passes)):
                pipe, theirs = context.Pipe(duplex=False)
                child = context.Process(target=run_rank, args=(rank, task, theirs), daemon=True)
                child.start()
                theirs.close()
                children.append(child)
                pipes[pipe] = rank
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while pipes:
            ready = wait(list(pipes), max(0.0, deadline - time.monotonic()))
            if not ready:
                silent = ", ".join(map(str, sorted(pipes.values())))
                raise InvalidPlanError(
                    f"after {task.limit_s:g} s rank {silent} had not finished; all were ended."
                )
            for pipe in ready:
                assert isinstance(pipe, Connection)
                rank = pipes.pop(pipe)
                try:
                    result = pipe.recv()
                except EOFError:
                    raise InvalidPlanError(f"rank {rank} ended without a word.") from None
                if isinstance(result, str):
                    raise InvalidPlanError(f"rank {rank}: {result}")
                reports[rank] = result
        return [reports[rank] for rank in range(len(children))]
    finally:
        for child in children:
            if len(reports) < len(children):
                child.kill()
            child.join()


def judge(task: Task, reports: list[Report], errors: list[float]) -> bool:
    """Print a row for each rank; return whether orders and gradients are right."""
    print(
        "rank stages      passes order          M_B      M_W       peak  with moves"
        "      moved  error"
    )
    good = True
    for rank, (report, error) in enumerate(zip(reports, errors, strict=True)):
        expected = [action_text(item) for item in task.schedule.passes[rank]]
        is_same = all(ran == expected for ran in report.ran)
        good = good and is_same and error <= LARGEST_ERROR and not any(report.left)
        stages = ",".join(map(str, report.bytes_of_stage))
        whole, kept = map(sum, zip(*report.bytes_of_stage.values(), strict=True))
        print(
            f"{rank:>4} {stages:<11} {len(expected):>6} {'as in file' if is_same else 'DIFFERS'} "
            f"{whole:>8,} {kept:>8,} {report.peaks[0]:>10,} {report.peaks[1]:>11,} "
            f"{report.moved[1]:>10,}  {error:.0e}"
        )
        for ran in report.ran:
            for index, (one, other) in enumerate(zip(ran, expected, strict=False)):
                if one != other:
                    print(f"     pass {index} was {one}, where the file has {other}")
                    break
        if any(report.left):
            print(f"     {max(report.left):,} saved bytes were never given back")
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("schedule", metavar="SCHEDULE.csv", type=Path)
    parser.add_argument("--offload", metavar="FILE.json", type=Path)
    parser.add_argument("--microbatches", metavar="M", type=int, help="those the file must have")
    parser.add_argument("--time-limit", metavar="S", type=seconds, default=300.0)
    options = parser.parse_args(arguments)
    try:
        return 0 if run(options) else 1
    except PlannerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: {error}. Install PyTorch: pip install torch", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: all processes were ended", file=sys.stderr)
        return 130


def refuse(path: Path, faults: Sequence[str]) -> None:
    """Raise an error of these faults, if there are any; the first ten are enough."""
    if faults:
        more = [f"and {len(faults) - 10:,} more"] if len(faults) > 10 else []
        raise InvalidPlanError("\n  ".join([f"{path} cannot run:", *faults[:10], *more]))


def seconds(text: str) -> float:
    """Read a time limit, of a day at most."""
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 86400 seconds")
    return value


def run(options: argparse.Namespace) -> bool:
    found = read_schedule_csv(options.schedule)
    schedule, microbatches = found.schedule, found.microbatches
    if options.microbatches is not None:
        microbatches = options.microbatches
    refuse(options.schedule, order_faults(schedule, microbatches))
    if options.offload is not None:
        schedule = read_offload(options.offload, schedule)
    file, schedule = schedule, in_loss_order(schedule)
    if schedule != file:
        print("microbatches are numbered anew, as they reach the last stage: PyTorch wants it so")
    # PyTorch takes seconds to start: a file that is wrong is refused before.
    import pipeline_rank

    pipeline_rank.require_private_names()
    refuse(options.schedule, pipeline_rank.torch_refusal(schedule, microbatches))
    print(
        f"{options.schedule}: {len(schedule.passes)} ranks, {len(schedule.device_of)} stages, "
        f"{microbatches} microbatches, {sum(map(len, schedule.passes))} passes",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        task = pipeline_rank.Task(schedule, microbatches, Path(folder), options.time_limit)
        write_schedule_csv(schedule, task.csv)
        reports = run_ranks(task)
        good = judge(task, reports, pipeline_rank.gradient_errors(task))
    print("gradients and orders agree" if good else "gradients or orders differ")
    return good


if __name__ == "__main__":
    sys.exit(main())
