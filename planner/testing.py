"""For tests of this project and of code that builds on it: random graphs and naive, legal plans."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from planner.checker import check
from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.metrics import measure_bytes
from planner.plans import (
    InPlace,
    Metrics,
    Placement,
    Plan,
    PlannedOperator,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.simulator import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.target import Target


def assert_legal(graph: Graph, target: Target, plan: Plan) -> None:
    """Fail with every offence of the plan.

    Raises
    ------
    AssertionError
        If `planner.check` finds a violation.
    """
    violations = check(graph, target, plan)
    if violations:
        raise AssertionError("\n".join(f"{v.kind}: {v.message}" for v in violations))


def random_graph(seed: int, operators: int = 8) -> Graph:
    """Make a small graph with everything that a plan has to cope with.

    Operators with one to three operands, results that fan out, in-place options, views, weights,
    workspaces, results in two parts of one storage (a concatenation without a copy), layers that
    write one part and read the other, empty tensors, inputs and results nobody reads, and views
    of inputs as outputs. The same seed gives the same graph.
    """
    return _GraphBuilder(random.Random(seed), operators).build()


class _GraphBuilder:
    def __init__(self, rng: random.Random, operators: int) -> None:
        self.rng = rng
        self.count = operators
        self.storages: list[Storage] = []
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.available: list[int] = []

    def build(self) -> Graph:
        rng = self.rng
        for _ in range(rng.randint(1, 2)):
            self.available.append(self.tensor(self.size(), StorageKind.INPUT))
        while len(self.operators) < self.count:
            kind = rng.random()
            if kind < 0.15:
                self.add_view()
            elif kind < 0.3:
                self.add_concatenation()
            else:
                self.add_layer()
        return Graph(
            ModelReference("random", "f" * 64),
            tuple(self.operators),
            tuple(self.tensors),
            tuple(self.with_outputs()),
        )

    def size(self) -> int:
        return 0 if self.rng.random() < 0.04 else self.rng.choice((48, 64, 100, 160, 256, 301))

    def storage(self, size: int, kind: StorageKind = StorageKind.ACTIVATION) -> int:
        self.storages.append(Storage(f"s{len(self.storages)}", size, kind))
        return len(self.storages) - 1

    def tensor(self, size: int, kind: StorageKind = StorageKind.ACTIVATION) -> int:
        return self.part(self.storage(size, kind), 0, size)

    def part(self, storage: int, offset: int, size: int) -> int:
        name = f"t{len(self.tensors)}"
        self.tensors.append(Tensor(name, (size,), "int8", storage, offset, size))
        return len(self.tensors) - 1

    def add(self, type: str, inputs: Sequence[int], outputs: Sequence[int], **more: object) -> None:
        name = f"op{len(self.operators)}"
        operator = Operator(name, type, tuple(dict.fromkeys(inputs)), tuple(outputs), **more)  # type: ignore[arg-type]
        self.operators.append(operator)

    def operands(self, most: int) -> list[int]:
        recent = [*self.available[-5:], self.rng.choice(self.available)]
        return self.rng.sample(recent, min(len(recent), self.rng.randint(1, most)))

    def add_layer(self) -> None:
        rng = self.rng
        inputs = list(dict.fromkeys(self.operands(3)))
        first = self.tensors[inputs[0]]
        size = first.size_bytes if rng.random() < 0.6 else self.size()
        outputs = [self.tensor(size)]
        options = [
            InPlaceOption(outputs[0], operand)
            for operand in inputs
            if self.may_overwrite(operand, size)
        ]
        if rng.random() < 0.2:
            outputs.append(self.tensor(self.size()))
        self.available += outputs
        if rng.random() < 0.2:
            outputs.append(self.tensor(64, StorageKind.WORKSPACE))
        if rng.random() < 0.5:
            inputs.append(self.tensor(rng.choice((32, 96)), StorageKind.CONSTANT))
        work = {"macs": rng.randrange(5000), "vector_ops": rng.randrange(500)}
        self.add("Layer", inputs, outputs, in_place=tuple(options), **work)

    def may_overwrite(self, operand: int, size: int) -> bool:
        tensor = self.tensors[operand]
        storage = self.storages[tensor.storage]
        whole = tensor.size_bytes == storage.size_bytes == size
        return whole and storage.kind is StorageKind.ACTIVATION

    def add_view(self) -> None:
        source = self.rng.choice(self.available)
        tensor = self.tensors[source]
        self.available.append(self.part(tensor.storage, tensor.offset_bytes, tensor.size_bytes))
        self.add("Reshape", [source], [self.available[-1]])

    def add_concatenation(self) -> None:
        """Two layers write the parts of one storage; the second may read the first part."""
        sizes = self.rng.choice((32, 64)), self.rng.choice((48, 80))
        storage = self.storage(sum(sizes))
        first = self.part(storage, 0, sizes[0])
        self.add("Layer", self.operands(2), [first], vector_ops=50)
        second = self.part(storage, sizes[0], sizes[1])
        dense = [first] if self.rng.random() < 0.4 else []
        self.add("Layer", [*self.operands(2), *dense], [second], macs=700)
        whole = self.part(storage, 0, sum(sizes))
        self.add("Concat", [first, second], [whole])
        self.available.append(whole)

    def with_outputs(self) -> list[Storage]:
        read = {self.tensors[t].storage for node in self.operators for t in node.inputs}
        overwritten = {
            self.tensors[option.input].storage
            for node in self.operators
            for option in node.in_place
        }
        last = self.tensors[self.operators[-1].outputs[0]].storage
        storages = []
        for index, storage in enumerate(self.storages):
            unread = storage.kind is StorageKind.ACTIVATION and index not in read
            chosen = storage.kind is not StorageKind.WORKSPACE and self.rng.random() < 0.08
            is_output = index == last or unread or (chosen and index not in overwritten)
            storages.append(
                storage
                if storage.kind is StorageKind.CONSTANT or index in overwritten
                else Storage(storage.name, storage.size_bytes, storage.kind, is_output)
            )
        return storages


class _Stay(NamedTuple):
    """Bytes of ``memory`` held during steps [start, end)."""

    storage: int
    memory: str
    start: int
    end: int


def naive_plan(graph: Graph, target: Target, seed: int, *, drop: float = 0.5) -> Plan:
    """Make a legal plan by chance and without any cleverness.

    The order is a random topological one. Between two uses a storage leaves the nearest memory
    with probability ``drop``, where the target has a memory to spill to, and comes back by a copy
    in the gap before its use or some steps ahead. Dying operands are overwritten where allowed,
    mostly. Offsets are first fit. No placement is longer than needed and no copy superfluous, so
    that any damage to the plan shows.

    Capacities are not looked at: give the target enough.
    """
    return _PlanBuilder(graph, target, random.Random(seed), drop).build()


class _PlanBuilder:
    def __init__(self, graph: Graph, target: Target, rng: random.Random, drop: float) -> None:
        self.graph = graph
        self.target = target
        self.rng = rng
        self.near = target.nearest.name
        spill = target.spill_memory
        self.far = spill.name if spill is not None else ""
        self.drop = drop if self.far else 0.0
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
        object.__setattr__(plan, "metrics", self.metrics(plan))
        return plan

    def metrics(self, plan: Plan) -> Metrics:
        if self.target.compute is None:
            return measure_bytes(self.graph, self.target, plan)
        return measure(self.graph, plan)

    def writes(self, storage: int, step: int) -> bool:
        """Whether the step puts bytes into the storage, as opposed to reading or viewing it."""
        operator = self.order[step]
        node = self.graph.operators[operator]
        if self.graph.is_view(operator):
            return False
        return any(self.graph.tensors[t].storage == storage for t in node.outputs)

    def place_near(self, storage: int, uses: list[int]) -> None:
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
                    Transfer(storage, self.far, self.near, start, arrival, TransferKind.RELOAD)
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
                    Transfer(storage, self.near, self.far, begin, finish, TransferKind.SPILL)
                )
                far_current = True
                end = finish
                far_end = max(far_end, min(finish + 1, self.steps))
            free_from = end
            self.stays.append(_Stay(storage, self.near, start, end))
        if far_start is not None:
            until = self.steps if content.is_output and outside else far_end
            self.stays.append(_Stay(storage, self.far, far_start, until))

    def labelled(self) -> list[Transfer]:
        copies = sorted(self.copies, key=lambda t: (t.end, t.start))
        if self.target.io_memory == self.near:
            return copies
        fetched: set[int] = set()
        for index, copy in enumerate(copies):
            is_input = self.graph.storages[copy.storage].kind is StorageKind.INPUT
            if is_input and copy.source == self.far and copy.storage not in fetched:
                fetched.add(copy.storage)
                copies[index] = copy._replace(kind=TransferKind.FETCH)
        stored: set[int] = set()
        for index in reversed(range(len(copies))):
            copy = copies[index]
            is_output = self.graph.storages[copy.storage].is_output
            if is_output and copy.destination == self.far and copy.storage not in stored:
                stored.add(copy.storage)
                copies[index] = copy._replace(kind=TransferKind.STORE)
        return copies

    def in_place_pairs(self) -> list[InPlace]:
        born = {(s.storage, s.start): s for s in self.stays if s.memory == self.near}
        dying = {(s.storage, s.end): s for s in self.stays if s.memory == self.near}
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
        """First fit, chains of overwrites as one."""
        step_of = {operator: step for step, operator in enumerate(self.order)}
        over = {(p.output, step_of[p.operator]): (p.input, step_of[p.operator] + 1) for p in pairs}
        chains: dict[tuple[int, int], list[_Stay]] = {}
        lists: list[list[_Stay]] = []
        for stay in sorted(self.stays, key=lambda s: (s.start, s.storage, s.memory)):
            under = over.get((stay.storage, stay.start)) if stay.memory == self.near else None
            if under is None:
                lists.append([])
                chain = lists[-1]
            else:
                chain = chains[under]
            chain.append(stay)
            if stay.memory == self.near:
                chains[stay.storage, stay.end] = chain
        placed: list[Placement] = []
        for chain in lists:
            offset = self.first_fit(chain, placed)
            placed += [Placement(s.storage, s.memory, offset, s.start, s.end) for s in chain]
        return placed

    def first_fit(self, chain: Sequence[_Stay], placed: Sequence[Placement]) -> int:
        sizes = self.graph.storages
        memory = self.target.memory(chain[0].memory)
        size = sizes[chain[0].storage].size_bytes
        start, end = min(s.start for s in chain), max(s.end for s in chain)
        taken = sorted(
            (p.offset, p.offset + sizes[p.storage].size_bytes)
            for p in placed
            if p.memory == memory.name and p.start < end and start < p.end
        )
        offset = 0
        for lower, upper in taken:
            if offset + size <= lower:
                break
            if upper > offset:
                offset = -(-upper // memory.alignment_bytes) * memory.alignment_bytes
        return offset
