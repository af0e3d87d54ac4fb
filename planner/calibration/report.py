"""What a calibration found, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.calibration.leave_one_out import accuracy
from planner.measured import CostLayer
from planner.report.names import printable
from planner.report.quantities import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.calibration.calibrate import Calibration
    from planner.calibration.leave_one_out import Accuracy, Prediction

FORMAT = "planner.calibration"
_NAME_WIDTH = 28


def calibration_text(calibration: Calibration) -> str:
    """Return the report of ``plan calibrate``, without the file written."""
    return "\n".join(_lines(calibration))


def calibration_object(calibration: Calibration) -> dict[str, Any]:
    """Return the JSON object of ``plan calibrate --json``. Times in seconds, errors relative."""
    compute = calibration.target.compute
    measured = compute.measured if compute else None
    found = _accuracies(calibration)
    return {
        "format": FORMAT,
        "version": 1,
        "target": calibration.target.name,
        "source": measured.source if measured else "",
        "operators": len(measured.seconds) if measured else 0,
        "models": [
            {
                "name": p.name,
                "measured_s": p.measured_s,
                "predicted_s": p.predicted_s,
                "error": p.error,
                "roofline_s": p.roofline_s,
                "roofline_error": p.roofline_error,
                "own_operators_s": p.own_s,
                "operators": {layer.value: p.layers[layer] for layer in CostLayer},
            }
            for p in calibration.predictions
        ],
        "median_error": found[0].median_error if found else None,
        "rank_correlation": found[0].rank_correlation if found else None,
        "roofline_median_error": found[1].median_error if found else None,
        "roofline_rank_correlation": found[1].rank_correlation if found else None,
        "own_operators_median_error": found[2].median_error if found else None,
        "own_operators_rank_correlation": found[2].rank_correlation if found else None,
        "skipped": [{"name": s.name, "reason": s.reason} for s in calibration.skipped],
    }


def _accuracies(calibration: Calibration) -> tuple[Accuracy, Accuracy, Accuracy] | None:
    """Of the table, the roofline alone, and a table without gaps; None if no two models."""
    predictions = calibration.predictions
    if not predictions:
        return None
    measured = [p.measured_s for p in predictions]
    return (
        accuracy(measured, [p.predicted_s for p in predictions]),
        accuracy(measured, [p.roofline_s for p in predictions]),
        accuracy(measured, [p.own_s for p in predictions]),
    )


def _lines(calibration: Calibration) -> Iterator[str]:
    compute = calibration.target.compute
    if compute is not None and compute.measured is not None:
        count, models = len(compute.measured.seconds), len(calibration.models)
        yield f"measured  {count:,} distinct operators of {models:,} model{'s' * (models != 1)}"
        yield f"with      {compute.measured.source}"
        yield (
            f"roofline  {compute.mac_rate['default']:.3g} MACs/s, {compute.vector_rate:.3g} "
            f"element operations/s, {calibration.target.nearest.read_bandwidth:.3g} bytes/s, "
            f"{format_seconds(compute.launch_overhead_s)} an operator"
        )
    found = _accuracies(calibration)
    if found is None:
        yield "predicted nothing: leaving one model out takes two models"
        return
    yield ""
    yield "Each model predicted from all the others:"
    yield (
        f"{'model':<{_NAME_WIDTH}} {'measured':>10} {'predicted':>10} {'error':>8} "
        f"{'roofline':>10} {'error':>8}  operators measured/fitted/roofline"
    )
    for prediction in calibration.predictions:
        yield _row(prediction)
    labels = ("table and fits", "roofline alone", "each model's own operators, added up")
    for label, accuracy_ in zip(labels, found, strict=True):
        yield (
            f"{label}: median error {accuracy_.median_error:.1%}, "
            f"rank correlation {accuracy_.rank_correlation:.3f}"
        )


def _row(prediction: Prediction) -> str:
    layers = "/".join(f"{prediction.layers[layer]:,}" for layer in CostLayer)
    return (
        f"{printable(prediction.name, _NAME_WIDTH):<{_NAME_WIDTH}} "
        f"{format_seconds(prediction.measured_s):>10} {format_seconds(prediction.predicted_s):>10} "
        f"{prediction.error:>+8.1%} {format_seconds(prediction.roofline_s):>10} "
        f"{prediction.roofline_error:>+8.1%}  {layers}"
    )
