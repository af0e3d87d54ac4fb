"""Means of ratios of latencies, and how sure they are: resampled graphs, not programs.

Programs of one graph are alike, so that a network in eight sizes is not eight times the evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESAMPLES = 2000
_SEED = 0
_LEVEL = 0.95
# Less is a draw.
_MARGIN = 5e-4


class Comparison(NamedTuple):
    """One method divided by another, over programs that both have a mapping of.

    Attributes
    ----------
    programs, graphs : int
    ratio : float
        Geometric mean of latency by latency; less than 1 is faster.
    low, high : float
        95 % interval, from a bootstrap over graphs.
    wins, losses : float
        Shares of programs more than 0.05 % faster and slower.
    worst : float
        Largest ratio.
    """

    programs: int
    graphs: int
    ratio: float
    low: float
    high: float
    wins: float
    losses: float
    worst: float


def compared(ratios: Sequence[float], graphs: Sequence[str]) -> Comparison | None:
    """Compare by the ratios of programs.

    Parameters
    ----------
    ratios : sequence of float
        Of each program; positive.
    graphs : sequence of str
        Of each program.

    Returns
    -------
    Comparison or None
        None without programs.
    """
    if not ratios:
        return None
    values = np.array(ratios, dtype=np.float64)
    low, high = interval(np.log(values).tolist(), graphs)
    return Comparison(
        programs=len(values),
        graphs=len(set(graphs)),
        ratio=geometric_mean(ratios),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        wins=float(np.mean(values < 1 - _MARGIN)),
        losses=float(np.mean(values > 1 + _MARGIN)),
        worst=float(values.max()),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values."""
    return float(np.exp(np.mean(np.log(np.asarray(values, dtype=np.float64)))))


def interval(values: Sequence[float], groups: Sequence[str]) -> tuple[float, float]:
    """Return a 95 % interval of the mean of values: percentiles over resampled groups.

    Always the same resamples for the same groups. One group alone says nothing about others: its
    interval is the mean itself.
    """
    of_group = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = np.bincount(of_group).astype(np.float64)
    total = np.bincount(of_group, weights=np.asarray(values, dtype=np.float64))
    drawn = np.random.default_rng(_SEED).integers(len(count), size=(_RESAMPLES, len(count)))
    means = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
