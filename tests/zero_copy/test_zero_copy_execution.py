"""Plans with zero copy hold when the model runs in them: every operand compared, bit for bit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner
from frontends.onnx.variants import load_variants
from planner.target import Memory, Target

from .chopped_models import chopped_models, dense_block, early_part, late_join

pytest.importorskip("onnxruntime")

TARGET = Target("here", (Memory("ram", None, alignment_bytes=16),))


@pytest.mark.parametrize("made", [late_join(), early_part(), dense_block(layers=6, rows=4)])
def test_what_is_chosen_runs(made):
    plan = planner.plan(made, target=TARGET, zero_copy=True).plan
    assert planner.execute(made, plan).verdict == "exact"


@settings(max_examples=25, deadline=None)
@given(made=chopped_models(), data=st.data())
def test_any_choice_runs(made, data):
    names = [candidate.name for candidate in load_variants(made, alignment_bytes=16).candidates]
    wanted = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    plan = planner.plan(made, target=TARGET, zero_copy=wanted, solvers=["greedy"]).plan
    execution = planner.execute(made, plan)
    assert (execution.verdict, execution.mismatch) == ("exact", None)
