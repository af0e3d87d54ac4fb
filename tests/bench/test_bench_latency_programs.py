"""The programs of the latency suite: a fixed list, large enough, each with something to gain."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from onnx import parser, save

from planner.bench.latency_networks import DEEP_NETWORKS, NETWORKS
from planner.bench.latency_programs import (
    SETS,
    chosen_programs,
    full_programs,
    large_programs,
    programs_in,
    quick_programs,
    small_programs,
    without_family,
)
from planner.errors import BadFileError, UsageError

FAMILIES = {"cnn", "prefill", "decode", "nas", "segmentation", "video"}
# With N = 1024 each of its ten tensors is 1 MiB.
MODEL = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 256] x) => (y) {
    a = Exp(x) b = Exp(a) c = Exp(b) d = Exp(c) e = Exp(d) f = Exp(e) h = Exp(f) i = Exp(h)
    y = Exp(i) }"""


def test_the_lists_are_fixed_and_large_enough():
    assert len(full_programs()) >= 350
    assert len(small_programs()) >= 100
    assert len(large_programs()) >= 30
    assert len({program.graph for program in full_programs()}) >= 20
    assert {program.family for program in full_programs()} == FAMILIES
    for programs in SETS.values():
        names = [program.name for program in programs()]
        assert names == [program.name for program in programs()]
        assert len(set(names)) == len(names)
        assert all(
            re.fullmatch(r"\S+( x\d+)? \S+( rows \d+-\d+)? \d+(%|KiB|MiB)", n) for n in names
        )


def test_quick_has_one_program_of_each_graph_and_both_targets():
    graphs = Counter(program.graph for program in quick_programs())
    assert graphs == dict.fromkeys((network.graph for network in NETWORKS), 1)
    assert len({program.target for program in quick_programs()}) == 2
    assert {program.name for program in quick_programs()} <= {p.name for p in full_programs()}


def test_programs_are_chosen_by_set_and_graph():
    chosen = chosen_programs("full", ["unet", "unet"])
    assert {program.graph for program in chosen} == {"unet"}
    assert len(chosen) == len({program.name for program in chosen}) == 12
    with pytest.raises(UsageError, match=r"There are: quick, full, small, large"):
        chosen_programs("tiny", None)
    for graphs in (["unet9"], []):
        with pytest.raises(UsageError, match=r"There are: .*unet"):
            chosen_programs("full", graphs)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_graph_is_both_trained_on_and_unseen(family):
    training, unseen = without_family(full_programs(), family)
    assert {program.family for program in unseen} == {family}
    assert not {program.graph for program in training} & {program.graph for program in unseen}
    assert len(training) + len(unseen) == len(full_programs())


def test_unknown_family_is_refused():
    with pytest.raises(UsageError, match=r"There are: .*decode"):
        without_family(full_programs(), "gan")


def check(program, fewest, most):
    problem = program.build()
    assert fewest <= problem.rows <= most, program.name
    assert problem.all_slow >= 1.02 * problem.all_fast, program.name
    assert problem.buffers and problem.size.max() <= problem.capacity, program.name
    again = program.build()
    assert (again.all_slow, again.capacity) == (problem.all_slow, problem.capacity)
    return problem


def test_programs_of_the_quick_set_have_something_to_gain():
    for program in quick_programs()[::3]:
        check(program, 12, 1000)


@pytest.mark.slow
def test_every_program_has_something_to_gain_and_something_to_decide():
    for program in full_programs():
        problem = check(program, 12, 1000)
        assert problem.size.sum() > problem.capacity, program.name
    for program in small_programs():
        check(program, 12, 60)
    for program in large_programs():
        check(program, 1500, 5000)


@pytest.mark.slow
@pytest.mark.parametrize("network", [*NETWORKS, *DEEP_NETWORKS], ids=lambda network: network.graph)
def test_declared_rows_are_those_of_the_network(network):
    from planner.bench.latency_networks import CHIP, EDGE, zoo_problem

    for target, sizes in ((CHIP, network.chip), (EDGE, network.edge)):
        for size in sizes:
            assert zoo_problem(network, size, target).rows == network.rows


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    save(parser.parse_model(MODEL), folder / "wide.onnx")
    (folder / "broken.onnx").write_bytes(b"no model")
    return folder


def test_given_models_are_graphs_of_their_own(data):
    notes: list[str] = []
    programs = programs_in(data, {"wide": {"N": 1024}}, notes.append)
    assert {(program.graph, program.family) for program in programs} == {("wide", "given")}
    # A tensor is a tenth of all bytes.
    assert [program.name for program in programs] == [
        "wide tpuv4i 20%",
        "wide npu-edge-4m 1MiB",
        "wide npu-edge-4m 4MiB",
    ]
    assert notes[0].startswith("broken is left out")
    assert notes[1] == "wide tpuv4i 5% is left out: it has less than 2 % to gain."
    for program in programs:
        check(program, 1, 10)


def test_directories_and_models_that_do_not_exist_are_refused(tmp_path, data):
    with pytest.raises(BadFileError, match="does not exist"):
        programs_in(tmp_path / "missing", {}, print)
    with pytest.raises(BadFileError, match="no model"):
        programs_in(tmp_path, {}, print)
    with pytest.raises(UsageError, match=r"there is no other\.onnx"):
        programs_in(data, {"other": {"N": 1}}, print)
