"""Predictions from other models: what they may use, and the two figures about them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.calibration.leave_one_out import accuracy, predict_each, rank_correlation
from planner.measured import CostLayer

from .calibration_samples import measured_model, sample

SIZES = (100, 200, 400, 800, 1_600, 3_200)


def test_models_on_the_same_lines_predict_each_other():
    models = [
        measured_model(
            f"m{i}", *(sample(kind, size + i) for kind in ("Conv", "Relu") for size in SIZES)
        )
        for i in range(4)
    ]
    for prediction in predict_each(models):
        assert prediction.layers == {CostLayer.FITTED: 2 * 2 * len(SIZES)}
        assert prediction.predicted_s == pytest.approx(prediction.measured_s, rel=0.05)
        assert prediction.own_s == pytest.approx(prediction.measured_s)


def test_a_models_own_measurements_are_left_out():
    shared, own = sample("Relu", 100), sample("Relu", 5_000)
    wrong = own._replace(seconds=100 * own.seconds)
    others = [measured_model("other", shared, *(sample("Relu", size) for size in SIZES))]
    told, lied = (
        predict_each([measured_model("asked", shared, s), *others])[0] for s in (own, wrong)
    )
    assert told.predicted_s == lied.predicted_s
    assert told.layers == {CostLayer.MEASURED: 2, CostLayer.FITTED: 2}


def test_shared_operators_are_taken_from_the_other_models_table():
    mine, theirs = sample("Relu", 100), replace_seconds(sample("Relu", 100), 1.0)
    first, second = predict_each([measured_model("a", mine), measured_model("b", theirs)])
    assert first.predicted_s == 2.0
    assert second.predicted_s == 2 * mine.seconds
    assert second.error == pytest.approx(mine.seconds - 1)


def test_classes_never_seen_fall_to_the_roofline():
    models = [
        measured_model("convolves", *(sample("Conv", size) for size in SIZES)),
        measured_model("moves", *(sample("Transpose", size) for size in SIZES)),
    ]
    for prediction in predict_each(models):
        assert set(prediction.layers) == {CostLayer.ROOFLINE}
        assert prediction.predicted_s == prediction.roofline_s


def test_accuracy_by_hand():
    found = accuracy([1.0, 2.0, 4.0], [1.1, 1.0, 6.0])
    assert found.median_error == pytest.approx(0.5)
    assert found.rank_correlation == pytest.approx(0.5)


def test_a_model_that_takes_no_time_is_no_division_by_zero():
    empty = replace(measured_model("empty"), seconds=0.0)
    predictions = predict_each([empty, measured_model("other", sample("Relu", 100))])
    assert predictions[0].error == 0.0


def test_ties_share_their_ranks():
    assert rank_correlation([1, 1, 2, 2], [1, 1, 2, 2]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [1, 1, 1, 1]) == 0.0
    # ranks 0.5 0.5 2 against 0 1 2: covariance 1.5 over sqrt(1.5 * 2)
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(1.5 / 3**0.5)


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=9, unique=True))
def test_rank_correlation_sees_order_alone(values):
    squared = [value**2 for value in values]
    if len(set(squared)) == len(values):
        assert rank_correlation(values, squared) == pytest.approx(1.0)
    assert rank_correlation(values, [-value for value in values]) == pytest.approx(-1.0)


def replace_seconds(old, seconds):
    return old._replace(seconds=seconds)
