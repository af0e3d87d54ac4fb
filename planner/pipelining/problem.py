"""What a pipeline schedule is made for: stages, devices, microbatches, and memory.

Times are whole numbers of **ticks**, so that sums are exact and bounds can be met exactly.

The model is cut into **stages** ``0..S-1``, in the order of the forward pass. ``device_of`` puts
each on a device; a device with several stages has one of them per **chunk**. Every microbatch
passes through all stages forward and then, in reverse, backward.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_PASSES = 4_000_000
"""Forward passes of all microbatches that a problem may have."""

_MOST_BYTES = 1 << 62


def most_ticks(devices: int) -> int:
    """Return how long all passes of a problem may take one after the other.

    Sums of as many such times as there are devices stay exact in 64 bits, and one in the floating
    point numbers that solvers of linear programs count in.
    """
    return min(1 << 52, (1 << 60) // devices)


class PipelineObjective(StrEnum):
    """Which ticks count.

    The longest stage is the time of an iteration where nothing holds up the devices between
    iterations; the makespan where a barrier does, as the norm of the gradients.
    """

    LONGEST_STAGE = "longest-stage"
    MAKESPAN = "makespan"


@dataclass(frozen=True, slots=True)
class StageCosts:
    """What one microbatch costs on one stage.

    Attributes
    ----------
    forward, backward, weight : int
        Ticks of the forward pass, of the gradient of the input and of the gradient of the weights.
    activation_bytes : int
        Taken when the forward pass starts.
    kept_bytes : int
        The part of ``activation_bytes`` that the gradient of the weights needs: given back when
        that pass ends, the rest when the gradient of the input ends. Known as M_W beside M_B:
        M_W < M_B in "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241), M_W = M_B in
        "Controllable Memory" (arXiv 2405.15362).
    communication : int
        Ticks from the end of this stage to the start of the next on another device, and of the
        gradient on its way back. Of the last stage it means nothing.
    """

    forward: int
    backward: int
    weight: int
    activation_bytes: int
    kept_bytes: int
    communication: int = 0

    @property
    def work(self) -> int:
        """Ticks of all three passes."""
        return self.forward + self.backward + self.weight


@dataclass(frozen=True, slots=True)
class Offloading:
    """Moving activations to the host and back.

    Attributes
    ----------
    offload, reload : tuple of int
        Per stage, ticks to move one microbatch's ``activation_bytes`` out, and back in.
    streams : int
        2 if each device copies in both directions at once, 1 if one copy at a time.
    host_bytes : int or None
        What the host holds of one device at most; None for as much as comes.
    """

    offload: tuple[int, ...]
    reload: tuple[int, ...]
    streams: int = 2
    host_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class VocabularyLayer:
    """The output layer, split over all devices ("Vocabulary Parallelism", arXiv 2411.05288).

    After the last stage's forward pass each device runs S: its part of the logits, and of the
    softmax's statistics. The statistics meet in a barrier. With one barrier S has computed the
    gradient of the input too, so that the last stage's backward pass follows the barrier, and T,
    the gradient of the weights, runs any time after it. With two, T computes both gradients, and
    the backward pass follows a second barrier after T.

    Attributes
    ----------
    forward, backward : int
        Ticks of S and of T on each device.
    broadcast : int
        Ticks from the end of the last stage's forward pass to the start of S on other devices.
    barrier : int
        Ticks from the end of the last device's pass to the end of the barrier.
    barriers : int
        1 or 2.
    activation_bytes : int
        Held on each device from the start of S to the end of T.
    """

    forward: int
    backward: int
    broadcast: int
    barrier: int
    barriers: int
    activation_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ShardedParameters:
    """Weights that are gathered for use and scattered after it (ZeroPP, arXiv 2402.03791).

    Attributes
    ----------
    gather, reduce : tuple of int
        Per stage, ticks to gather its weights, and to reduce and scatter their gradient.
    parameter_bytes, gradient_bytes : tuple of int
        Per stage, bytes of the whole weights and of their whole gradient.
    """

    gather: tuple[int, ...]
    reduce: tuple[int, ...]
    parameter_bytes: tuple[int, ...]
    gradient_bytes: tuple[int, ...]


@dataclass(frozen=True)
class PipelineProblem:
    """Stages on devices, microbatches, and what memory there is. See the module's text.

    Attributes
    ----------
    stages : tuple of StageCosts
    device_of : tuple of int
        The device of each stage; every device ``0..p-1`` has at least one.
    microbatches : int
    limits : tuple of int or None
        Bytes that each device may hold at any instant; None without a limit.
    tick_s : fractions.Fraction
        Seconds of one tick.
    objective : PipelineObjective
    offloading, vocabulary, sharding
        None where the model does without.

    Raises
    ------
    planner.errors.UsageError
        If a number makes no sense; the message names the stage.
    """

    stages: tuple[StageCosts, ...]
    device_of: tuple[int, ...]
    microbatches: int
    limits: tuple[int | None, ...]
    tick_s: Fraction = Fraction(1)
    objective: PipelineObjective = PipelineObjective.LONGEST_STAGE
    offloading: Offloading | None = None
    vocabulary: VocabularyLayer | None = None
    sharding: ShardedParameters | None = None

    def __post_init__(self) -> None:
        _refuse_nonsense(self)

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return len(self.limits)

    @cached_property
    def stages_of(self) -> tuple[tuple[int, ...], ...]:
        """Per device, its stages in the order of the forward pass."""
        return tuple(
            tuple(stage for stage, device in enumerate(self.device_of) if device == mine)
            for mine in range(self.devices)
        )

    @cached_property
    def hops(self) -> tuple[int, ...]:
        """Per stage but the last, ticks between it and the next: 0 on the same device."""
        return tuple(
            0 if here == there else stage.communication
            for stage, here, there in zip(self.stages, self.device_of, self.device_of[1:])  # noqa: B905
        )

    def busy_ticks(self, device: int) -> int:
        """Ticks that a device computes, whatever the schedule."""
        work = sum(self.stages[stage].work for stage in self.stages_of[device])
        if self.vocabulary is not None:
            work += self.vocabulary.forward + self.vocabulary.backward
        return work * self.microbatches

    @property
    def ideal_ticks(self) -> int:
        """Ticks of the busiest device: no schedule's longest stage takes less."""
        return max(self.busy_ticks(device) for device in range(self.devices))


def _refuse_nonsense(problem: PipelineProblem) -> None:
    stages, devices = problem.stages, problem.devices
    if problem.microbatches < 1:
        raise UsageError(f"{problem.microbatches} microbatches: there must be at least one")
    if not stages or not devices:
        raise UsageError("a pipeline needs at least one stage and one device")
    if len(stages) * problem.microbatches > MOST_PASSES:
        raise UsageError(
            f"{len(stages)} stages x {problem.microbatches} microbatches are more than the "
            f"{MOST_PASSES:,} forward passes that can be planned"
        )
    if len(problem.device_of) != len(stages):
        raise UsageError(f"{len(stages)} stages, but {len(problem.device_of)} have a device")
    if set(problem.device_of) != set(range(devices)):
        raise UsageError(f"{len(stages)} stages do not use each of the {devices} devices")
    for index, stage in enumerate(stages):
        times = (stage.forward, stage.backward, stage.weight, stage.communication)
        numbers = (*times, stage.activation_bytes, stage.kept_bytes)
        _refuse_unless_counts(f"stage {index}: times and bytes", numbers)
        if stage.kept_bytes > stage.activation_bytes:
            raise UsageError(
                f"stage {index}: the gradient of the weights keeps {stage.kept_bytes:,} of "
                f"{stage.activation_bytes:,} B, which is no part of them"
            )
    for given in (problem.offloading, problem.sharding):
        for name in () if given is None else given.__slots__:
            numbers = getattr(given, name)
            if isinstance(numbers, tuple):
                if len(numbers) != len(stages):
                    raise UsageError(f"{name} of {len(numbers)} stages; there are {len(stages)}")
                _refuse_unless_counts(name, numbers)
    if problem.offloading is not None:
        _refuse_unless_counts("host_bytes", (problem.offloading.host_bytes or 0,))
        if problem.offloading.streams not in (1, 2):
            raise UsageError(f"{problem.offloading.streams} copy streams: there are 1 or 2")
    layer = problem.vocabulary
    if layer is not None:
        passes = (layer.forward, layer.backward, layer.broadcast, layer.barrier)
        _refuse_unless_counts("the vocabulary layer's", (*passes, layer.activation_bytes))
        if layer.barriers not in (1, 2):
            raise UsageError(f"{layer.barriers} barriers of the vocabulary layer: there are 1 or 2")
    if problem.tick_s <= 0:
        raise UsageError(f"a tick of {problem.tick_s} s is no time")
    _refuse_what_cannot_be_summed(problem)
    for device, limit in enumerate(problem.limits):
        if limit is not None and limit < 0:
            raise UsageError(f"device {device}: a memory limit of {limit} B is negative")


def _refuse_unless_counts(what: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        if not isinstance(number, Integral):
            raise UsageError(f"{what} must be whole numbers, but one is {number!r:.40}")
        if number < 0:
            raise UsageError(f"{what} cannot be negative, but one is {number:,}")


def _refuse_what_cannot_be_summed(problem: PipelineProblem) -> None:
    ticks = sum(stage.work + 2 * stage.communication for stage in problem.stages)
    if problem.offloading is not None:
        ticks += sum(problem.offloading.offload) + sum(problem.offloading.reload)
    if problem.sharding is not None:
        ticks += sum(problem.sharding.gather) + sum(problem.sharding.reduce)
    if problem.vocabulary is not None:
        layer = problem.vocabulary
        ticks += problem.devices * (layer.forward + layer.backward)
        ticks += 2 * layer.barrier + layer.broadcast
    if ticks * problem.microbatches > most_ticks(problem.devices):
        raise UsageError(
            f"all passes one after the other take {ticks * problem.microbatches:,} ticks: too many "
            f"to count, at most {most_ticks(problem.devices):,}. Choose a longer tick"
        )
    size = sum(stage.activation_bytes for stage in problem.stages) * problem.microbatches
    if size > _MOST_BYTES:
        raise UsageError(f"activations of {size:,} B in all are too many to count")
