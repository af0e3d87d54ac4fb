"""Programs for the simulator, one row a step, with copies that are nobody's operands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.plans import Metrics, Plan, Provenance, Transfer, TransferKind, planned_storages
from planner.simulator import Timeline, simulate
from planner.target import Compute, Link, Memory, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 100.0  # bytes per second of the slow memory and of both links
NEAR = Memory("near", 10**9, 1, 1e15, 1e15)
SLOW = Memory("slow", 10**9, 1, RATE, RATE)
OUT, BACK = Link("near", "slow", RATE), Link("slow", "near", RATE)
TARGET = Target("toy", (NEAR, SLOW), (OUT, BACK), Compute({"default": 1.0}, 1.0), io_memory="near")
SPILL, RELOAD = TransferKind.SPILL, TransferKind.RELOAD


class Row(NamedTuple):
    """An operator that computes for ``macs`` seconds and reads that much of the slow memory."""

    macs: int
    direct_bytes: int = 0


class Job(NamedTuple):
    """A copy of that many bytes, out of the nearest memory or into it, between two boundaries."""

    size: int
    start: int
    end: int
    inwards: bool = False


def program(
    rows: Sequence[Row], jobs: Sequence[Job], target: Target = TARGET
) -> tuple[Graph, Target, Plan]:
    """One operator a row, each with a constant in the slow memory; a storage of its own per job.

    Only the simulator looks at it: operands are resident, so that placements say nothing of times.
    """
    storages = [Storage("x", 1, StorageKind.INPUT)]
    storages += [
        Storage(f"w{i}", row.direct_bytes, StorageKind.CONSTANT) for i, row in enumerate(rows)
    ]
    storages += [Storage(f"t{i}", 1, is_output=i == len(rows) - 1) for i in range(len(rows))]
    storages += [Storage(f"job{i}", job.size, StorageKind.INPUT) for i, job in enumerate(jobs)]
    tensors = [
        Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes) for i, s in enumerate(storages)
    ]
    operators = [
        Operator(
            f"op{i}",
            "Layer",
            (1 + i, i + len(rows) if i else 0),
            (1 + len(rows) + i,),
            macs=row.macs,
        )
        for i, row in enumerate(rows)
    ]
    graph = Graph(ModelReference("rows"), tuple(operators), tuple(tensors), tuple(storages))
    first = 1 + 2 * len(rows)
    transfers = tuple(
        Transfer(first + i, "slow", "near", job.start, job.end, RELOAD)
        if job.inwards
        else Transfer(first + i, "near", "slow", job.start, job.end, SPILL)
        for i, job in enumerate(jobs)
    )
    plan = Plan(
        graph.model,
        target,
        tuple(range(len(rows))),
        planned_storages(graph),
        (),
        transfers,
        (),
        Metrics({}, {}, 0, 0),
        Provenance("hand", "feasible", "latency"),
    )
    return graph, target, plan


def timed(rows: Sequence[Row], *jobs: Job, target: Target = TARGET) -> Timeline:
    return simulate(*program(rows, jobs, target))


def any_order(target: Target, setup_s: float = 0.0) -> Target:
    return replace(
        target, links=tuple(replace(li, fifo=False, setup_s=setup_s) for li in target.links)
    )
