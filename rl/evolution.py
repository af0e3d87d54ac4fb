"""Separable CMA-ES: evolution of a vector's mean, and of one deviation per coordinate.

Ros and Hansen, "A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity" (PPSN
2008). Additions and multiplications alone, no decomposition of matrices: what the same seed gives
does not depend on a linear algebra library.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Evolution(NamedTuple):
    """The state between two steps; every array is of shape [coordinates].

    Attributes
    ----------
    mean, variance : float64 arrays
    step_path, variance_path : float64 arrays
        Where the mean has been going, for the size of the steps and for the variances.
    sigma : float
        Overall size of the steps.
    steps : int
        How many were made.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    step_path: NDArray[np.float64]
    variance_path: NDArray[np.float64]
    sigma: float
    steps: int = 0


def begin(mean: NDArray[np.float64], sigma: float) -> Evolution:
    """Return the state before the first step: the same deviation everywhere."""
    nothing = np.zeros_like(mean)
    return Evolution(mean.copy(), np.ones_like(mean), nothing, nothing, sigma)


def drawn(state: Evolution, population: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw vectors: float64 array of shape [population, coordinates]."""
    normal = rng.standard_normal((population, len(state.mean)))
    return state.mean + state.sigma * np.sqrt(state.variance) * normal


def advanced(
    state: Evolution, vectors: NDArray[np.float64], costs: NDArray[np.float64]
) -> Evolution:
    """Make one step towards the better half of the vectors that were drawn from this state.

    Parameters
    ----------
    vectors : float64 array of shape [population, coordinates]
    costs : float64 array of shape [population]
        Less is better; of equal ones the first.
    """
    size = len(state.mean)
    parents = len(costs) // 2
    raw = math.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    share = raw / raw.sum()
    mass = 1.0 / float((share**2).sum())
    # The constants of CMA-ES; those of the variances are larger by (n + 2) / 3, as they are fewer.
    step_rate = (mass + 2) / (size + mass + 5)
    damping = 1 + 2 * max(0.0, math.sqrt((mass - 1) / (size + 1)) - 1) + step_rate
    path_rate = (4 + mass / size) / (size + 4 + 2 * mass / size)
    faster = (size + 2) / 3
    one_rate = min(1.0, faster * 2 / ((size + 1.3) ** 2 + mass))
    many_rate = faster * 2 * (mass - 2 + 1 / mass) / ((size + 2) ** 2 + mass)
    many_rate = min(1 - one_rate, many_rate)
    expected = math.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size**2))

    best = np.argsort(costs, kind="stable")[:parents]
    moves = (vectors[best] - state.mean) / state.sigma
    move = (share[:, None] * moves).sum(axis=0)
    step_path = (1 - step_rate) * state.step_path + math.sqrt(
        step_rate * (2 - step_rate) * mass
    ) * move / np.sqrt(state.variance)
    length = math.sqrt(float((step_path**2).sum()))
    steps = state.steps + 1
    # While steps grow quickly, the path would stretch the variances along with them.
    is_short = length / math.sqrt(1 - (1 - step_rate) ** (2 * steps)) < expected * (
        1.4 + 2 / (size + 1)
    )
    variance_path = (1 - path_rate) * state.variance_path
    if is_short:
        variance_path = variance_path + math.sqrt(path_rate * (2 - path_rate) * mass) * move
    variance = (
        (1 - one_rate - many_rate) * state.variance
        + one_rate * variance_path**2
        + many_rate * (share[:, None] * moves**2).sum(axis=0)
    )
    sigma = state.sigma * math.exp(step_rate / damping * (length / expected - 1))
    return Evolution(
        state.mean + state.sigma * move, variance, step_path, variance_path, sigma, steps
    )
