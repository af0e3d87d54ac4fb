"""What can go wrong, one class per exit code of the command line."""

from __future__ import annotations


class PlannerError(Exception):
    """Anything the user can act on. The message says what, where, the numbers and what to do."""

    exit_code = 1


class UsageError(PlannerError):
    """A wrong argument: an unknown target, memory, solver or dimension, a malformed size."""

    exit_code = 2


class DoesNotFitError(PlannerError):
    """No plan fits the target.

    Attributes
    ----------
    proven : bool
        True when no plan can fit, False when none was found in the time given.
    """

    exit_code = 3

    def __init__(self, message: str, *, proven: bool) -> None:
        super().__init__(message)
        self.proven = proven


class InvalidPlanError(PlannerError):
    """A well-formed plan that is illegal, or that belongs to another model."""

    exit_code = 4


class LoweringError(PlannerError):
    """A model that cannot become a graph: unknown sizes, cycles, unsupported types."""

    exit_code = 5


class BadFileError(PlannerError):
    """A file that is missing, truncated, malformed or hostile."""

    exit_code = 6
