"""A pipeline schedule: per device, the order of its passes, its copies and its collectives.

A schedule holds no times. The simulator gives every pass the earliest start that the order on its
device and its dependencies allow; so a schedule means the same under any costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class PassKind(StrEnum):
    """What a compute pass computes.

    Stages have F, and B and W or the fused D; ``VocabularyLayer`` explains S and T.
    """

    FORWARD = "F"
    BACKWARD = "B"
    WEIGHT = "W"
    FUSED = "D"
    VOCABULARY_FORWARD = "S"
    VOCABULARY_BACKWARD = "T"


class Pass(NamedTuple):
    """One pass of one microbatch. Of S and T, which belong to no stage, ``stage`` is the device."""

    kind: PassKind
    stage: int
    microbatch: int


class CopyKind(StrEnum):
    """Out to the host, or back in."""

    OFFLOAD = "O"
    RELOAD = "R"


class Copy(NamedTuple):
    """One microbatch's activations of one stage on their way to the host or back.

    An offload follows the forward pass and gives the bytes back when it ends; a reload takes them
    when it starts, and the gradient of the input waits for it.

    Attributes
    ----------
    after : int
        Index, in the device's order, of the compute pass before whose start it does not start;
        -1 if it may start at once.
    before : int
        Index of the compute pass that does not start before it has ended; the number of passes if
        none waits.
    """

    kind: CopyKind
    stage: int
    microbatch: int
    after: int
    before: int


class WeightUnit(NamedTuple):
    """Consecutive use of one stage's gathered weights.

    The gather ends before the pass ``first`` starts; the weights are held from its start to the end
    of the pass ``last``. If the unit reduces, the whole gradient is held from the start of
    ``first`` to the end of the reduction, which follows ``last``.

    Attributes
    ----------
    after : int
        Index, in the device's order, of the compute pass before whose start the gather does not
        start; -1 if it may start at once.
    first, last : int
        Indices of the first and last compute pass in the unit. Every F, B, W and D of the stage
        lies in a unit of it.
    reduces : bool
    """

    stage: int
    after: int
    first: int
    last: int
    reduces: bool


@dataclass(frozen=True, slots=True)
class PipelineSchedule:
    """What every device does, in which order.

    Attributes
    ----------
    name : str
        The constructor or search that made it.
    device_of : tuple of int
        The device of each stage.
    passes : tuple of tuple of Pass
        Per device, in order: one at a time.
    copies : tuple of tuple of Copy
        Per device: those of one direction in order, or all of them with a single copy stream.
    units : tuple of tuple of WeightUnit
        Per device, in the order of their gathers, which is that of ``after``. One collective
        runs at a time: a reduction goes before the gathers whose ``after`` lies behind its
        unit's ``last``, and after the others.
    """

    name: str
    device_of: tuple[int, ...]
    passes: tuple[tuple[Pass, ...], ...]
    copies: tuple[tuple[Copy, ...], ...] = ()
    units: tuple[tuple[WeightUnit, ...], ...] = ()
