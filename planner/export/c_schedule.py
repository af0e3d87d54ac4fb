"""The instructions of a plan as numbered tables, the way a generated schedule holds them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from planner.export.c_text import ELEMENTS
from planner.graph import StorageKind
from planner.instructions import Begin, End, Give, Release, Run, Take, instructions
from planner.plans import TransferKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.export.model_calls import ModelCalls, OperatorCall
    from planner.graph import Graph
    from planner.instructions import Location
    from planner.plans import ByteRange, Plan


class Address(NamedTuple):
    """A byte of a memory."""

    memory: str
    offset: int


class Constant(NamedTuple):
    """The start of a constant, by its place among all constants."""

    number: int


class Value(NamedTuple):
    """The start of a constant that the source brings along, by its place among those."""

    number: int


Place = Address | Constant | Value | None
"""Where an operand begins; None where there is none or it has no bytes."""


class Call(NamedTuple):
    """One operator in place, with its operands where they are at that step."""

    step: int
    operator: int
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    workspace: Place


class Copy(NamedTuple):
    """Bytes that go from one address to another."""

    storage: int
    boundary: int
    kind: TransferKind
    source: Address
    destination: Address
    part: ByteRange


class Released(NamedTuple):
    """Bytes that nobody reads any more."""

    storage: int
    address: Address
    size_bytes: int


class ActionKind(StrEnum):
    """What is done next."""

    CALL = "call"
    BEGIN = "begin"
    END = "end"
    MOVE = "move"
    RELEASE = "release"


class Action(NamedTuple):
    """An entry of the schedule; the number is that of the call, copy or release."""

    kind: ActionKind
    number: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that a runtime does, and with which bytes.

    Attributes
    ----------
    calls, copies, releases
        In the order of the actions. Views are no calls.
    actions : tuple of Action
    inputs, outputs : tuple of (int, Place)
        Tensors that the caller gives and takes, and where.
    constants : tuple of int
        Tensors that the caller has in its own memory.
    values : tuple of int
        Tensors whose elements are written down in the source.
    memories : tuple of str
        Those with an arena, the nearest first and always among them.
    """

    calls: tuple[Call, ...]
    copies: tuple[Copy, ...]
    releases: tuple[Released, ...]
    actions: tuple[Action, ...]
    inputs: tuple[tuple[int, Place], ...]
    outputs: tuple[tuple[int, Place], ...]
    constants: tuple[int, ...]
    values: tuple[int, ...]
    memories: tuple[str, ...]


def schedule(model: ModelCalls, plan: Plan) -> Schedule:
    """Follow the instructions of a legal plan and note what is where."""
    return _Builder(model, plan).build()


class _Builder:
    """The tables that grow while the instructions go by."""

    def __init__(self, model: ModelCalls, plan: Plan) -> None:
        self.model, self.plan = model, plan
        self.graph: Graph = model.graph
        constants = [
            index
            for index, tensor in enumerate(self.graph.tensors)
            if self._kind(index) is StorageKind.CONSTANT and tensor.size_bytes
        ]
        self.values = tuple(
            index
            for index in constants
            if index in model.known and self.graph.tensors[index].dtype in ELEMENTS
        )
        brought = set(self.values)
        self.constants = tuple(index for index in constants if index not in brought)
        self.place_of: dict[int, Place] = {
            **{tensor: Constant(number) for number, tensor in enumerate(self.constants)},
            **{tensor: Value(number) for number, tensor in enumerate(self.values)},
        }
        self.calls: list[Call] = []
        self.copies: list[Copy] = []
        self.releases: list[Released] = []
        self.actions: list[Action] = []
        self.copy_of: dict[int, int] = {}
        self.taken: dict[int, Location] = {}

    def build(self) -> Schedule:
        given: dict[int, Location] = {}
        for instruction in instructions(self.graph, self.plan):
            match instruction:
                case Give(storage, location):
                    given.setdefault(storage, location)
                case Take(storage, location):
                    self.taken.setdefault(storage, location)
                case Run():
                    self._run(instruction)
                case Begin():
                    self._begin(instruction)
                case End(transfer):
                    if transfer in self.copy_of:
                        self._act(ActionKind.END, self.copy_of[transfer])
                case Release():
                    self._release(instruction)
        given_tensors = dict.fromkeys((*self.model.inputs, *self._parameters()))
        return Schedule(
            tuple(self.calls),
            tuple(self.copies),
            tuple(self.releases),
            tuple(self.actions),
            tuple((tensor, self._place(tensor, given)) for tensor in given_tensors),
            # An input that is an output without further ado lies where the caller put it.
            tuple(
                (tensor, self._place(tensor, given | self.taken)) for tensor in self.model.outputs
            ),
            self.constants,
            self.values,
            tuple(
                memory.name
                for index, memory in enumerate(self.plan.target.memories)
                if index == 0 or self.plan.metrics.arena_bytes.get(memory.name, 0)
            ),
        )

    def _parameters(self) -> list[int]:
        """Constants that the caller gives like inputs, and inputs that the model does not list."""
        return [
            index
            for index, producer in enumerate(self.graph.producer)
            if producer < 0 and self._kind(index) is StorageKind.INPUT
        ]

    def _kind(self, tensor: int) -> StorageKind:
        return self.graph.storages[self.graph.tensors[tensor].storage].kind

    def _place(self, tensor: int, locations: Mapping[int, Location]) -> Place:
        if tensor < 0 or not self.graph.tensors[tensor].size_bytes:
            return None
        if tensor in self.place_of:
            return self.place_of[tensor]
        of = self.graph.tensors[tensor]
        location = locations.get(of.storage)
        return None if location is None else _at(location, of.offset_bytes)

    def _act(self, kind: ActionKind, number: int) -> None:
        self.actions.append(Action(kind, number))

    def _run(self, run: Run) -> None:
        if self.graph.is_view(run.operator):
            return
        call: OperatorCall = self.model.operators[run.operator]
        self._act(ActionKind.CALL, len(self.calls))
        self.calls.append(
            Call(
                run.step,
                run.operator,
                tuple(self._place(tensor, run.locations) for tensor in call.inputs),
                tuple(self._place(tensor, run.locations) for tensor in call.outputs),
                self._place(call.workspace, run.locations),
            )
        )

    def _begin(self, begin: Begin) -> None:
        if not begin.part.size_bytes:
            return
        if begin.source is None or begin.destination is None:
            raise ValueError(f"transfer {begin.transfer} of an illegal plan leads nowhere")
        copy = Copy(
            begin.storage,
            begin.boundary,
            begin.kind,
            _at(begin.source, begin.part.begin),
            _at(begin.destination, begin.part.begin),
            begin.part,
        )
        is_move = begin.kind is TransferKind.MOVE
        self._act(ActionKind.MOVE if is_move else ActionKind.BEGIN, len(self.copies))
        if not is_move:
            self.copy_of[begin.transfer] = len(self.copies)
        self.copies.append(copy)

    def _release(self, release: Release) -> None:
        # Outputs are released when they are taken: after the run.
        if release.storage in self.taken or not release.part.size_bytes:
            return
        self._act(ActionKind.RELEASE, len(self.releases))
        address = _at(release.location, release.part.begin)
        self.releases.append(Released(release.storage, address, release.part.size_bytes))


def _at(location: Location, distance: int) -> Address:
    return Address(location.memory, location.offset + distance)
