"""A training step handed to the kernels, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvers import _native

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem


def native_model(problem: TrainingProblem) -> _native.TrainingModel:
    """Return the arrays of a problem, checked.

    Raises
    ------
    ValueError
        If an index or a number is out of range, or an operator reads what nothing before it writes.
    """
    return _native.TrainingModel(
        is_backward=problem.is_backward,
        in_forward=problem.in_forward,
        recomputable=problem.recomputable,
        read_offsets=problem.reads.offsets,
        reads=problem.reads.values,
        write_offsets=problem.writes.offsets,
        writes=problem.writes.values,
        workspace=problem.workspace_bytes,
        duration=problem.duration_ps,
        size=problem.size_bytes,
        forward_outputs=problem.forward_outputs,
        gradients=problem.gradients,
        tangents=problem.tangents,
    )


def index_array(indices: Collection[int]) -> NDArray[np.int32]:
    """Return storages or operators as the kernels take them, ascending."""
    return np.array(sorted(indices), dtype=np.int32)
