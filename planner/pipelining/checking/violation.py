"""What can be wrong with a pipeline schedule that has times."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.pipelining.schedule import Copy, Pass
    from planner.pipelining.simulator import Span


class PipelineViolationKind(StrEnum):
    """Which rule of `planner.pipelining` is broken."""

    ENTRIES = "entries"
    """Not one list per device, or not one time per entry."""
    PASS = "pass"
    """A pass that is missing, there twice, or of a stage or microbatch that does not exist."""
    DEVICE = "device"
    """Something of a stage that lies on another device."""
    DURATION = "duration"
    """Something that takes other than its time."""
    OVERLAP = "overlap"
    """Two things at once, or out of order, where a device does one after the other."""
    DEPENDENCY = "dependency"
    """A pass that starts before what it needs is there."""
    BARRIER = "barrier"
    """A pass of the vocabulary layer, or after it, that does not wait for the others."""
    COPY = "copy"
    """A copy to the host or back at an impossible time, or without the other one."""
    UNIT = "unit"
    """Sharded weights that are used while they are not there, or a gradient that is lost."""
    DEADLOCK = "deadlock"
    """Orders in which some wait for each other for ever."""
    MEMORY = "memory"
    """More bytes on a device than its limit."""
    HOST = "host"
    """More bytes of a device on the host than it holds."""


class PipelineViolation(NamedTuple):
    """One offence of a timeline.

    Attributes
    ----------
    kind : PipelineViolationKind
    message : str
        One sentence with the device, the pass, times in ticks and numbers.
    device : int
        -1 where it concerns all of them.
    """

    kind: PipelineViolationKind
    message: str
    device: int = -1


def item_name(item: Pass | Copy) -> str:
    """Return what messages call a pass or a copy: ``F 3.1`` is stage 3, microbatch 1."""
    return f"{item.kind} {item.stage}.{item.microbatch}"


def when(span: Span) -> str:
    """Return a span as text: ``[3, 5)``."""
    return f"[{span.start:,}, {span.end:,})"
