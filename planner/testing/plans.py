"""Legal plans made by chance, to be judged, damaged and executed."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.graph import StorageKind
from planner.plans import (
    ByteRange,
    InPlace,
    Metrics,
    Placement,
    Plan,
    PlannedOperator,
    Provenance,
    Transfer,
    TransferKind,
    addresses_of,
    planned_storages,
)
from planner.simulator import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.target import Target


class _Stay(NamedTuple):
    """Bytes of ``memory`` held during steps [start, end)."""

    storage: int
    memory: str
    start: int
    end: int
    part: ByteRange | None = None


def naive_plan(
    graph: Graph, target: Target, seed: int, *, drop: float = 0.5, split: float = 0.0
) -> Plan:
    """Make a legal plan by chance and without any cleverness.

    The order is a random topological one. Between two uses a storage leaves the nearest memory
    with probability ``drop``, where the target has a memory to spill to, and comes back by a copy
    in the gap before its use or some steps ahead. With probability ``split`` a storage is cut into
    two parts that do so separately. Where the target can move storages inside the nearest memory,
    one moves between two steps now and then. Dying operands are overwritten where allowed, mostly.
    Offsets are first fit. No placement is longer than needed and no copy superfluous, so that any
    damage to the plan shows.

    Capacities are not looked at: give the target enough.
    """
    return _PlanBuilder(graph, target, random.Random(seed), drop, split).build()


class _PlanBuilder:
    def __init__(
        self, graph: Graph, target: Target, rng: random.Random, drop: float, split: float
    ) -> None:
        self.graph = graph
        self.target = target
        self.rng = rng
        self.near = target.nearest.name
        spill = target.spill_memory
        self.far = spill.name if spill is not None else ""
        self.drop = drop if self.far else 0.0
        self.split = split if self.far else 0.0
        self.moved_at: set[int] = set()
        self.order = self.random_order()
        self.steps = len(self.order)
        self.stays: list[_Stay] = []
        self.copies: list[Transfer] = []

    def random_order(self) -> list[int]:
        waiting = [set(self.graph.predecessors.row(i).tolist()) for i in range(self.count())]
        order: list[int] = []
        left = set(range(self.count()))
        while left:
            ready = sorted(i for i in left if waiting[i].isdisjoint(left))
            order.append(self.rng.choice(ready))
            left.remove(order[-1])
        return order

    def count(self) -> int:
        return len(self.graph.operators)

    def build(self) -> Plan:
        for storage, content in enumerate(self.graph.storages):
            users = self.graph.storage_users.row(storage).tolist()
            if not users or not content.size_bytes or content.kind is StorageKind.CONSTANT:
                continue
            uses = sorted(self.order.index(user) for user in users)
            stays_far = not self.target.operands_resident and self.rng.random() < 0.4
            if self.far and stays_far and self.target.io_memory == self.far:
                start = 0 if content.kind is StorageKind.INPUT else uses[0]
                end = self.steps if content.is_output else uses[-1] + 1
                self.stays.append(_Stay(storage, self.far, start, end))
            elif content.size_bytes > 1 and self.rng.random() < self.split:
                cut = self.rng.randrange(1, content.size_bytes)
                self.place_near(storage, uses, ByteRange(0, cut))
                self.place_near(storage, uses, ByteRange(cut, content.size_bytes))
            else:
                self.place_near(storage, uses)
        pairs = self.in_place_pairs()
        plan = Plan(
            model=self.graph.model,
            target=self.target,
            order=tuple(self.order),
            storages=planned_storages(self.graph),
            placements=tuple(sorted(self.offsets(pairs))),
            transfers=tuple(sorted(self.labelled(), key=lambda t: (t.start, t.end, t.storage))),
            in_place=tuple(pairs),
            metrics=Metrics({}, {}, 0, 0),
            provenance=Provenance("naive", "feasible", "traffic", seed=0),
            operators=tuple(PlannedOperator(o.name, o.type) for o in self.graph.operators),
        )
        return replace(plan, metrics=measure(self.graph, plan))

    def writes(self, storage: int, step: int) -> bool:
        """Whether the step puts bytes into the storage, as opposed to reading or viewing it."""
        operator = self.order[step]
        node = self.graph.operators[operator]
        if self.graph.is_view(operator):
            return False
        return any(self.graph.tensors[t].storage == storage for t in node.outputs)

    def place_near(self, storage: int, uses: list[int], part: ByteRange | None = None) -> None:
        """Cut the uses into episodes of residency and join them by copies."""
        content = self.graph.storages[storage]
        outside = self.far if self.target.io_memory == self.far else ""
        is_input = content.kind is StorageKind.INPUT
        points = list(uses)
        if is_input and not outside:
            points.insert(0, 0)
        if content.is_output and not outside:
            points.append(self.steps)
        episodes: list[list[int]] = [[points[0]]]
        for point in points[1:]:
            gap = point - episodes[-1][-1]
            if gap > 1 and self.rng.random() < self.drop:
                episodes.append([point])
            else:
                episodes[-1].append(point)
        far_current = is_input and bool(outside)
        far_start = 0 if far_current else None
        far_end = 0
        free_from = 0
        for number, episode in enumerate(episodes):
            start = episode[0]
            end = min(episode[-1] + 1, self.steps)
            fetched = number > 0 or far_current
            if fetched:
                arrival = start
                if self.rng.random() < 0.5:
                    start = self.rng.randint(max(free_from, arrival - 2), arrival)
                start = min(start, self.steps - 1)
                self.copies.append(
                    Transfer(
                        storage, self.far, self.near, start, arrival, TransferKind.RELOAD, part
                    )
                )
                far_end = max(far_end, min(arrival + 1, self.steps))
            if any(self.writes(storage, step) for step in episode if step < self.steps):
                far_current = False
            last = number == len(episodes) - 1
            leaves = not last or (content.is_output and bool(outside))
            if leaves and not far_current:
                begin = finish = end
                following = self.steps if last else min(episodes[number + 1][0], self.steps - 1)
                if self.rng.random() < 0.4 and following > end:
                    finish = self.rng.randint(end, min(end + 2, following))
                if far_start is None:
                    far_start = min(begin, self.steps - 1)
                self.copies.append(
                    Transfer(storage, self.near, self.far, begin, finish, TransferKind.SPILL, part)
                )
                far_current = True
                end = finish
                far_end = max(far_end, min(finish + 1, self.steps))
            free_from = end
            if self.target.relocates and part is None:
                start = self.move_within(storage, max(start, episode[0]), end, start)
            self.stays.append(_Stay(storage, self.near, start, end, part))
        if far_start is not None:
            until = self.steps if content.is_output and outside else far_end
            self.stays.append(_Stay(storage, self.far, far_start, until, part))

    def move_within(self, storage: int, settled: int, end: int, start: int) -> int:
        """Perhaps end the stay between two steps and go on elsewhere; the start of what is left.

        One move a boundary is always in order; a copy out needs one placement from its beginning.
        """
        copied_from = min(
            (t.start for t in self.copies if t.storage == storage and t.source == self.near),
            default=end,
        )
        last = min(end, self.steps, copied_from if copied_from > settled else end)
        free = [step for step in range(settled + 1, last) if step not in self.moved_at]
        if not free or self.rng.random() < 0.5:
            return start
        step = self.rng.choice(free)
        self.moved_at.add(step)
        self.stays.append(_Stay(storage, self.near, start, step))
        self.copies.append(Transfer(storage, self.near, self.near, step, step, TransferKind.MOVE))
        return step

    def labelled(self) -> list[Transfer]:
        copies = sorted(self.copies, key=lambda t: (t.end, t.start))
        if self.target.io_memory == self.near:
            return copies
        fetched: set[tuple[int, ByteRange | None]] = set()
        for index, copy in enumerate(copies):
            is_input = self.graph.storages[copy.storage].kind is StorageKind.INPUT
            bytes_ = (copy.storage, copy.part)
            if is_input and copy.source == self.far and bytes_ not in fetched:
                fetched.add(bytes_)
                copies[index] = copy._replace(kind=TransferKind.FETCH)
        stored: set[tuple[int, ByteRange | None]] = set()
        for index in reversed(range(len(copies))):
            copy = copies[index]
            is_output = self.graph.storages[copy.storage].is_output
            bytes_ = (copy.storage, copy.part)
            if is_output and copy.destination == self.far and bytes_ not in stored:
                stored.add(bytes_)
                copies[index] = copy._replace(kind=TransferKind.STORE)
        return copies

    def in_place_pairs(self) -> list[InPlace]:
        own = [s for s in self.stays if s.memory == self.near and s.part is None]
        born = {(s.storage, s.start): s for s in own}
        dying = {(s.storage, s.end): s for s in own}
        step_of = {operator: step for step, operator in enumerate(self.order)}
        pairs: list[InPlace] = []
        for step, operator in enumerate(self.order):
            for option in self.graph.operators[operator].in_place:
                output = self.graph.tensors[option.output].storage
                source = self.graph.tensors[option.input].storage
                users = self.graph.storage_users.row(source).tolist()
                dead = max(step_of[user] for user in users) == step
                fits = (output, step) in born and (source, step + 1) in dying
                if dead and fits and self.rng.random() < 0.8:
                    pairs.append(InPlace(operator, output, source))
                    break
        return pairs

    def offsets(self, pairs: Sequence[InPlace]) -> list[Placement]:
        """First fit; chains of overwrites as one, and so are all parts of a storage."""
        step_of = {operator: step for step, operator in enumerate(self.order)}
        over = {(p.output, step_of[p.operator]): (p.input, step_of[p.operator] + 1) for p in pairs}
        chains: dict[tuple[int, int], list[_Stay]] = {}
        in_parts: dict[tuple[int, str], list[_Stay]] = {}
        lists: list[list[_Stay]] = []
        for stay in sorted(self.stays, key=lambda s: (s.start, s.storage, s.memory)):
            under = over.get((stay.storage, stay.start)) if stay.memory == self.near else None
            if under is not None and stay.part is None:
                chain = chains[under]
            elif stay.part is not None and (stay.storage, stay.memory) in in_parts:
                chain = in_parts[stay.storage, stay.memory]
            else:
                chain = []
                lists.append(chain)
            chain.append(stay)
            if stay.part is not None:
                in_parts[stay.storage, stay.memory] = chain
            elif stay.memory == self.near:
                chains[stay.storage, stay.end] = chain
        placed: list[Placement] = []
        for chain in lists:
            offset = self.first_fit(chain, placed)
            placed += [
                Placement(s.storage, s.memory, offset, s.start, s.end, s.part) for s in chain
            ]
        return placed

    def first_fit(self, chain: Sequence[_Stay], placed: Sequence[Placement]) -> int:
        alignment = self.target.memory(chain[0].memory).alignment_bytes
        own = [Placement(s.storage, s.memory, 0, s.start, s.end, s.part) for s in chain]
        taken = [
            (self.addresses(p), self.addresses(q))
            for p in placed
            for q in own
            if p.memory == q.memory and p.start < q.end and q.start < p.end
        ]
        ends = {-(-(other.end - part.begin) // alignment) * alignment for other, part in taken}
        for offset in sorted({0} | {end for end in ends if end > 0}):
            if not any(
                other.intersects(ByteRange(offset + part.begin, offset + part.end))
                for other, part in taken
            ):
                return offset
        raise AssertionError("above everything else there is room")

    def addresses(self, placement: Placement) -> ByteRange:
        return addresses_of(placement, self.graph.storages[placement.storage].size_bytes)
