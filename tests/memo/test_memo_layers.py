"""Repeated layers are found from lifetimes alone, exactly, and only where they are."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner
from frontends import zoo
from planner.liveness import storage_lifetimes
from planner.problem import OffsetProblem
from solvers.offsets.layers import find_layers

from .training_traces import training_trace


def problem_of(rows):
    """Rows of (lower, upper, size)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    columns = (np.ascontiguousarray(column) for column in table.T)
    return OffsetProblem(*columns, np.ones(len(table), dtype=np.int64))


def found_in(trace):
    names = trace.names()
    return [
        [frozenset(names[buffer] for buffer in layer) for layer in kind.buffers.tolist()]
        for kind in find_layers(trace.problem())
    ]


def assert_are_layers(problem, kinds):
    """Disjoint in time and buffers; equal in sizes, alignments and who is alive with whom."""

    def meet(first, second):
        return (
            problem.lower[first] < problem.upper[second]
            and problem.lower[second] < problem.upper[first]
        )

    spans = []
    for kind in kinds:
        layers, transients = kind.buffers.shape
        assert layers >= 2 and transients >= 2
        for layer in kind.buffers.tolist():
            spans.append((min(problem.lower[layer]), max(problem.upper[layer])))
            for i in range(transients):
                assert problem.size[layer[i]] == problem.size[kind.buffers[0, i]]
                assert problem.alignment[layer[i]] == problem.alignment[kind.buffers[0, i]]
                for j in range(i):
                    on_the_clock = kind.lower[i] < kind.upper[j] and kind.lower[j] < kind.upper[i]
                    assert meet(layer[i], layer[j]) == on_the_clock
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    everyone = [buffer for kind in kinds for buffer in kind.buffers.ravel().tolist()]
    assert len(set(everyone)) == len(everyone)


@pytest.mark.parametrize("seed", range(60))
def test_the_layers_of_a_training_step_are_recovered_exactly(seed):
    trace = training_trace(
        seed, 2 + seed % 12, transients=3 + seed % 7, saved=seed % 5, without_backward=seed % 6 == 5
    )
    assert found_in(trace) == [kind for kind in trace.layers if kind]


def test_many_large_layers_are_recovered_exactly():
    trace = training_trace(5, 48, transients=30, saved=8)
    assert found_in(trace) == trace.layers


def test_passes_of_gradient_accumulation_are_not_taken_for_layers():
    trace = training_trace(5, 8, transients=9, passes=3)
    kinds = find_layers(trace.problem())
    assert_are_layers(trace.problem(), kinds)
    assert max(kind.buffers.shape[1] for kind in kinds) <= 11
    assert sum(len(kind.buffers) for kind in kinds) >= 46


@pytest.mark.parametrize("seed", range(8))
def test_a_layer_that_saves_a_tensor_more_is_still_equal_to_the_others(seed):
    trace = training_trace(seed, 8)
    events = list(trace.events)
    for layer, size in ((0, 24), (7, 40)):
        first = next(i for i, event in enumerate(events) if f".f{layer}." in event[1])
        events.insert(first + 2, ("malloc", f"extra{layer}", size))
        events.append(("free", f"extra{layer}", 0))
    assert found_in(trace._replace(events=events)) == trace.layers


@pytest.mark.parametrize("seed", range(8))
def test_a_first_layer_with_a_transient_more_does_not_spoil_the_others(seed):
    trace = training_trace(seed, 8)
    events = list(trace.events)
    events.insert(2, ("malloc", "mask", 8))
    events.insert(5, ("free", "mask", 0))
    kinds = found_in(trace._replace(events=events))
    assert trace.layers[1] in kinds
    covered = frozenset().union(*(layer for kind in kinds for layer in kind))
    assert len(covered & frozenset().union(*trace.layers[0][1:])) >= 0.9 * 7 * 6


@pytest.mark.parametrize("network", ["bert_base", "gpt2_prefill", "gpt2_decode"])
def test_the_twelve_layers_of_real_transformers_are_found(network, tmp_path):
    model = tmp_path / f"{network}.onnx"
    model.write_bytes(zoo.build(network).SerializeToString())
    graph = planner.load(model)
    lifetimes = storage_lifetimes(graph, range(len(graph.operators)))
    rows = [
        (start, end, storage.size_bytes)
        for storage, start, end in zip(graph.storages, lifetimes.start, lifetimes.end, strict=True)
        if start < end and storage.size_bytes
    ]
    kinds = find_layers(problem_of(rows))
    assert_are_layers(problem_of(rows), kinds)
    assert [len(kind.buffers) for kind in kinds] == [12]
    assert kinds[0].buffers.shape[1] >= 20


def test_residual_streams_that_cross_the_borders_do_not_hide_the_layers():
    rows = []
    for layer in range(10):
        start = 20 * layer
        rows += [
            (start + 2, start + 9, 50),
            (start + 4, start + 6, 30),
            (start + 8, start + 15, 70),
        ]
        # Born in this layer, read in the next one.
        rows.append((start + 14, start + 25, 11))
    kinds = find_layers(problem_of(rows))
    assert_are_layers(problem_of(rows), kinds)
    assert len(kinds[0].buffers) >= 9


def test_equal_layers_far_apart_between_others_are_found():
    rng = random.Random(1)
    rows, time = [], 0
    layer = [(0, 5, 40), (1, 3, 24), (2, 7, 16), (4, 6, 8)]
    for _ in range(6):
        rows += [(time + lower, time + upper, size) for lower, upper, size in layer]
        time += 10
        for _ in range(rng.randint(1, 5)):
            rows.append((time, time + rng.randint(2, 9), rng.randint(1000, 9000)))
            time += 3
        time += 12
    kinds = find_layers(problem_of(rows))
    assert [kind.buffers.shape for kind in kinds] == [(6, 4)]


@pytest.mark.parametrize("seed", range(10))
def test_names_order_and_clock_do_not_matter(seed):
    trace = training_trace(seed, 7)
    problem = trace.problem()
    order = np.random.default_rng(seed).permutation(len(problem.size))
    shuffled = OffsetProblem(
        problem.lower[order] * 3 - 1000,
        problem.upper[order] * 3 - 1000,
        problem.size[order] * 7,
        problem.alignment[order],
    )
    expected = [set(map(frozenset, kind.buffers.tolist())) for kind in find_layers(problem)]
    kinds = find_layers(shuffled)
    assert [set(map(frozenset, order[kind.buffers].tolist())) for kind in kinds] == expected


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_where_no_two_buffers_are_equal(seed):
    rng = random.Random(seed)
    rows = [(t, t + rng.randint(1, 9), 100 + i) for i, t in enumerate(rng.choices(range(99), k=60))]
    assert find_layers(problem_of(rows)) == ()


def test_layers_of_one_buffer_are_none():
    assert find_layers(problem_of([(2 * i, 2 * i + 1, 64) for i in range(50)])) == ()
    assert find_layers(problem_of([])) == ()
    assert find_layers(problem_of([(0, 1, 1)] * 10)) == ()


def test_other_alignments_make_other_layers():
    trace = training_trace(2, 8)
    problem = trace.problem()
    alignment = [64 if name[2:4] in ("f0", "f1", "f2", "f3") else 8 for name in trace.names()]
    changed = OffsetProblem(problem.lower, problem.upper, problem.size, np.array(alignment))
    kinds = find_layers(changed)
    assert_are_layers(changed, kinds)
    assert [kind.buffers.shape for kind in kinds] == [(4, 6), (4, 6), (8, 7)]


buffer_rows = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 5), st.sampled_from([8, 16])).map(
        lambda row: (row[0], row[0] + row[1], row[2])
    ),
    max_size=40,
)


@given(buffer_rows)
@settings(max_examples=100, deadline=None)
def test_whatever_is_found_is_equal_and_disjoint(rows):
    assert_are_layers(problem_of(rows), find_layers(problem_of(rows)))


def test_a_request_to_stop_is_heard():
    assert find_layers(training_trace(0, 5).problem(), stop=lambda: True) == ()
