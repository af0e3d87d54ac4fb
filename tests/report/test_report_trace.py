"""The trace: what Perfetto needs to draw it, and that it tells the plan's story."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from planner.report.occupancy import occupancies
from planner.report.trace import render_trace
from planner.simulator import simulate
from planner.target import Compute


def with_rates(planned):
    """Give the target rates at which copies take about as long as operators."""
    memories = tuple(
        replace(memory, read_bandwidth=2e9, write_bandwidth=2e9)
        for memory in planned.plan.target.memories
    )
    target = replace(
        planned.plan.target, memories=memories, compute=Compute({"default": 1e9}, 1e9, 0.0)
    )
    return planned._replace(plan=replace(planned.plan, target=target))


@pytest.fixture(params=["steps", "simulated", "simulated, one memory"])
def traced(request, small, spilling):
    """A plan and its parsed trace, with and without times."""
    if request.param == "steps":
        return spilling.plan, json.loads(render_trace(spilling.plan, None))
    graph, plan = with_rates(spilling if request.param == "simulated" else small)
    timeline = simulate(graph, plan.target, plan)
    return plan, json.loads(render_trace(plan, timeline, graph))


def test_every_buffer_begins_once_and_ends_once_no_earlier(traced) -> None:
    plan, trace = traced
    began: dict[str, float] = {}
    ended: Counter[str] = Counter()
    for event in trace["traceEvents"]:
        if event["ph"] == "b":
            assert event["id"] not in began
            began[event["id"]] = event["ts"]
        elif event["ph"] == "e":
            assert event["ts"] >= began[event["id"]]
            ended[event["id"]] += 1
    assert ended == Counter(dict.fromkeys(began, 1))
    assert len(began) == len(plan.placements)


def test_the_counter_is_the_sum_of_open_buffers_after_every_instant(traced) -> None:
    _, trace = traced
    size: dict[str, int] = {}
    open_bytes: Counter[int] = Counter()
    counted: Counter[int] = Counter()
    events = [e for e in trace["traceEvents"] if e["ph"] in "beC"]
    for at, event in enumerate(events):
        if event["ph"] == "b":
            size[event["id"]] = event["args"]["size"]
            open_bytes[event["pid"]] += size[event["id"]]
        elif event["ph"] == "e":
            open_bytes[event["pid"]] -= size[event["id"]]
        else:
            counted[event["pid"]] = event["args"]["bytes"]
        if at + 1 == len(events) or events[at + 1]["ts"] > event["ts"]:
            assert counted == open_bytes
    assert set(open_bytes.values()) == {0}


def test_without_rates_the_counter_is_the_live_curve(spilling) -> None:
    trace = json.loads(render_trace(spilling.plan, None))
    for pid, occupancy in enumerate(occupancies(spilling.plan), start=1):
        counter = {
            event["ts"]: event["args"]["bytes"]
            for event in trace["traceEvents"]
            if event["ph"] == "C" and event["pid"] == pid
        }
        live = 0
        for step, expected in enumerate(occupancy.live_bytes.tolist()):
            live = counter.get(float(step), live)
            assert live == expected


def test_events_are_sorted_by_time_after_the_metadata(traced) -> None:
    _, trace = traced
    phases = [event["ph"] for event in trace["traceEvents"]]
    first = phases.count("M")
    assert set(phases[:first]) == {"M"}
    times = [event["ts"] for event in trace["traceEvents"][first:]]
    assert times == sorted(times)
    assert min(times) == 0.0


def test_events_of_one_thread_do_not_overlap(traced) -> None:
    _, trace = traced
    until: dict[tuple[int, int], float] = {}
    for event in trace["traceEvents"]:
        if event["ph"] != "X":
            continue
        assert event["ts"] >= until.get((event["pid"], event["tid"]), 0.0) - 1e-5
        until[event["pid"], event["tid"]] = event["ts"] + event["dur"]


def test_every_thread_and_process_has_a_name(traced) -> None:
    _, trace = traced
    events = trace["traceEvents"]
    threads = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    processes = {e["pid"] for e in events if e["name"] == "process_name"}
    assert {(e["pid"], e["tid"]) for e in events if e["ph"] in "Xbe"} <= threads
    assert {e["pid"] for e in events} == processes


def test_every_step_and_transfer_is_drawn_once(traced) -> None:
    plan, trace = traced
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert sorted(e["args"]["step"] for e in slices if "step" in e["args"]) == list(
        range(len(plan.order))
    )
    kinds = Counter(e["name"].split()[0] for e in slices if "boundaries" in e["args"])
    assert kinds == Counter(transfer.kind.value for transfer in plan.transfers)


def test_simulated_times_are_those_of_the_timeline(spilling) -> None:
    graph, plan = with_rates(spilling)
    timeline = simulate(graph, plan.target, plan)
    trace = json.loads(render_trace(plan, timeline))
    assert trace["otherData"]["time"] == "simulated time"
    steps = [e for e in trace["traceEvents"] if e["ph"] == "X" and "step" in e["args"]]
    for event, step in zip(steps, timeline.steps, strict=True):
        assert event["ts"] == pytest.approx(step.start_s * 1e6, abs=1e-5)
        assert event["dur"] == pytest.approx((step.end_s - step.start_s) * 1e6, abs=1e-5)
    last = max(e["ts"] + e.get("dur", 0.0) for e in trace["traceEvents"] if "ts" in e)
    assert last == pytest.approx(timeline.latency_s * 1e6, abs=1e-4)


def test_a_trace_without_rates_says_that_a_step_is_a_microsecond(small) -> None:
    trace = json.loads(render_trace(small.plan, None))
    assert "one step = 1 us" in trace["otherData"]["time"]
    labels = [e["args"]["labels"] for e in trace["traceEvents"] if e["name"] == "process_labels"]
    assert labels == [trace["otherData"]["time"]]


def test_copies_that_overlap_on_one_link_get_rows_of_their_own(spilling) -> None:
    reload = next(t for t in spilling.plan.transfers if t.kind.value == "reload")
    twice = replace(spilling.plan, transfers=(reload, reload))
    events = json.loads(render_trace(twice, None))["traceEvents"]
    assert len({e["tid"] for e in events if e["ph"] == "X" and "boundaries" in e["args"]}) == 2
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {"dma in from dram", "dma in from dram #2"} <= names


def test_the_same_plan_gives_the_same_bytes(spilling) -> None:
    assert render_trace(spilling.plan, None) == render_trace(spilling.plan, None)


def test_hostile_names_are_text_in_the_trace(make_plan) -> None:
    graph, plan = make_plan(8, prefix='"}]\ud800\n')
    trace = json.loads(render_trace(plan, None, graph))
    names = [e["name"] for e in trace["traceEvents"] if e["ph"] == "b"]
    assert '"}]\\ud800\\nimage' in names


def test_a_plan_without_steps_has_a_trace(small) -> None:
    empty = replace(small.plan, order=(), placements=(), in_place=())
    events = json.loads(render_trace(empty, None))["traceEvents"]
    assert {event["ph"] for event in events} == {"M"}
