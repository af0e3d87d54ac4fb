"""The instances of `plan bench offsets`: a generated set, and those of a directory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from planner.bench.offset_instances import (
    generated_instances,
    instances_in,
    tiling,
    with_pins,
)
from planner.errors import BadFileError
from planner.packing.problem import Buffer, PackingProblem, uses

THREE = PackingProblem((Buffer("a", 0, 9, 4), Buffer("b", 0, 4, 4), Buffer("c", 4, 9, 4)))
CSV = "id,lower,upper,size\na,0,9,4\nb,0,4,4\nc,4,9,4\n"


def test_the_generated_set_is_always_the_same_and_legal():
    first = list(generated_instances())
    names = [instance.name for instance in first]
    assert len(set(names)) == len(names) >= 12
    assert max(len(instance.problem.buffers) for instance in first) == 60_000
    for again, instance in zip(generated_instances(), first, strict=True):
        assert again == instance


@pytest.mark.parametrize("buffers", [2, 80, 160])
def test_a_tiling_fills_every_step(buffers):
    problem = tiling("any", buffers)
    assert len(problem.buffers) == buffers
    live = np.zeros(60, dtype=int)
    for buffer in problem.buffers:
        live[buffer.lower : buffer.upper] += buffer.size
    assert live.tolist() == [256] * 60


def test_pins_never_clash():
    ranges = sorted(
        (buffer.offset, buffer.offset + buffer.size)
        for buffer in with_pins("any", 100).buffers
        if buffer.offset is not None
    )
    assert len(ranges) == 10
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ranges))


def test_generated_gaps_leave_something_in_use():
    gapped = next(i for i in generated_instances() if i.name.startswith("gaps"))
    assert all(uses(buffer) for buffer in gapped.problem.buffers)
    assert any(buffer.gaps for buffer in gapped.problem.buffers)


def test_a_directory_is_read_with_its_capacities(tmp_path):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "b.1048576.csv").write_text(CSV)
    (tmp_path / "deeper" / "a.csv").write_text(CSV)
    (tmp_path / "bad.csv").write_text("id,lower,upper,size\na,0,1,x\n")
    (tmp_path / "notes.txt").write_text("not a CSV")
    notes = []
    found = list(instances_in(tmp_path, notes.append))
    assert [(i.name, i.capacity) for i in found] == [("b.1048576", 1_048_576), ("deeper/a", None)]
    assert all(instance.problem == THREE for instance in found)
    assert notes == [f"{tmp_path / 'bad.csv'}:2: size 'x' is not an integer."]


def test_a_directory_without_instances_is_refused(tmp_path):
    with pytest.raises(BadFileError, match="no CSV file"):
        list(instances_in(tmp_path, print))
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(
        BadFileError, match=r"its only CSV file cannot be read\. .*a\.csv:1: the file"
    ):
        list(instances_in(tmp_path, lambda _: None))
    with pytest.raises(BadFileError, match="does not exist"):
        list(instances_in(tmp_path / "missing", print))
    with pytest.raises(BadFileError, match="is not a directory"):
        list(instances_in(tmp_path / "a.csv", print))
