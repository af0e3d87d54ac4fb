"""Mapping problems as the kernels take them, and their results as solutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.mapping_problem import MappingSolution, Residency
from solvers._native import MappingModel, mapping_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem


class Decoded(NamedTuple):
    """What a kernel made: residencies, latency in ticks, and how many it tried to place."""

    residencies: NDArray[np.int64]
    latency: int
    attempts: int

    def solution(self) -> MappingSolution:
        """Return it as a solution."""
        rows = self.residencies.reshape(-1, len(Residency._fields)).tolist()
        return MappingSolution(tuple(Residency(*row) for row in rows), self.latency)


def native_model(problem: MappingProblem) -> MappingModel:
    """Hand a problem to the kernels.

    Raises
    ------
    ValueError
        If its arrays break the rules of `planner.mapping_problem`.
    """
    names = (
        "capacity",
        "alignment",
        "size",
        "has_copy",
        "copy_in",
        "copy_out",
        "access_row",
        "access_buffer",
        "writes",
        "fast",
        "slow",
        "arithmetic",
        "overhead",
        "other_fast",
        "other_slow",
        "touches_fast",
        "touches_slow",
        "fast_latency",
        "slow_latency",
        "ready_in",
        "ready_out",
    )
    return mapping_model(**{name: getattr(problem, name) for name in names})
