"""How well times of other models predict a model's latency."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.calibration.fit import fit_classes, fit_roofline
from planner.measured import CostLayer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.calibration.measure import MeasuredModel, Sample


_SHORTEST_S = 1e-9


class Prediction(NamedTuple):
    """A model's latency and what all others say of it, in seconds.

    Attributes
    ----------
    name : str
    measured_s : float
        Of the whole model.
    predicted_s : float
        By the table of the other models, fits behind it, roofline behind them.
    roofline_s : float
        By the roofline alone.
    own_s : float
        The sum of the model's own measured operators: what a table without gaps predicts.
    layers : Counter of CostLayer
        Operators by the layer that ``predicted_s`` took their times from.
    """

    name: str
    measured_s: float
    predicted_s: float
    roofline_s: float
    own_s: float
    layers: Counter[CostLayer]

    @property
    def error(self) -> float:
        """Relative error of ``predicted_s``; positive where it is too long."""
        return relative_error(self.measured_s, self.predicted_s)

    @property
    def roofline_error(self) -> float:
        """Relative error of ``roofline_s``."""
        return relative_error(self.measured_s, self.roofline_s)


class Accuracy(NamedTuple):
    """Median absolute relative error, and Spearman's rank correlation, of predicted latencies."""

    median_error: float
    rank_correlation: float


def predict_each(models: Sequence[MeasuredModel]) -> list[Prediction]:
    """Predict each model from all the others; none of its own measurements are used."""
    return [_predicted(model, [m for m in models if m is not model]) for model in models]


def relative_error(measured_s: float, predicted_s: float) -> float:
    """Predicted minus measured over measured."""
    # A model of views alone may take no time that the clock sees.
    return (predicted_s - measured_s) / max(measured_s, _SHORTEST_S)


def accuracy(measured: Sequence[float], predicted: Sequence[float]) -> Accuracy:
    """Compare latencies, at least two of each."""
    errors = [abs(relative_error(m, p)) for m, p in zip(measured, predicted, strict=True)]
    return Accuracy(float(np.median(errors)), rank_correlation(measured, predicted))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: the linear correlation of ranks, ties sharing the mean of theirs.

    0 where all values of one side are equal.
    """
    a, b = (_ranks(np.asarray(values, dtype=float)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    smaller = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return smaller + (equal - 1) / 2


def _predicted(model: MeasuredModel, others: Sequence[MeasuredModel]) -> Prediction:
    known: dict[str, Sample] = {}
    for other in others:
        known.update(other.samples)
    fits, roofline = fit_classes(known.values()), fit_roofline(list(known.values()))
    predicted = by_roofline = own = 0.0
    layers: Counter[CostLayer] = Counter()
    for signature, count in model.operators.items():
        sample = model.samples[signature]
        guess = roofline.seconds(sample)
        if signature in known:
            layer, seconds = CostLayer.MEASURED, known[signature].seconds
        elif sample.kind in fits:
            layer = CostLayer.FITTED
            seconds = fits[sample.kind].seconds(sample.macs, sample.vector_ops, sample.size_bytes)
        else:
            layer, seconds = CostLayer.ROOFLINE, guess
        layers[layer] += count
        predicted += count * seconds
        by_roofline += count * guess
        own += count * sample.seconds
    return Prediction(model.name, model.seconds, predicted, by_roofline, own, layers)
