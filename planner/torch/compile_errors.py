"""Errors that leave ``torch.compile`` as what they are."""

from __future__ import annotations

from torch._dynamo.exc import ShortenTraceback

from planner.errors import DoesNotFitError, LoweringError, PlannerError, UsageError

# The compiler hands on errors of its own base class, and wraps all others in its own words.


class _MisfitInCompilation(DoesNotFitError, ShortenTraceback):
    def __init__(self, error: DoesNotFitError) -> None:
        ShortenTraceback.__init__(self, str(error), first_useful_frame=None)
        self.proven = error.proven


class _UsageErrorInCompilation(UsageError, ShortenTraceback):
    def __init__(self, error: PlannerError) -> None:
        ShortenTraceback.__init__(self, str(error), first_useful_frame=None)


class _LoweringErrorInCompilation(LoweringError, ShortenTraceback):
    def __init__(self, error: PlannerError) -> None:
        ShortenTraceback.__init__(self, str(error), first_useful_frame=None)


def as_compile_error(error: PlannerError) -> PlannerError:
    """Return the same error in a class that ``torch.compile`` hands on unchanged."""
    if isinstance(error, DoesNotFitError):
        return _MisfitInCompilation(error)
    if isinstance(error, UsageError):
        return _UsageErrorInCompilation(error)
    if isinstance(error, LoweringError):
        return _LoweringErrorInCompilation(error)
    return error
