"""Is a plan legal? Written the plain way, and without any code of a solver.

The rules are those of `planner.plans`. Indices, intervals, byte ranges and in-place pairs are
judged here; `planner.dataflow` replays the plan and judges whether the data is where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.dataflow import data_violations
from planner.graph import StorageKind
from planner.metrics import measure_bytes
from planner.plans import PlannedOperator, TransferKind, planned_storages
from planner.violation import Violation, ViolationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from planner.graph import Graph
    from planner.plans import InPlace, Placement, Plan, Transfer
    from planner.target import Target

__all__ = ["Violation", "ViolationKind", "check", "overlapping_pairs"]

_MOST_OVERLAPS = 1_000
_LARGEST = 1 << 53
# Latencies are sums of floats; a bound may exceed the value it meets by their rounding.
_LATENCY_TOLERANCE = 1e-9


def check(graph: Graph, target: Target, plan: Plan) -> list[Violation]:
    """Find every offence of a plan against its graph and target.

    Parameters
    ----------
    graph : Graph
        The model, lowered as for the plan.
    target : Target
        The plan's own, or another that it is to be judged on.
    plan : Plan

    Returns
    -------
    list of Violation
        Empty for a legal plan. A plan of another graph, or with an impossible order, is not
        examined further; of byte overlaps the first 1,000 are listed.
    """
    violations = _model(graph, plan) or _order(graph, plan)
    if violations:
        return violations
    placements, violations = _placements(graph, target, plan)
    transfers, transfer_violations = _transfers(graph, target, plan)
    pairs, exempt, pair_violations = _in_place(graph, plan, placements)
    violations += transfer_violations + pair_violations
    violations += _constants(graph, target)
    violations += _duplicates(graph, placements)
    violations += _overlaps(graph, plan, placements, exempt)
    violations += data_violations(graph, target, plan.order, placements, transfers, pairs)
    examined = len(placements) == len(plan.placements) and len(transfers) == len(plan.transfers)
    if examined and len(pairs) == len(plan.in_place):
        violations += _metrics(graph, target, plan)
    return violations


def _model(graph: Graph, plan: Plan) -> list[Violation]:
    """Compare identities: by hash where both are known, else by name, and storage by storage."""
    of, here = plan.model, graph.model
    if of.sha256 and here.sha256:
        if of.sha256 != here.sha256:
            return [
                Violation(
                    ViolationKind.MODEL,
                    f"the plan is for {of.name} with SHA-256 {of.sha256[:12]}..., this model is "
                    f"{here.name} with {here.sha256[:12]}...",
                )
            ]
    elif of.name and here.name and of.name != here.name:
        text = f"the plan is for {of.name!r}, this model is {here.name!r}"
        return [Violation(ViolationKind.MODEL, text)]
    expected = planned_storages(graph)
    if len(plan.storages) != len(expected):
        return [
            Violation(
                ViolationKind.MODEL,
                f"the plan has {len(plan.storages):,} storages, the model {len(expected):,}",
            )
        ]
    violations = []
    for index, (planned, real) in enumerate(zip(plan.storages, expected, strict=True)):
        for field in ("name", "size_bytes", "kind", "is_output", "tensors"):
            claimed, true = getattr(planned, field), getattr(real, field)
            if claimed != true:
                shown = "" if field == "tensors" else f": {_shown(claimed)}, not {_shown(true)}"
                violations.append(
                    Violation(
                        ViolationKind.MODEL,
                        f"storage {index} ({real.name}) differs from the model in {field}{shown}",
                        storages=(index,),
                    )
                )
    operators = tuple(PlannedOperator(node.name, node.type) for node in graph.operators)
    if plan.operators and plan.operators != operators:
        violations.append(
            Violation(ViolationKind.MODEL, "the plan names other operators than the model has")
        )
    return violations


def _shown(value: object) -> str:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else str(value)


def _order(graph: Graph, plan: Plan) -> list[Violation]:
    count = len(graph.operators)
    step_of: dict[int, int] = {}
    violations = []
    for step, operator in enumerate(plan.order):
        if not 0 <= operator < count:
            text = f"step {step} runs operator {operator:,}; the model has {count:,}"
            violations.append(Violation(ViolationKind.ORDER, text, step))
        elif operator in step_of:
            text = (
                f"operator {operator} ({graph.operators[operator].name}) runs at step "
                f"{step_of[operator]} and again at step {step}"
            )
            violations.append(Violation(ViolationKind.ORDER, text, step))
        else:
            step_of[operator] = step
    for operator, node in enumerate(graph.operators):
        if operator not in step_of:
            text = f"operator {operator} ({node.name or node.type}) never runs"
            violations.append(Violation(ViolationKind.ORDER, text))
    if violations:
        return violations
    for step, operator in enumerate(plan.order):
        for index in graph.operators[operator].inputs:
            maker = graph.producer[index]
            if maker >= 0 and step_of[maker] > step:
                tensor = graph.tensors[index]
                violations.append(
                    Violation(
                        ViolationKind.ORDER,
                        f"step {step} ({_operator_name(graph, operator)}) reads {tensor.name}, "
                        f"which {_operator_name(graph, maker)} makes at step {step_of[maker]} only",
                        step,
                        (tensor.storage,),
                    )
                )
    return violations


def _operator_name(graph: Graph, operator: int) -> str:
    node = graph.operators[operator]
    return node.name or f"operator {operator}, {node.type}"


def _room(graph: Graph, target: Target) -> dict[str, int | None]:
    """Bytes of each memory that placements may use; None without limit."""
    room = {memory.name: memory.capacity_bytes for memory in target.memories}
    capacity = room[target.constant_memory]
    if capacity is not None:
        room[target.constant_memory] = max(0, capacity - graph.constant_bytes)
    return room


def _constants(graph: Graph, target: Target) -> list[Violation]:
    capacity = target.memory(target.constant_memory).capacity_bytes
    if capacity is None or graph.constant_bytes <= capacity:
        return []
    text = (
        f"the constants need {graph.constant_bytes:,} bytes of {target.constant_memory}, which "
        f"has {capacity:,}"
    )
    return [Violation(ViolationKind.CAPACITY, text)]


def _placements(
    graph: Graph, target: Target, plan: Plan
) -> tuple[list[Placement], list[Violation]]:
    """Judge each placement by itself. Return those that can be examined further."""
    steps, room = len(plan.order), _room(graph, target)
    memories = {memory.name: memory for memory in target.memories}
    good: list[Placement] = []
    violations: list[Violation] = []
    for placement in plan.placements:
        index, where, offset, start, end = placement
        if not 0 <= index < len(graph.storages):
            text = f"a placement names storage {index:,}; there are {len(graph.storages):,}"
            violations.append(Violation(ViolationKind.UNKNOWN, text, start))
            continue
        storage = graph.storages[index]
        found: list[tuple[ViolationKind, str]] = []
        if storage.kind is StorageKind.CONSTANT:
            found.append((ViolationKind.CONSTANT, "is a constant and has no placement"))
        if where not in memories:
            found.append((ViolationKind.UNKNOWN, f"is placed in {where!r}, which does not exist"))
        elif not memories[where].writable:
            found.append((ViolationKind.READ_ONLY, f"is placed in {where}, which is not writable"))
        if not 0 <= start < end <= steps:
            found.append(
                (
                    ViolationKind.LIFETIME,
                    f"is placed in steps [{start:,}, {end:,}); the plan has steps [0, {steps:,})",
                )
            )
        usable = not found and 0 <= offset <= _LARGEST
        if where in memories:
            found += _byte_range(
                offset, storage.size_bytes, memories[where].alignment_bytes, where, room[where]
            )
        violations += [
            Violation(kind, f"{storage.name} {text}", start, (index,)) for kind, text in found
        ]
        if usable:
            good.append(placement)
    return good, violations


def _byte_range(
    offset: int, size: int, alignment: int, where: str, room: int | None
) -> list[tuple[ViolationKind, str]]:
    found = []
    if offset % alignment:
        text = f"lies at byte {offset:,} of {where}, not a multiple of {alignment:,}"
        found.append((ViolationKind.ALIGNMENT, text))
    limit = _LARGEST if room is None else room
    if offset < 0 or offset + size > limit:
        text = f"lies at bytes [{offset:,}, {offset + size:,}) of {where}, which has {limit:,}"
        found.append((ViolationKind.CAPACITY, text))
    return found


def _duplicates(graph: Graph, placements: Sequence[Placement]) -> list[Violation]:
    violations = []
    latest: dict[tuple[int, str], Placement] = {}
    for placement in sorted(placements, key=lambda p: (p.start, p.end)):
        key = (placement.storage, placement.memory)
        before = latest.get(key)
        if before is not None and placement.start < before.end:
            violations.append(
                Violation(
                    ViolationKind.DUPLICATE,
                    f"{graph.storages[placement.storage].name} is placed twice in "
                    f"{placement.memory}: in steps [{before.start}, {before.end}) and "
                    f"[{placement.start}, {placement.end})",
                    placement.start,
                    (placement.storage,),
                )
            )
        if before is None or placement.end > before.end:
            latest[key] = placement
    return violations


def _overlaps(
    graph: Graph,
    plan: Plan,
    placements: Sequence[Placement],
    exempt: set[tuple[Placement, Placement]],
) -> list[Violation]:
    violations = []
    sizes = [storage.size_bytes for storage in graph.storages]
    for first, second in overlapping_pairs(placements, sizes):
        a, b = placements[first], placements[second]
        if a.storage == b.storage or (a, b) in exempt or (b, a) in exempt:
            continue
        step = max(a.start, b.start)
        ranges = " and ".join(
            f"{graph.storages[p.storage].name} [{p.offset:,}, {p.offset + sizes[p.storage]:,})"
            for p in (a, b)
        )
        where = f"step {step} ({_operator_name(graph, plan.order[step])})"
        text = f"{where}: {ranges} overlap in {a.memory}"
        violations.append(Violation(ViolationKind.OVERLAP, text, step, (a.storage, b.storage)))
        if len(violations) == _MOST_OVERLAPS:
            break
    return violations


def overlapping_pairs(
    placements: Sequence[Placement], sizes: Sequence[int]
) -> Iterable[tuple[int, int]]:
    """Yield the pairs of placements that share a byte of a memory during some step.

    Sorted by start, the placements that begin before a given one ends follow it in one run; only
    their byte ranges remain to be compared.

    Parameters
    ----------
    placements : sequence of Placement
        With non-empty lifetimes and offsets in [0, 2^53].
    sizes : sequence of int
        Bytes per storage; empty ones overlap nothing.

    Yields
    ------
    (int, int)
        Positions in ``placements``.
    """
    groups: dict[str, list[int]] = {}
    for position, placement in enumerate(placements):
        if sizes[placement.storage]:
            groups.setdefault(placement.memory, []).append(position)
    for group in groups.values():
        group.sort(key=lambda i: placements[i].start)
        start = np.array([placements[i].start for i in group], dtype=np.int64)
        end = np.array([placements[i].end for i in group], dtype=np.int64)
        lower = np.array([placements[i].offset for i in group], dtype=np.int64)
        upper = lower + np.array([sizes[placements[i].storage] for i in group], dtype=np.int64)
        run_end = np.searchsorted(start, end)
        for at, last in enumerate(run_end.tolist()):
            run = slice(at + 1, last)
            for hit in np.flatnonzero((lower[run] < upper[at]) & (lower[at] < upper[run])).tolist():
                yield group[at], group[at + 1 + hit]


def _in_place(
    graph: Graph, plan: Plan, placements: Sequence[Placement]
) -> tuple[list[InPlace], set[tuple[Placement, Placement]], list[Violation]]:
    """Judge the in-place pairs.

    Returns
    -------
    list of InPlace
        The legal ones.
    set of (Placement, Placement)
        Placements of their outputs and inputs, which may share bytes.
    list of Violation
    """
    step_of = {operator: step for step, operator in enumerate(plan.order)}
    starting: dict[tuple[int, int], list[Placement]] = {}
    ending: dict[tuple[int, str, int], Placement] = {}
    for placement in placements:
        starting.setdefault((placement.storage, placement.start), []).append(placement)
        ending[placement.storage, placement.memory, placement.end] = placement
    legal: list[InPlace] = []
    exempt: set[tuple[Placement, Placement]] = set()
    violations: list[Violation] = []
    used: set[int] = set()
    for pair in plan.in_place:
        if not _known_pair(graph, pair):
            text = f"in-place pair {tuple(pair)} names an operator or storage that does not exist"
            violations.append(Violation(ViolationKind.UNKNOWN, text))
            continue
        step = step_of[pair.operator]
        over, under = graph.storages[pair.output], graph.storages[pair.input]
        shared = [
            (placement, ending[pair.input, placement.memory, step + 1])
            for placement in starting.get((pair.output, step), ())
            if (pair.input, placement.memory, step + 1) in ending
        ]
        aligned = [(a, b) for a, b in shared if a.offset == b.offset]
        reason = _in_place_fault(graph, pair, step_of)
        if pair.operator in used:
            reason = "the operator has another in-place pair already"
        elif not reason and over.size_bytes and not aligned:
            reason = (
                f"they are at different offsets of {shared[0][0].memory}"
                if shared
                else "their placements do not share exactly that step"
            )
        used.add(pair.operator)
        if reason:
            text = (
                f"step {step} ({_operator_name(graph, pair.operator)}): {over.name} cannot be "
                f"written over {under.name}: {reason}"
            )
            storages = (pair.output, pair.input)
            violations.append(Violation(ViolationKind.IN_PLACE, text, step, storages))
        else:
            legal.append(pair)
            exempt.update(aligned)
    return legal, exempt, violations


def _known_pair(graph: Graph, pair: InPlace) -> bool:
    storages = len(graph.storages)
    return (
        0 <= pair.operator < len(graph.operators)
        and 0 <= pair.output < storages
        and 0 <= pair.input < storages
    )


def _in_place_fault(graph: Graph, pair: InPlace, step_of: Mapping[int, int]) -> str:
    """Return why the graph and the order forbid an in-place pair; empty if they allow it."""
    node = graph.operators[pair.operator]
    over, under = graph.storages[pair.output], graph.storages[pair.input]
    allowed = {
        (graph.tensors[option.output].storage, graph.tensors[option.input].storage)
        for option in node.in_place
    }
    if (pair.output, pair.input) not in allowed:
        return f"{node.type} does not allow it"
    if under.kind is not StorageKind.ACTIVATION or under.is_output:
        return "it is a graph input, a graph output or a constant"
    if over.size_bytes != under.size_bytes:
        return f"they have {over.size_bytes:,} and {under.size_bytes:,} bytes"
    last = max(step_of[user] for user in graph.storage_users.row(pair.input).tolist())
    if last > step_of[pair.operator]:
        return f"it is still needed at step {last}"
    return ""


def _transfers(graph: Graph, target: Target, plan: Plan) -> tuple[list[Transfer], list[Violation]]:
    """Judge each transfer by itself. Return those that can be replayed."""
    steps = len(plan.order)
    memories = {memory.name: memory for memory in target.memories}
    good: list[Transfer] = []
    violations: list[Violation] = []
    for transfer in plan.transfers:
        index, source, destination, start, end, _ = transfer
        if not 0 <= index < len(graph.storages):
            text = f"a transfer names storage {index:,}; there are {len(graph.storages):,}"
            violations.append(Violation(ViolationKind.UNKNOWN, text, start))
            continue
        storage = graph.storages[index]
        found: list[tuple[ViolationKind, str]] = []
        unknown = [name for name in (source, destination) if name not in memories]
        if unknown:
            found.append((ViolationKind.UNKNOWN, f"memory {unknown[0]!r} does not exist"))
        else:
            if target.link(source, destination) is None:
                text = f"{target.name} has no link from {source} to {destination}"
                found.append((ViolationKind.TRANSFER, text))
            if not memories[destination].writable:
                found.append((ViolationKind.READ_ONLY, f"{destination} is not writable"))
        if storage.kind is StorageKind.CONSTANT:
            found.append((ViolationKind.CONSTANT, "constants never move"))
        if not 0 <= start <= end <= steps:
            text = f"boundaries {start:,} to {end:,}; the plan has boundaries 0 to {steps:,}"
            found.append((ViolationKind.TRANSFER, text))
        what = f"{transfer.kind} of {storage.name} from {source} to {destination}"
        violations += [Violation(kind, f"{what}: {text}", start, (index,)) for kind, text in found]
        if not found:
            good.append(transfer)
    return good, violations + _transfer_kinds(graph, target, good)


def _transfer_kinds(graph: Graph, target: Target, transfers: Sequence[Transfer]) -> list[Violation]:
    """Require the label that the copy deserves.

    The first copy of a graph input out of the caller's memory is a fetch, the last copy of a graph
    output into it a store, where that memory is not the nearest. All others are spills (to a
    farther memory) and reloads.
    """
    rank = {memory.name: index for index, memory in enumerate(target.memories)}
    outside = target.io_memory
    compulsory: dict[int, TransferKind] = {}
    if rank[outside] > 0:
        fetched: set[int] = set()
        stores: dict[int, int] = {}
        for position in sorted(
            range(len(transfers)), key=lambda i: (transfers[i].end, transfers[i].start, i)
        ):
            transfer = transfers[position]
            storage = graph.storages[transfer.storage]
            is_input = storage.kind is StorageKind.INPUT
            if is_input and transfer.source == outside and transfer.storage not in fetched:
                fetched.add(transfer.storage)
                compulsory[position] = TransferKind.FETCH
            if storage.is_output and transfer.destination == outside:
                stores[transfer.storage] = position
        compulsory.update(dict.fromkeys(stores.values(), TransferKind.STORE))
    violations = []
    for position, transfer in enumerate(transfers):
        farther = rank[transfer.destination] > rank[transfer.source]
        other = TransferKind.SPILL if farther else TransferKind.RELOAD
        expected = compulsory.get(position, other)
        if transfer.kind != expected:
            text = (
                f"the copy of {graph.storages[transfer.storage].name} from {transfer.source} to "
                f"{transfer.destination} at boundary {transfer.start} is a {expected}, not a "
                f"{transfer.kind}"
            )
            violations.append(
                Violation(ViolationKind.TRANSFER_KIND, text, transfer.start, (transfer.storage,))
            )
    return violations


def _metrics(graph: Graph, target: Target, plan: Plan) -> list[Violation]:
    claimed, true = plan.metrics, measure_bytes(graph, target, plan)
    violations = []
    for field in ("peak_bytes", "arena_bytes"):
        said, real = getattr(claimed, field), getattr(true, field)
        for memory in sorted({*said, *real}):
            if said.get(memory, 0) != real.get(memory, 0):
                text = (
                    f"{field} of {memory}: the plan claims {said.get(memory, 0):,}, it is "
                    f"{real.get(memory, 0):,}"
                )
                violations.append(Violation(ViolationKind.METRICS, text))
    for field in ("traffic_bytes", "compulsory_bytes"):
        said, real = getattr(claimed, field), getattr(true, field)
        if said != real:
            text = f"{field}: the plan claims {said:,}, it is {real:,}"
            violations.append(Violation(ViolationKind.METRICS, text))
    peak = true.peak_bytes[target.nearest.name]
    for field, value in (("peak", peak), ("traffic", true.traffic_bytes)):
        bound = getattr(claimed, f"{field}_lower_bound_bytes")
        if bound is not None and bound > value:
            text = f"{field}_lower_bound_bytes {bound:,} is more than the {field} of {value:,}"
            violations.append(Violation(ViolationKind.BOUND, text))
    bound, latency = claimed.latency_lower_bound_s, claimed.latency_s
    if bound is not None and latency is not None and bound > latency * (1 + _LATENCY_TOLERANCE):
        text = f"latency_lower_bound_s {bound:.9g} is more than the latency of {latency:.9g} s"
        violations.append(Violation(ViolationKind.BOUND, text))
    return violations
