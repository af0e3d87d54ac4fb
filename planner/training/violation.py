"""What can be wrong with the schedule of a training step."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class TrainingViolationKind(StrEnum):
    """Which rule of `planner.training` is broken."""

    TYPE = "type"
    """Something that is no integer, or no tuple of them."""
    UNKNOWN = "unknown"
    """An operator, storage or step that does not exist."""
    HALF = "half"
    """An operator in the half where it cannot run, or missing from the one where it has to."""
    REPEATED = "repeated"
    """An operator that runs once, executed again."""
    ORDER = "order"
    """Operators that keep their order, out of it."""
    NOT_LIVE = "not-live"
    """A read of something that is not on the device."""
    SAVED = "saved"
    """Something that cannot be handed over between the halves, or is not there by then."""
    GRADIENT = "gradient"
    """A gradient that is not there when the step ends."""
    OFFLOAD = "offload"
    """A copy to the host or back that is impossible."""
    HOST = "host"
    """No host, or more bytes on it than it holds."""
    BUDGET = "budget"
    """More live bytes than the budget."""


class TrainingViolation(NamedTuple):
    """One offence.

    Attributes
    ----------
    kind : TrainingViolationKind
    message : str
        One sentence with the operator, the storage, the step and numbers.
    step : int or None
        Of the whole schedule: the forward half's steps, one for the moment between the halves,
        then the backward half's. None where it concerns no single step.
    storage : int or None
    """

    kind: TrainingViolationKind
    message: str
    step: int | None = None
    storage: int | None = None
