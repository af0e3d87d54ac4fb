"""Programs made from programs stay what they are a part of: capacities, crops, repetitions."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from frontends import zoo
from planner.api import load
from planner.bench.latency_networks import CHIP, NETWORKS, zoo_problem
from planner.bench.latency_programs import chosen_programs
from planner.mapping_problem import Residency
from planner.mapping_replay import replay
from planner.problem import Objective, PlanningProblem
from planner.target_file import read_target
from rl.programs import jittered, perturbed
from solvers.mapping.decoders import STATIC_DECODES, StaticDecodes
from solvers.mapping.program import mapping_program
from solvers.mapping.variants import cropped, repeated, with_capacity
from solvers.protocol import Deadline

NAMES = {network.graph: network for network in NETWORKS}


def whole(name):
    network = NAMES[name]
    return zoo_problem(network, network.chip[0], CHIP)


def mapped(problem, decodes=STATIC_DECODES[4:16:3]):
    solution = StaticDecodes(decodes).solve(problem, deadline=Deadline(60)).solution
    assert replay(problem, solution.residencies) == solution.latency
    return solution


def same(left, right):
    for field in fields(left):
        np.testing.assert_array_equal(
            getattr(left, field.name), getattr(right, field.name), err_msg=field.name
        )


@pytest.mark.parametrize(("name", "share"), [("unet", 0.02), ("unet", 0.3), ("bert_base", 0.001)])
def test_less_memory_is_what_lowering_for_less_memory_gives(name, share):
    problem = whole(name)
    capacity = int(problem.capacity * share)
    graph = load(zoo.build(name, dtype="bfloat16"), parameters=True)
    target = read_target(CHIP).with_capacities({"cmem": capacity})
    stated = PlanningProblem(graph, target, Objective.LATENCY)
    same(
        with_capacity(problem, capacity),
        mapping_program(stated, range(len(graph.operators))).problem,
    )


def test_more_memory_than_the_program_had_is_refused():
    problem = whole("unet")
    with pytest.raises(ValueError, match="more than the program's"):
        with_capacity(problem, problem.capacity + 512)


@pytest.mark.parametrize(
    ("name", "start", "end", "share"),
    [
        ("unet", 0, 49, 0.1),
        ("unet", 10, 40, 0.05),
        ("resnet50", 30, 90, 0.05),
        ("gpt2_decode", 100, 160, 0.1),
        ("densenet121", 200, 300, 0.02),
        ("randwire", 40, 120, 0.02),
    ],
)
def test_mapping_of_a_crop_is_legal_and_worth_as_much_in_the_whole(name, start, end, share):
    problem = whole(name)
    problem = with_capacity(problem, int(problem.capacity * share))
    mapped(cropped(problem, start, end))
    # Set-ups are told from the shortest rows, which are longer where less is offered.
    problem = replace(problem, setup_in=0, setup_out=0)
    crop = cropped(problem, start, end)
    solution = mapped(crop)
    assert solution.latency < crop.all_slow
    rows = [problem.access_row[problem.accesses_of.row(b)] for b in range(problem.buffers)]
    writes = [problem.writes[problem.accesses_of.row(b)] for b in range(problem.buffers)]
    kept = []
    for buffer, (at, writing) in enumerate(zip(rows, writes, strict=True)):
        inside = (at >= start) & (at < end)
        if inside.any() and not (writing[inside].any() and at[-1] >= end):
            kept.append((buffer, int(np.argmax(inside))))
    assert len(kept) == crop.buffers
    put_back = [
        Residency(
            kept[r.buffer][0],
            r.first + kept[r.buffer][1],
            r.last + kept[r.buffer][1],
            r.start + start,
            r.end + start,
            r.offset,
        )
        for r in solution.residencies
    ]
    assert replay(problem, put_back) == problem.all_slow - crop.all_slow + solution.latency


def test_what_is_needed_after_a_crop_is_not_offered():
    problem = whole("unet")
    crop = cropped(problem, 0, 2)
    needed = problem.access_buffer[(problem.access_row >= 2)]
    made = problem.access_buffer[(problem.access_row < 2) & problem.writes]
    assert set(made) & set(needed)
    assert not (crop.writes & crop.has_copy[crop.access_buffer]).any()
    assert crop.all_slow == problem.row_times(np.zeros(problem.accesses, dtype=bool))[:2].sum()


def test_rows_that_a_program_does_not_have_cannot_be_cropped():
    for start, end in ((-1, 3), (3, 3), (0, 50)):
        with pytest.raises(ValueError, match="rows"):
            cropped(whole("unet"), start, end)


def test_repeated_programs_share_weights_and_make_the_rest_anew():
    problem = whole("unet")
    thrice = repeated(problem, 3)
    made = int((~problem.has_copy).sum())
    assert (thrice.rows, thrice.buffers) == (3 * problem.rows, problem.buffers + 2 * made)
    assert (thrice.all_slow, thrice.all_fast) == (3 * problem.all_slow, 3 * problem.all_fast)
    assert sorted(zip(thrice.access_row, thrice.access_buffer, strict=True)) == list(
        zip(thrice.access_row, thrice.access_buffer, strict=True)
    )
    same(repeated(problem, 1), problem)
    weight = saved = 0
    weights = problem.access_buffer[problem.has_copy[problem.access_buffer]][20:].tolist()
    for weight in weights:  # in a compute-bound row it saves nothing
        saved = problem.all_slow - replay(problem, [Residency(weight, 0, 0, 0, problem.rows, 0)])
        if saved:
            break
    assert len(thrice.accesses_of.row(weight)) == 3
    fetched_once = [Residency(weight, 0, 2, 0, thrice.rows, 0)]
    assert replay(thrice, fetched_once) == thrice.all_slow - 3 * saved < thrice.all_slow
    mapped(thrice)


@pytest.mark.parametrize("seed", range(8))
def test_perturbed_programs_are_reproducible_legal_and_have_something_to_gain(seed):
    graphs = ["densenet121", "unet", "gpt2_decode", "bert_base"]
    problem = chosen_programs("quick", graphs)[seed % len(graphs)].build()
    drawn = perturbed(problem, np.random.default_rng(seed))
    same(drawn, perturbed(problem, np.random.default_rng(seed)))
    assert drawn.rows <= problem.rows
    assert drawn.all_slow >= 1.02 * drawn.all_fast
    assert drawn.size.max() <= drawn.capacity
    assert not (drawn.size % drawn.alignment).any()
    mapped(drawn)


def test_jitter_keeps_the_graph_and_the_memory():
    problem = whole("unet")
    drawn = jittered(problem, np.random.default_rng(1))
    np.testing.assert_array_equal(drawn.access_buffer, problem.access_buffer)
    assert drawn.capacity == problem.capacity
    assert (drawn.arithmetic != problem.arithmetic).any() and (drawn.size != problem.size).any()
    assert (drawn.slow >= drawn.fast).all()
