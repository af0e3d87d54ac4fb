"""What executing a plan showed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.plans import ByteRange


class Verdict(StrEnum):
    """``exact``: every tensor had the right bytes at every use."""

    EXACT = "exact"
    MISMATCH = "mismatch"
    NOT_EXECUTED = "not executed"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first thing that went wrong.

    Attributes
    ----------
    message : str
        What, where, the bytes, and who wrote them.
    step : int
        Step at, or boundary before, which it was seen; the number of steps for graph outputs.
    tensor : str
        Name of the tensor or storage.
    memory : str
    addresses : ByteRange or None
        From the first wrong byte to the last, in that memory.
    written_by : str
        Who wrote those bytes last.
    """

    message: str
    step: int
    tensor: str
    memory: str = ""
    addresses: ByteRange | None = None
    written_by: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """What executing a plan showed, and what it cost.

    Attributes
    ----------
    verdict : Verdict
    reason : str
        Why the model was not executed; empty otherwise.
    mismatch : Mismatch or None
    steps : int
        Operators that ran.
    views : int
        Operators that moved no bytes: their results were compared where they lie.
    compared, skipped : int
        Tensors compared, once per use, result and graph output; and those left out because they
        depend on random operators.
    copies, copied_bytes : int
        Transfers that were carried out.
    overwritten : int
        Results written over a dying operand.
    arena_bytes : mapping of str to int
        Predicted by the plan, per memory that it uses.
    measured_bytes : mapping of str to int
        Up to the highest byte that was written.
    runtime_s, reference_s, arena_s : float
        CPU seconds of the whole model by unoptimised ONNX Runtime, of the reference with all
        intermediate values, and of the steps in the arena with all comparisons.
    notes : tuple of str
        What was assumed or drawn at random.
    """

    verdict: Verdict
    reason: str = ""
    mismatch: Mismatch | None = None
    steps: int = 0
    views: int = 0
    compared: int = 0
    skipped: int = 0
    copies: int = 0
    copied_bytes: int = 0
    overwritten: int = 0
    arena_bytes: Mapping[str, int] = field(default_factory=dict)
    measured_bytes: Mapping[str, int] = field(default_factory=dict)
    runtime_s: float = 0.0
    reference_s: float = 0.0
    arena_s: float = 0.0
    notes: tuple[str, ...] = ()
