"""Fits of synthetic measurements: known coefficients come back."""

from __future__ import annotations

from itertools import product
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.calibration.calibrate import target_of
from planner.calibration.fit import fit_classes, fit_roofline, nonnegative_least_squares
from planner.calibration.measure import Sample

from .calibration_samples import LINES, sample

SIZES = (100, 300, 1_000, 3_000, 10_000)


@pytest.mark.parametrize("kind", LINES)
def test_coefficients_of_exact_lines_come_back(kind):
    fit = fit_classes([sample(kind, size) for size in SIZES])[kind]
    for size in (50, 777, 30_000):
        held_out = sample(kind, size)
        predicted = fit.seconds(held_out.macs, held_out.vector_ops, held_out.size_bytes)
        assert predicted == pytest.approx(held_out.seconds, rel=0.05)


def test_each_class_has_its_own_line():
    fits = fit_classes([sample(kind, size) for kind in LINES for size in SIZES])
    assert set(fits) == set(LINES)
    slow, fast = fits["Conv depthwise"].mac_rate, fits["Conv"].mac_rate
    assert slow == pytest.approx(4e9, rel=0.05)
    assert fast == pytest.approx(5e10, rel=0.05)


def test_a_single_sample_is_met_and_grows_with_its_work():
    alone = sample("Conv", 1_000)
    fits = fit_classes([alone, sample("Relu", 10)])
    fit = fits["Conv"]
    assert fit.seconds(alone.macs, 0, alone.size_bytes) == pytest.approx(alone.seconds, rel=0.01)
    larger = fit.seconds(100 * alone.macs, 0, 100 * alone.size_bytes)
    assert larger == pytest.approx(100 * alone.seconds, rel=0.1)


def test_times_below_the_clock_do_not_rule_a_fit():
    measured = [sample("Relu", size) for size in SIZES]
    silent = measured[0]._replace(signature="silent", seconds=0.0)
    fit = fit_classes([*measured, silent])["Relu"]
    large = measured[-1]
    predicted = fit.seconds(0, large.vector_ops, large.size_bytes)
    assert predicted == pytest.approx(large.seconds, rel=0.2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4))
def test_no_nonnegative_coefficients_on_a_grid_are_better(seed, rows, columns):
    rng = np.random.default_rng(seed)
    matrix, target = rng.normal(size=(rows, columns)), rng.normal(size=rows)
    found = nonnegative_least_squares(matrix, target)
    assert (found >= 0).all()
    least = np.sum((matrix @ found - target) ** 2)
    for point in product(np.linspace(0, 2, 6), repeat=columns):
        assert least <= np.sum((matrix @ np.array(point) - target) ** 2) + 1e-9


def test_no_column_that_helps_gives_zeros():
    found = nonnegative_least_squares(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([-1.0, -2.0]))
    assert found.tolist() == [0.0, 0.0]


def rooflined(index: int, macs: int, vector_ops: int, size_bytes: int, dtype: str) -> Sample:
    rate = 4e10 if dtype == "float32" else 1.6e11
    seconds = 2e-6 + max(macs / rate, vector_ops / 2e9, size_bytes / 1.5e10)
    return Sample(str(index), "Any", dtype, macs, vector_ops, size_bytes, seconds)


def test_rates_of_an_exact_roofline_come_back():
    rng = np.random.default_rng(5)
    work = 10 ** rng.uniform(3, 9, size=(300, 3))
    samples = [
        rooflined(i, *(int(w) for w in row), dtype)
        for i, (row, dtype) in enumerate(zip(work, ["float32", "int8"] * 150, strict=True))
    ]
    found = fit_roofline(samples)
    expected = {"float32": 4e10, "int8": 1.6e11}
    for dtype, rate in expected.items():
        assert abs(log(found.mac_rate[dtype] / rate)) < 0.05
    assert abs(log(found.vector_rate / 2e9)) < 0.05
    assert abs(log(found.bandwidth / 1.5e10)) < 0.05
    assert found.overhead_s == pytest.approx(2e-6, rel=0.1)
    assert found.mac_rate["default"] in expected.values() or found.mac_rate["default"] > 0


def test_a_calibrated_target_has_every_rate_even_without_products():
    target = target_of([sample("Relu", 10)], name="tiny")
    assert target.compute is not None
    assert target.compute.mac_rate["default"] > 0
    assert target.compute.vector_rate > 0
    assert target.nearest.read_bandwidth
    assert target.nearest.alignment_bytes == 64


def test_operators_that_take_no_time_give_no_endless_rates():
    found = fit_roofline([sample("Relu", 10)._replace(seconds=0.0)])
    assert found.vector_rate < 1e14
    assert found.bandwidth < 1e15
