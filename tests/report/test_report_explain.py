"""`plan explain`: the peak, a step, a tensor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import UsageError
from planner.report.explain import render_explanation
from planner.report.occupancy import live_at, occupancies

PEAK = """\
model     chain12.onnx   target mcu   greedy (feasible)
peak      602,112 B (588 KiB) of sram at step 3 of 12: add_3 (Add)
arena     752,640 B (735 KiB), 150,528 B of it lost to packing
capacity  809,984 B (791 KiB)
bound     602,112 B (588 KiB), reached

live in sram at step 3: 602,112 B (588 KiB) in 3 placements
  name    bytes   share  steps   address             kind        at this step
  t2    225,792  37.5 %  [2, 4)  [301,056, 526,848)  activation  read
  t3    225,792  37.5 %  [3, 8)  [526,848, 752,640)  activation  written
  t0    150,528  25.0 %  [0, 4)  [150,528, 301,056)  activation  read

what would have to change
  The peak equals the proven lower bound, and one operator alone sets it:
    add_3 (Add): inputs 376,320 + outputs 225,792 = 602,112 B
  Every live byte is an operand of this step: only smaller operands (another shape or
  element type), a split operator or an in-place output lower it.
  The next lower level of the other steps is 526,848 B."""


def test_the_peak_is_explained_down_to_its_addresses(small) -> None:
    assert render_explanation(small.plan, small.graph) == PEAK


def test_without_the_graph_nothing_is_claimed_about_readers(spilling) -> None:
    text = render_explanation(spilling.plan)
    assert "are not operands" not in text
    assert "neither begin nor end at this step" in text


def test_bystanders_of_the_peak_are_named_with_their_bytes(spilling) -> None:
    text = render_explanation(spilling.plan, spilling.graph)
    assert "900,000 B of the peak (42.9 %) are not operands of this step" in text
    assert "t92  900,000 B, held for steps [92, 96)" in text


def test_a_bound_set_by_no_single_operator_is_said_to_follow_from_the_order(make_plan) -> None:
    graph, plan = make_plan(60, seed=2)
    near = occupancies(plan)[0]
    above = replace(plan.metrics, peak_lower_bound_bytes=near.peak_bytes)
    text = render_explanation(replace(plan, metrics=above), graph)
    assert "No single\n  operator needs that much" in text


def test_every_live_storage_of_a_step_is_listed_with_both_memories(spilling) -> None:
    plan = spilling.plan
    near, far = occupancies(plan)
    step = next(t for t in range(len(plan.order)) if far.live_bytes[t])
    text = render_explanation(plan, spilling.graph, step=step)
    for occupancy in (near, far):
        assert f"live in {occupancy.memory.name} at step {step}" in text
        for entry in live_at(plan, occupancy, step):
            assert f"  {plan.storages[plan.placements[entry.placement].storage].name} " in text


def test_a_step_shows_its_operands_and_what_is_written_in_place(small) -> None:
    text = render_explanation(small.plan, small.graph, step=5)
    assert "step      5 of 12: relu_5 (Relu), operator 5 of the model" in text
    assert "reads     t4  56448 float32  225,792 B  sram [0, 225,792), last step" in text
    assert "in place  t5 over t4" in text
    assert "in place  [4, 6)" in text


def test_transfers_around_a_step_are_listed(spilling) -> None:
    spill = next(t for t in spilling.plan.transfers if t.kind.value == "spill")
    text = render_explanation(spilling.plan, spilling.graph, step=spill.start)
    name = spilling.plan.storages[spill.storage].name
    assert f"spill {name}" in text
    assert f"sram to dram, before step {spill.start}" in text


def test_a_tensor_shows_users_places_neighbours_and_moves(spilling) -> None:
    spill = next(t for t in spilling.plan.transfers if t.kind.value == "spill")
    name = spilling.plan.storages[spill.storage].name
    lines = render_explanation(spilling.plan, spilling.graph, tensor=name).splitlines()
    starts = [line[:10].strip() for line in lines]
    assert [start for start in starts if start] == [
        "model", "tensor", "storage", "written", "read", "place", "moves"
    ]  # fmt: skip
    places = [line for line in lines if "steps [" in line and ", 1" not in line[:10]]
    assert sum("dram [" in line for line in places) == 1
    assert sum("sram [" in line for line in places) == 2
    assert any("above it" in line or "below it" in line for line in lines)


def test_a_constant_is_no_part_of_the_arena(small) -> None:
    assert "no part of the arena" in render_explanation(small.plan, small.graph, tensor="weight")


def test_an_unknown_tensor_is_refused_with_the_nearest_name(small) -> None:
    with pytest.raises(UsageError, match=r"--tensor weigth: .* Did you mean weight\?"):
        render_explanation(small.plan, tensor="weigth")


@pytest.mark.parametrize("step", [-1, 12])
def test_an_unknown_step_is_refused_with_the_number_of_steps(small, step) -> None:
    with pytest.raises(UsageError, match="has 12 steps, numbered from 0"):
        render_explanation(small.plan, step=step)


def test_hostile_names_stay_on_their_line(make_plan) -> None:
    graph, plan = make_plan(8, prefix="\x1b[2J\n")
    for text in (render_explanation(plan, graph), render_explanation(plan, graph, step=3)):
        assert "\x1b" not in text
        assert "\\n" in text
