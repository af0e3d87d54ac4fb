"""From measured operators to rates: a line per class of operators, and one roofline for all."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.measured import OperatorFit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from planner.calibration.measure import Sample

    Array = NDArray[np.float64]

# Beside its samples, a class's fit sees with little weight an operator with that many times the
# work of its longest and, the least overhead apart, the time. Else one sample gave a constant.
_LARGER, _LARGER_WEIGHT = 64.0, 0.05
# Errors of shorter operators count as if they took that long: their times are noise in part.
_RELATIVE_FROM_S = 1e-6
_ROUNDS = 4
_SHORTEST_S = 1e-7
# Element types with fewer operators that multiply share the default rate.
_FEWEST_OF_TYPE = 8
_FIRST_STEP, _LAST_STEP = 1.0, 1e-3
# No processor is that many times faster or slower than assumed; samples that take no time are.
_WIDEST = 1e4


class Roofline(NamedTuple):
    """Rates of a whole machine.

    Attributes
    ----------
    mac_rate : dict of str to float
        Multiply-accumulates per second by element type, ``default`` among them.
    vector_rate : float
        Element operations per second.
    bandwidth : float
        Bytes per second, read or written.
    overhead_s : float
        Seconds per operator.
    """

    mac_rate: dict[str, float]
    vector_rate: float
    bandwidth: float
    overhead_s: float

    def seconds(self, sample: Sample) -> float:
        """Time of an operator."""
        mac_rate = self.mac_rate.get(sample.dtype, self.mac_rate["default"])
        return self.overhead_s + max(
            sample.macs / mac_rate,
            sample.vector_ops / self.vector_rate,
            sample.size_bytes / self.bandwidth,
        )


# What is kept of it where the samples say nothing: a rate that no operator exercises.
_ASSUMED = Roofline({"default": 3e10}, 1e9, 1e10, 1e-6)


def nonnegative_least_squares(matrix: Array, target: Array) -> Array:
    """Coefficients, none negative, with the least sum of squared residuals.

    Tries every set of columns: the optimum is the ordinary least squares of those that are not
    zero in it. Meant for a handful of columns.

    Parameters
    ----------
    matrix : array of shape [rows, columns]
    target : array of shape [rows]

    Returns
    -------
    array of shape [columns]
    """
    columns = matrix.shape[1]
    scale = np.abs(matrix).max(axis=0, initial=0.0)
    scale[scale == 0] = 1.0
    scaled = matrix / scale
    best, least = np.zeros(columns), float(target @ target)
    for size in range(1, columns + 1):
        for chosen in combinations(range(columns), size):
            part = scaled[:, chosen]
            found = np.linalg.lstsq(part, target, rcond=None)[0]
            residual = part @ found - target
            error = float(residual @ residual)
            if (found >= 0).all() and error < least:
                best, least = np.zeros(columns), error
                best[list(chosen)] = found
    return best / scale


def fit_classes(samples: Iterable[Sample]) -> dict[str, OperatorFit]:
    """Fit a line per class: overhead, arithmetic and bytes over their rates, added up.

    A class with few samples is taken to need time in proportion
    to its work, rather than time without work.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.kind, []).append(sample)
    fits = {}
    shortest_s = min((sample.seconds for group in groups.values() for sample in group), default=0)
    for kind, group in sorted(groups.items()):
        features, seconds = _arrays(group)
        longest = int(np.argmax(seconds))
        larger = features[longest] * (1, _LARGER, _LARGER, _LARGER)
        larger_s = shortest_s + _LARGER * (seconds[longest] - shortest_s)
        weights = np.append(np.ones(len(group)), _LARGER_WEIGHT)
        rows = np.vstack([features, larger])
        fits[kind] = _operator_fit(_balanced_fit(rows, np.append(seconds, larger_s), weights))
    return fits


def _balanced_fit(rows: Array, seconds: Array, weights: Array) -> Array:
    """Coefficients for which too long and too short by the same factor count alike.

    Least squares of errors relative to the geometric mean of time and prediction, the latter
    from the round before. Errors relative to the time alone would favour predictions that are too
    short: those cannot be off by more than 100 %.
    """
    measured = np.maximum(seconds, _RELATIVE_FROM_S)
    predicted, found = measured, np.zeros(rows.shape[1])
    for _ in range(_ROUNDS):
        scale = weights / np.sqrt(measured * np.maximum(predicted, _RELATIVE_FROM_S))
        found = nonnegative_least_squares(rows * scale[:, None], seconds * scale)
        predicted = rows @ found
    return found


def fit_roofline(samples: Sequence[Sample]) -> Roofline:
    """Fit one roofline by the least mean absolute logarithm of predicted over measured time.

    Coordinate descent over the logarithms of the rates, with steps halved until they are 0.1 %.
    """
    counts = Counter(sample.dtype for sample in samples if sample.macs)
    own = [dtype for dtype, count in counts.most_common() if count >= _FEWEST_OF_TYPE]
    own = own or [dtype for dtype, _ in counts.most_common(1)]
    if not samples:
        return _ASSUMED
    features, seconds = _arrays(samples)
    of_type = [np.array([sample.dtype == dtype for sample in samples]) for dtype in own[1:]]
    place = np.zeros(len(samples), dtype=np.int64)
    for index, mask in enumerate(of_type, 1):
        place[mask] = index
    types = max(len(own), 1)

    def loss(logarithms: Array) -> float:
        rates = np.exp(logarithms)
        work = np.maximum(
            np.maximum(features[:, 1] / rates[3 + place], features[:, 2] / rates[1]),
            features[:, 3] / rates[2],
        )
        return float(np.abs(np.log((work + rates[0]) / seconds)).mean())

    start = [_ASSUMED.overhead_s, _ASSUMED.vector_rate, _ASSUMED.bandwidth]
    start += [_ASSUMED.mac_rate["default"]] * types
    rates = np.exp(_descend(loss, np.log(np.array(start)))).tolist()
    mac_rate = dict(zip(own, rates[3:], strict=False))
    return Roofline({"default": rates[3], **mac_rate}, rates[1], rates[2], rates[0])


def _descend(loss: Callable[[Array], float], start: Array) -> Array:
    point, least, step = start, loss(start), _FIRST_STEP
    while step > _LAST_STEP:
        improved = False
        for axis in range(len(point)):
            for change in (step, -step):
                tried = point.copy()
                tried[axis] += change
                if abs(tried[axis] - start[axis]) > np.log(_WIDEST):
                    continue
                value = loss(tried)
                if value < least:
                    point, least, improved = tried, value, True
        if not improved:
            step /= 2
    return point


def _arrays(samples: Sequence[Sample]) -> tuple[Any, Any]:
    """Features of shape [samples, 4], a column of ones first, and seconds."""
    features = np.array(
        [(1, sample.macs, sample.vector_ops, sample.size_bytes) for sample in samples], dtype=float
    )
    return features, np.array([max(sample.seconds, _SHORTEST_S) for sample in samples])


def _operator_fit(coefficients: Array) -> OperatorFit:
    overhead_s, *inverse_rates = coefficients.tolist()
    return OperatorFit(overhead_s, *(1 / value if value > 0 else None for value in inverse_rates))
