"""Plans by hand for the checker's tests: chains of operators, one or two memories."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.checker import ViolationKind, check
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.metrics import measure_bytes
from planner.plans import (
    ByteRange,
    InPlace,
    Metrics,
    Placement,
    Plan,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.target import Link, Memory, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

K = ViolationKind
NEAR = Memory("sram", 1000)
FAR = Memory("dram", 10_000)
LINKS = (Link("sram", "dram", 1e9), Link("dram", "sram", 1e9))
SCRATCHPAD = Target("scratchpad", (NEAR, FAR), LINKS, io_memory="dram")
NEAR_IO = Target("near-io", (NEAR, FAR), LINKS, io_memory="sram")
RELOCATING = Target(
    "relocating", (NEAR, FAR), (*LINKS, Link("sram", "sram", 2e9)), io_memory="dram"
)
EITHER = Target("either", (NEAR, FAR), LINKS, operands_resident=False, io_memory="dram")

FETCH, STORE = TransferKind.FETCH, TransferKind.STORE
SPILL, RELOAD, MOVE = TransferKind.SPILL, TransferKind.RELOAD, TransferKind.MOVE


def chain(*sizes: int, uses: dict[int, list[int]] | None = None) -> Graph:
    """Storage 0 is the input; operator i reads storage i and writes storage i + 1.

    ``uses`` adds operands: operator -> storages.
    """
    last = len(sizes) - 1
    storages = [Storage("x", sizes[0], StorageKind.INPUT)]
    storages += [Storage(f"t{i}", sizes[i], is_output=i == last) for i in range(1, last + 1)]
    tensors = [Tensor(s.name, (s.size_bytes,), "int8", i, 0, s.size_bytes)
               for i, s in enumerate(storages)]  # fmt: skip
    operators = [
        Operator(f"op{i}", "Layer", tuple(dict.fromkeys([i, *(uses or {}).get(i, [])])), (i + 1,))
        for i in range(last)
    ]
    return Graph(ModelReference("m"), tuple(operators), tuple(tensors), tuple(storages))


def make_plan(
    graph: Graph,
    target: Target,
    placements: Sequence[tuple],
    transfers: Sequence[tuple] = (),
    in_place: list[tuple[int, int, int]] = [],  # noqa: B006
    order: list[int] | None = None,
) -> Plan:
    plan = Plan(
        model=graph.model,
        target=target,
        order=tuple(range(len(graph.operators)) if order is None else order),
        storages=planned_storages(graph),
        placements=tuple(Placement(*p[:5], *map(_part, p[5:])) for p in placements),
        transfers=tuple(Transfer(*t[:6], *map(_part, t[6:])) for t in transfers),
        in_place=tuple(InPlace(*p) for p in in_place),
        metrics=Metrics({}, {}, 0, 0),
        provenance=Provenance("hand", "feasible", "traffic"),
    )
    return replace(plan, metrics=measure_bytes(graph, target, plan))


def _part(part: tuple[int, int] | None) -> ByteRange | None:
    return None if part is None else ByteRange(*part)


def offences(graph: Graph, target: Target, plan: Plan) -> list[tuple[ViolationKind, str]]:
    return [(v.kind, v.message) for v in check(graph, target, plan)]
