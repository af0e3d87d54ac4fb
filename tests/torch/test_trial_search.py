"""Which plans are tried where only a trial tells the true peak: against brute force."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from planner.torch.trial_search import cheapest_that_fits

LATER = float("inf")


def searched(peaks, true_peaks, budget, first, until=LATER):
    tried = []

    def trial(position):
        tried.append(position)
        return true_peaks[position]

    return cheapest_that_fits(peaks, budget, first, trial, until=until), tried


@st.composite
def plans(draw, most=40):
    steps = draw(st.lists(st.integers(1, 50), min_size=1, max_size=most))
    peaks = [1000 + sum(steps[i:]) for i in range(len(steps))]
    return peaks, draw(st.integers(0, len(peaks) - 1)), draw(st.integers(900, 2500))


@given(plans(), st.data())
def test_what_is_chosen_was_tried_and_fits(drawn, data):
    peaks, first, budget = drawn
    true_peaks = [peak + data.draw(st.integers(-400, 400)) for peak in peaks]
    chosen, tried = searched(peaks, true_peaks, budget, first)
    assert len(tried) == len(set(tried)) <= 13
    assert tried[0] == first
    fitting = [i for i in tried if true_peaks[i] <= budget]
    assert chosen == min(fitting, default=None)


@given(plans(most=12), st.data())
def test_few_plans_that_seem_near_the_budget_are_all_tried_before_it_is_given_up(drawn, data):
    peaks, first, budget = drawn
    true_peaks = [peak + data.draw(st.integers(-400, 400)) for peak in peaks]
    chosen, tried = searched(peaks, true_peaks, budget, first)
    if chosen is None:
        assert {i for i, peak in enumerate(peaks) if peak <= 1.25 * budget} <= set(tried)


@given(plans(), st.floats(0.7, 1.3), st.integers(-300, 300))
def test_where_true_peaks_fall_the_cheapest_that_fits_or_one_close_to_the_budget(
    drawn, factor, offset
):
    peaks, first, budget = drawn
    true_peaks = [int(factor * peak) + offset for peak in peaks]
    chosen, tried = searched(peaks, true_peaks, budget, first)
    fitting = [i for i, peak in enumerate(true_peaks) if peak <= budget]
    if not fitting:
        assert chosen is None
    elif len(tried) < 12:
        assert chosen is not None
        assert chosen == fitting[0] or true_peaks[chosen] >= 0.99 * budget


def test_a_constant_difference_is_found_in_the_second_trial():
    peaks = list(range(3000, 1000, -10))
    chosen, tried = searched(peaks, [peak - 300 for peak in peaks], 2000, 100)
    assert tried == [100, 70]
    assert chosen == 70


def test_without_time_the_first_and_the_smallest_plan_are_tried():
    peaks = [1400, 1300, 1200, 1100]
    chosen, tried = searched(peaks, [1400, 1300, 1200, 900], 1000, 1, until=time.monotonic())
    assert (chosen, tried) == (3, [1, 3])
    chosen, tried = searched(peaks, [1000, 900, 800, 700], 1000, 1, until=time.monotonic())
    assert (chosen, tried) == (1, [1])


def test_plans_far_above_a_budget_are_not_tried():
    peaks = [1400, 1300, 1200, 1100]
    assert searched(peaks, peaks, 100, 3) == (None, [3])
