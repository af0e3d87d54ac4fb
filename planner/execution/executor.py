"""Follows a plan on real bytes: one arena per memory, every operator at its planned addresses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.execution.arena import RELEASED, first_difference
from planner.execution.memory import PlannedMemory, WrongError, addresses_text
from planner.execution.reference import ReadBeforeWriteError
from planner.execution.result import Execution, Mismatch, Verdict
from planner.execution.sessions import RuntimeRefusalError, first_line, ort_value
from planner.graph import StorageKind
from planner.instructions import Begin, End, Give, Release, Run, Take, instructions
from planner.plans import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from planner.execution.model import RunnableModel
    from planner.execution.reference import Reference
    from planner.instructions import Location
    from planner.plans import Plan


# Kernels may need the alignment of their elements, and some sum up to the first address at which
# whole vectors begin by itself: other bits come out of the same numbers elsewhere.
_KERNEL_ALIGNMENT = 16


def execute_plan(
    model: RunnableModel,
    reference: Reference,
    plan: Plan,
    on_step: Callable[[int, int], None] | None = None,
) -> Execution:
    """Run a model inside its planned memory and compare every tensor at every use.

    Operands are compared right before their operator reads them, results right after it wrote
    them, graph outputs at the end. Released bytes are poisoned. A copy under way makes its
    destination unreadable, and its source must not change.

    Parameters
    ----------
    plan : Plan
        For the model's graph. It need not be legal.
    on_step : callable taking (int, int)
        Told the step about to run, and their number.

    Raises
    ------
    RuntimeRefusalError
        If ONNX Runtime does not take an operator.
    MemoryError
        If there is no memory for the arenas.
    """
    return _Executor(model, reference, plan, on_step or (lambda step, steps: None)).run()


class _Executor:
    """The state of one execution."""

    def __init__(
        self,
        model: RunnableModel,
        reference: Reference,
        plan: Plan,
        on_step: Callable[[int, int], None],
    ) -> None:
        self.model, self.reference, self.plan = model, reference, plan
        self.graph = model.graph
        self.on_step = on_step
        self.memory = PlannedMemory(model.graph, plan)
        self.staged: dict[int, tuple[Begin, NDArray[np.uint8] | None]] = {}
        self.taken: dict[int, int] = {}
        self.in_place = {pair.operator for pair in plan.in_place}
        self.steps = self.views = self.compared = self.skipped = 0
        self.copies = self.copied_bytes = self.overwritten = 0
        self.reference_s = 0.0

    def run(self) -> Execution:
        started = time.process_time()
        mismatch: Mismatch | None = None
        try:
            self._timed(self.reference.begin, self.plan.order)
            for instruction in instructions(self.graph, self.plan):
                self._follow(instruction)
            self._require_outputs()
            self.memory.require_guards()
        except WrongError as wrong:
            mismatch = wrong.mismatch
        except ReadBeforeWriteError as early:
            mismatch = self._read_before_write(early)
        arena_s = time.process_time() - started - self.reference_s
        return Execution(
            verdict=Verdict.EXACT if mismatch is None else Verdict.MISMATCH,
            mismatch=mismatch,
            steps=self.steps,
            views=self.views,
            compared=self.compared,
            skipped=self.skipped,
            copies=self.copies,
            copied_bytes=self.copied_bytes,
            overwritten=self.overwritten,
            arena_bytes=self.memory.planned_bytes(),
            measured_bytes=self.memory.written_bytes(),
            reference_s=self.reference_s,
            arena_s=arena_s,
        )

    def _timed(self, call: Callable[[Any], None], argument: Any) -> None:
        started = time.process_time()
        call(argument)
        self.reference_s += time.process_time() - started

    def _follow(self, instruction: Give | Begin | End | Run | Release | Take) -> None:
        match instruction:
            case Run():
                self._run(instruction)
            case Release(_, storage, location, part):
                self.memory.release(storage, location, part)
            case Begin():
                self._begin(instruction)
            case End(transfer, boundary):
                self._end(transfer, boundary)
            case Give(storage, location, part):
                self._give(storage, location, part)
            case Take(storage, location, part):
                self._take(storage, location, part)

    def _give(self, storage: int, location: Location, part: ByteRange) -> None:
        for tensor in self._tensors_of(storage):
            if self.graph.producer[tensor] >= 0 or not self.reference.holds(tensor):
                continue
            content = self.reference.content(tensor)
            begin = self.graph.tensors[tensor].offset_bytes
            inside = ByteRange(max(begin, part.begin), min(begin + len(content), part.end))
            if inside.begin < inside.end:
                place = self.memory.place(storage, location, inside, 0)
                place[:] = content[inside.begin - begin : inside.end - begin]
                name = self.graph.tensors[tensor].name
                self.memory.wrote(storage, location, inside, f"graph input {name}")

    def _take(self, storage: int, location: Location, part: ByteRange) -> None:
        steps = len(self.plan.order)
        self.taken[storage] = self.taken.get(storage, 0) + part.size_bytes
        for tensor in self._tensors_of(storage):
            described = self.graph.tensors[tensor]
            begin = described.offset_bytes
            inside = ByteRange(max(begin, part.begin), min(begin + described.size_bytes, part.end))
            if inside.begin < inside.end:
                self._compare(tensor, location, steps, "the caller takes it", inside)

    def _require_outputs(self) -> None:
        for index, storage in enumerate(self.graph.storages):
            if (
                storage.is_output
                and storage.kind is not StorageKind.CONSTANT
                and len(self.graph.storage_users.row(index))
                and self.taken.get(index, 0) < storage.size_bytes
            ):
                memory = self.plan.target.io_memory
                text = f"graph output {storage.name} is not in {memory} after the last step"
                raise WrongError(Mismatch(text, len(self.plan.order), storage.name, memory))

    def _begin(self, copy: Begin) -> None:
        name = self.graph.storages[copy.storage].name
        for location, side in ((copy.source, "source"), (copy.destination, "destination")):
            if location is None:
                text = f"the {copy.kind} of {name} at boundary {copy.boundary} has no {side}"
                raise WrongError(Mismatch(text, copy.boundary, name))
        source, destination = copy.source, copy.destination
        if source is None or destination is None:
            raise RuntimeError("a copy without ends")
        content = self.memory.place(copy.storage, source, copy.part, copy.boundary).copy()
        transfer = self.plan.transfers[copy.transfer]
        target = self.memory.place(copy.storage, destination, copy.part, copy.boundary)
        if transfer.end > transfer.start:
            target[:] = RELEASED
            writer = f"{_copy_name(copy, name)}, not yet complete"
            self.memory.wrote(copy.storage, destination, copy.part, writer)
        else:
            self._arrive(copy, content)
        self.staged[copy.transfer] = copy, content if transfer.end > transfer.start else None

    def _end(self, transfer: int, boundary: int) -> None:
        copy, content = self.staged.pop(transfer)
        if content is None or copy.source is None:
            return
        now = self.memory.place(copy.storage, copy.source, copy.part, boundary)
        difference = first_difference(now, content)
        if difference is not None:
            name = self.graph.storages[copy.storage].name
            first = copy.source.offset + copy.part.begin
            wrong = ByteRange(first + difference[0], first + difference[1] + 1)
            writers = self.memory.writers(copy.source.memory, wrong)
            text = (
                f"{name} changed while it was copied ({copy.kind}, boundaries {copy.boundary} to "
                f"{boundary}): {addresses_text(wrong)} of {copy.source.memory}, last written by "
                f"{writers}"
            )
            raise WrongError(Mismatch(text, boundary, name, copy.source.memory, wrong, writers))
        self._arrive(copy, content)

    def _arrive(self, copy: Begin, content: NDArray[np.uint8]) -> None:
        if copy.destination is None:
            return
        name = self.graph.storages[copy.storage].name
        self.memory.place(copy.storage, copy.destination, copy.part, copy.boundary)[:] = content
        self.memory.wrote(copy.storage, copy.destination, copy.part, _copy_name(copy, name))
        self.copies += 1
        self.copied_bytes += len(content)

    def _run(self, run: Run) -> None:
        step, operator = run.step, run.operator
        node = self.graph.operators[operator]
        self.on_step(step, len(self.plan.order))
        self._timed(self.reference.before, step)
        reader = f"step {step} ({node.type} {node.name}) reads it"
        for tensor in self._moving(node.inputs):
            self._compare(tensor, self._location(run, tensor), step, reader)
        if self.graph.is_view(operator):
            self.views += 1
        else:
            self._compute(run)
            self.overwritten += operator in self.in_place
        self.steps += 1
        writer = f"step {step} ({node.type} {node.name}) has made it"
        for tensor in self._moving(node.outputs):
            if self.graph.storages[self.graph.tensors[tensor].storage].kind.is_written:
                self._compare(tensor, self._location(run, tensor), step, writer)
        self.reference.after(step)

    def _compute(self, run: Run) -> None:
        """Bind operands and results to their planned addresses, and run."""
        step, operator = run.step, run.operator
        node = self.graph.operators[operator]
        session = self.model.session_of(operator)
        binding = session.session.io_binding()
        scratch: dict[tuple[int, int], NDArray[np.uint8]] = {}
        for name, tensor in session.operands.items():
            self._bind(binding.bind_input, name, tensor, run, scratch, is_read=True)
        for name, value in session.constants.items():
            binding.bind_ortvalue_input(name, value)
        for name, tensor in session.results.items():
            self._bind(binding.bind_output, name, tensor, run, scratch, is_read=False)
        self._fill_workspace(run)
        try:
            session.session.run_with_iobinding(binding)
        except Exception as error:
            raise RuntimeRefusalError(f"{node.type} {node.name}: {first_line(error)}") from None
        for tensor in self._moving(session.results.values()):
            location = self._location(run, tensor)
            place = self.memory.tensor_place(tensor, location, step)
            stand_in = scratch.get((place.ctypes.data, len(place)))
            if stand_in is not None:
                place[:] = stand_in
            writer = self._result_name(step, tensor)
            self.memory.wrote(
                self.graph.tensors[tensor].storage, location, self.memory.range_of(tensor), writer
            )

    def _bind(
        self,
        bind: Callable[..., None],
        name: str,
        tensor: int,
        run: Run,
        scratch: dict[tuple[int, int], NDArray[np.uint8]],
        *,
        is_read: bool,
    ) -> None:
        type_ = self.model.type_of(tensor)
        shape = self.reference.shape(tensor)
        if self.graph.tensors[tensor].size_bytes == 0:
            if is_read:
                empty = ort_value(b"", type_._replace(shape=shape))
                bind(name, "cpu", 0, type_.element, shape, empty.data_ptr())
            else:
                bind(name, "cpu")
            return
        place = self.memory.tensor_place(tensor, self._location(run, tensor), run.step)
        address = place.ctypes.data
        if address % _KERNEL_ALIGNMENT:
            # The plan's alignment is less than what kernels expect.
            # An operand and the result that is written over it share what stands in for both.
            stand_in = scratch.get((address, len(place)))
            if stand_in is None:
                stand_in = np.empty(len(place) + 64, dtype=np.uint8)
                start = -stand_in.ctypes.data % 64
                stand_in = scratch[address, len(place)] = stand_in[start : start + len(place)]
            if is_read:
                stand_in[:] = place
            address = stand_in.ctypes.data
        bind(name, "cpu", 0, type_.element, shape, address)

    def _fill_workspace(self, run: Run) -> None:
        """Scratch memory holds nonsense while its operator runs."""
        node = self.graph.operators[run.operator]
        for tensor in node.outputs:
            storage = self.graph.tensors[tensor].storage
            is_workspace = self.graph.storages[storage].kind is StorageKind.WORKSPACE
            if is_workspace and self.graph.tensors[tensor].size_bytes:
                location = self._location(run, tensor)
                self.memory.tensor_place(tensor, location, run.step)[:] = RELEASED
                self.memory.wrote(
                    storage, location, self.memory.range_of(tensor), f"workspace of step {run.step}"
                )

    def _moving(self, tensors: Any) -> list[int]:
        """Those tensors that have bytes in an arena, workspaces apart."""
        apart = (StorageKind.CONSTANT, StorageKind.WORKSPACE)
        return [
            tensor
            for tensor in tensors
            if self.graph.storages[self.graph.tensors[tensor].storage].kind not in apart
            and self.graph.tensors[tensor].size_bytes
        ]

    def _tensors_of(self, storage: int) -> list[int]:
        return [
            index
            for index, tensor in enumerate(self.graph.tensors)
            if tensor.storage == storage and tensor.size_bytes
        ]

    def _location(self, run: Run, tensor: int) -> Location:
        described = self.graph.tensors[tensor]
        location = run.locations.get(described.storage)
        if location is None:
            node = self.graph.operators[run.operator]
            text = (
                f"{described.name} is in no memory when step {run.step} ({node.type} {node.name}) "
                "needs it"
            )
            raise WrongError(Mismatch(text, run.step, described.name))
        return location

    def _result_name(self, step: int, tensor: int) -> str:
        node = self.graph.operators[self.plan.order[step]]
        return f"step {step} ({node.type} {node.name}: {self.graph.tensors[tensor].name})"

    def _compare(
        self,
        tensor: int,
        location: Location,
        step: int,
        use: str,
        part: ByteRange | None = None,
    ) -> None:
        """Compare a tensor, or the bytes of it in a part of its storage, with the reference."""
        if not self.reference.holds(tensor):
            self.skipped += 1
            return
        expected, whole = self.reference.content(tensor), self.memory.range_of(tensor)
        described = self.graph.tensors[tensor]
        if len(expected) > described.size_bytes:
            text = (
                f"{described.name} has {len(expected):,} B, shape {self.reference.shape(tensor)}, "
                f"where the plan reserves {described.size_bytes:,} B"
            )
            raise WrongError(Mismatch(text, step, described.name))
        inside = whole if part is None else part
        expected = expected[inside.begin - whole.begin : inside.end - whole.begin]
        found = self.memory.place(described.storage, location, inside, step)[: len(expected)]
        self.compared += 1
        difference = first_difference(found, expected)
        if difference is None:
            return
        first = location.offset + inside.begin
        wrong = ByteRange(first + difference[0], first + difference[1] + 1)
        writers = self.memory.writers(location.memory, wrong)
        text = (
            f"{described.name} is wrong when {use}: {difference[2]:,} of {len(expected):,} bytes, "
            f"{addresses_text(wrong)} of {location.memory}, last written by {writers}"
        )
        raise WrongError(Mismatch(text, step, described.name, location.memory, wrong, writers))

    def _read_before_write(self, early: ReadBeforeWriteError) -> Mismatch:
        step = self.plan.order.index(early.operator)
        node, name = self.graph.operators[early.operator], self.graph.tensors[early.tensor].name
        text = f"step {step} ({node.type} {node.name}) reads {name}, which no step before it writes"
        return Mismatch(text, step, name)


def _copy_name(copy: Begin, storage: str) -> str:
    return f"{copy.kind} of {storage} at boundary {copy.boundary}"
