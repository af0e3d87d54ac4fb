"""Programs to train on: real ones with other sizes, rates and memories, whole or in part."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from solvers.mapping.variants import cropped, with_capacity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem

# Programs without this much to gain between all slow and all fast teach nothing.
_LEAST_GAIN = 1.02
_TRIES = 8
_LEAST_ROWS, _MOST_ROWS = 24, 512
_WHOLE_SHARE = 0.25
# Standard deviations of logarithms: of every row or buffer, and of all of them together.
_ROW_SIGMA, _BUFFER_SIGMA, _PROGRAM_SIGMA = 0.3, 0.3, 0.5
_CAPACITY_SIGMA = 0.7
_LARGEST_FACTOR = 4.0


def perturbed(problem: MappingProblem, rng: np.random.Generator) -> MappingProblem:
    """Draw a program like a given one: a stretch of its rows, jittered, with another capacity.

    The same generator state gives the same program. What is drawn has at least 2 % to gain, unless
    eight draws in a row have not.
    """
    for _ in range(_TRIES):
        drawn = problem
        if drawn.rows > _LEAST_ROWS and rng.random() >= _WHOLE_SHARE:
            drawn = _stretch(drawn, rng)
        drawn = jittered(drawn, rng)
        drawn = _other_capacity(drawn, rng)
        if drawn.all_slow >= _LEAST_GAIN * drawn.all_fast:
            return drawn
    return jittered(problem, rng)


def jittered(problem: MappingProblem, rng: np.random.Generator) -> MappingProblem:
    """Scale the arithmetic of each row, and the bytes and times of each buffer, at random.

    Sizes never exceed the capacity; the graph, the capacity and what is not decided stay.
    """
    together = _factors(rng, _PROGRAM_SIGMA, 1)[0]
    arithmetic = problem.arithmetic * together * _factors(rng, _ROW_SIGMA, problem.rows)
    unit = problem.alignment
    wanted = problem.size * _factors(rng, _BUFFER_SIGMA, problem.buffers)
    size = np.clip(np.ceil(wanted / unit).astype(np.int64), 1, problem.capacity // unit) * unit
    grown = size / problem.size
    of_access = grown[problem.access_buffer]
    fast = _scaled(problem.fast, of_access)
    return replace(
        problem,
        size=size,
        copy_in=np.maximum(_scaled(problem.copy_in, grown), 1),
        copy_out=np.maximum(_scaled(problem.copy_out, grown), 1),
        fast=fast,
        # Rounding apart, the slow memory is as much slower as it was.
        slow=np.maximum(_scaled(problem.slow, of_access), fast),
        arithmetic=_scaled(arithmetic, np.ones(problem.rows)),
    )


def _stretch(problem: MappingProblem, rng: np.random.Generator) -> MappingProblem:
    """Cut out a stretch whose length is uniform on a logarithmic scale."""
    most = min(problem.rows, _MOST_ROWS)
    rows = round(math.exp(rng.uniform(math.log(_LEAST_ROWS), math.log(most))))
    start = int(rng.integers(problem.rows - rows + 1))
    stretch = cropped(problem, start, start + rows)
    if not stretch.buffers:
        return stretch
    # A stretch of a tenth of the rows with all of the memory would leave nothing to decide.
    share = max(rows / problem.rows, float(stretch.size.max()) / problem.capacity)
    return with_capacity(stretch, int(min(share, 1.0) * problem.capacity))


def _other_capacity(problem: MappingProblem, rng: np.random.Generator) -> MappingProblem:
    """Scale the fast memory."""
    factor = float(_factors(rng, _CAPACITY_SIGMA, 1)[0])
    if factor <= 1.0:
        return with_capacity(problem, int(problem.capacity * factor))
    units = int(problem.capacity // problem.alignment * factor)
    return replace(problem, capacity=units * problem.alignment)


def _factors(rng: np.random.Generator, sigma: float, count: int) -> NDArray[np.float64]:
    factors = np.exp(sigma * rng.standard_normal(count))
    return np.clip(factors, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)


def _scaled(ticks: NDArray, factors: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(ticks * factors).astype(np.int64)
