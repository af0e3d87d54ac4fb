"""Packings as JSON: byte-exact round trips, the schema, and malformed input of every kind."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontends.buffers import load_buffers
from planner.errors import BadFileError, UsageError
from planner.packing.encoding import PackingSolution
from planner.packing.file import packing_from_json, packing_to_json, read_packing, write_packing
from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    Packing,
    PackingProblem,
    Separation,
)
from planner.problem import Status

from .strategies import any_problems

SCHEMA = json.loads(files("planner").joinpath("schema", "packing.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

PROBLEM = PackingProblem(
    (
        Buffer("a", 0, 9, 64, 32, (Gap(1, 3, (0, 8)), Gap(4, 5)), 96, 7, ("near",)),
        Buffer("b", -2, 4, 8),
        Buffer("c", 4, 6, 8),
    ),
    (MemorySpace("near", 1024, 4), MemorySpace("far")),
    (Colocation("a", "b", -8),),
    (Separation("b", "c"),),
    (Overlap("c", "a", 8),),
)
SOLUTION = PackingSolution(
    Status.FEASIBLE,
    Packing(np.array([0, 0, 1], dtype=np.int32), np.array([96, 88, 0])),
    (160, 8),
    (160, 0),
)


def document():
    return json.loads(packing_to_json(PROBLEM, SOLUTION))


def require_schema(text):
    VALIDATOR.validate(json.loads(text))


def test_schema_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@st.composite
def solved(draw):
    problem = draw(any_problems())
    count, memories = len(problem.buffers), len(problem.memories)
    numbers = st.integers(0, (1 << 53) - 1)

    def several(values, length):
        return draw(st.lists(values, min_size=length, max_size=length))

    packing = Packing(
        np.array(several(st.integers(0, memories - 1), count), dtype=np.int32),
        np.array(several(numbers, count), dtype=np.int64),
    )
    solution = PackingSolution(
        draw(st.sampled_from(Status)),
        draw(st.sampled_from([None, packing])),
        tuple(several(numbers, memories)),
        tuple(several(numbers, memories)),
    )
    return problem, draw(st.sampled_from([None, solution]))


@settings(max_examples=60, deadline=None)
@given(solved())
def test_what_is_written_comes_back_equal_and_as_the_same_bytes(case):
    problem, solution = case
    text = packing_to_json(problem, solution)
    require_schema(text)
    again = packing_from_json(text)
    assert again.problem == problem
    assert packing_to_json(again.problem, again.solution) == text
    if solution is None:
        assert again.solution is None
        return
    assert again.solution._replace(packing=None) == solution._replace(packing=None)
    if solution.packing is None:
        assert again.solution.packing is None
        return
    for found, expected in zip(again.solution.packing, solution.packing, strict=True):
        assert (found.tolist(), found.dtype) == (expected.tolist(), expected.dtype)


def test_files_are_whole_and_read_back(tmp_path):
    path = tmp_path / "b.json"
    write_packing(PROBLEM, path, SOLUTION)
    assert read_packing(path).problem == load_buffers(path) == PROBLEM
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.json"]
    (tmp_path / "c.json").mkdir()
    with pytest.raises(BadFileError, match="is a directory: nothing was written"):
        write_packing(PROBLEM, tmp_path / "c.json")


def test_a_capacity_replaces_that_of_the_only_memory(tmp_path):
    path = tmp_path / "b.json"
    write_packing(PackingProblem((), (MemorySpace("m", 5, 4),)), path)
    assert load_buffers(path).memories == (MemorySpace("m", 5, 4),)
    assert load_buffers(path, capacity=9, alignment=6).memories == (MemorySpace("m", 9, 12),)


def test_a_capacity_for_several_memories_is_refused(tmp_path):
    path = tmp_path / "b.json"
    write_packing(PROBLEM, path)
    with pytest.raises(UsageError, match="2 memories with capacities of their own"):
        load_buffers(path, capacity=9)
    assert [m.alignment for m in load_buffers(path, alignment=6).memories] == [12, 6]


@pytest.mark.parametrize(
    "problem",
    [
        PackingProblem((Buffer("a", 0, 1, 1 << 53),)),
        PackingProblem((Buffer("a", 0, 1 << 53, 1),)),
        PackingProblem((), (MemorySpace("m", 1 << 53),)),
        PackingProblem((Buffer("a", 0, 1, 1, offset=1 << 53),)),
        PackingProblem(
            (Buffer("a", 0, 1, 1), Buffer("b", 0, 1, 1)),
            colocations=(Colocation("a", "b", 1 << 53),),
        ),
    ],
)
def test_numbers_beyond_53_bits_are_not_written(problem):
    with pytest.raises(UsageError, match="numbers in JSON end at 2"):
        packing_to_json(problem)


def places(value, path=()):
    """Every object in a document, with the way to it."""
    if isinstance(value, dict):
        yield path, value
        value = value.items()
    elif isinstance(value, list):
        value = enumerate(value)
    else:
        return
    for key, inner in value:
        yield from places(inner, (*path, key))


def reached(root, path):
    for key in path:
        root = root[key]
    return root


OBJECTS = [path for path, _ in places(document())]


@pytest.mark.parametrize("path", OBJECTS, ids=str)
def test_unknown_fields_are_refused_and_those_of_others_ignored(path):
    damaged = document()
    reached(damaged, path)["x-note"] = {"any": "thing"}
    require_schema(json.dumps(damaged))
    assert packing_from_json(json.dumps(damaged)).problem == PROBLEM
    reached(damaged, path)["colour"] = 1
    with pytest.raises(BadFileError, match="colour: unknown field"):
        packing_from_json(json.dumps(damaged))
    with pytest.raises(jsonschema.ValidationError):
        require_schema(json.dumps(damaged))


OPTIONAL = {
    *("capacity", "alignment", "gaps", "offset", "hint", "memories", "window", "placements"),
    *("colocations", "separations", "overlaps", "solution"),
}
REQUIRED = [
    (*path, key)
    for path, value in places(document())
    for key in value
    if key not in OPTIONAL
    or (key == "memories" and path in ((), ("solution",)))
    or (key == "offset" and "placements" in path)
]


@pytest.mark.parametrize("path", REQUIRED, ids=str)
def test_a_missing_field_is_refused_by_reader_and_schema(path):
    damaged = document()
    del reached(damaged, path[:-1])[path[-1]]
    with pytest.raises(BadFileError, match=f"{path[-1]}"):
        packing_from_json(json.dumps(damaged))
    with pytest.raises(jsonschema.ValidationError):
        require_schema(json.dumps(damaged))


VALUES = [(*path, key) for path, value in places(document()) for key in value]


@pytest.mark.parametrize("wrong", [None, True, 1.5, "7", -(1 << 53), 1 << 53, [], {}, [[]]])
@pytest.mark.parametrize("path", VALUES, ids=str)
def test_a_value_of_the_wrong_kind_is_refused_or_legal_everywhere(path, wrong):
    damaged = document()
    reached(damaged, path[:-1])[path[-1]] = wrong
    text = json.dumps(damaged)
    try:
        packing_from_json(text)
    except BadFileError as error:
        assert str(error).startswith("packing: ")
    else:
        require_schema(text)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "planner.plan", "format: 'planner.plan' is not"),
        (("version",), 2, "version: 2. This planner reads version 1"),
        (("memories",), [], "a packing needs at least one memory"),
        (("buffers", 0, "name"), "b", "two buffers are named 'b'"),
        (("buffers", 1, "upper"), -2, r"buffer 'b': its lifetime \[-2, -2\) is empty"),
        (("buffers", 1, "size"), 0, r"buffers\[1\].size: 0 is outside 1"),
        (("buffers", 1, "memories"), ["disk"], "buffer 'b' may lie in 'disk'"),
        (("buffers", 1, "memories"), [7], r"buffers\[1\].memories\[0\]: 7 is not text"),
        (("buffers", 0, "gaps", 0, "window"), [0, 65], r"the window \[0, 65\)"),
        (("buffers", 0, "gaps", 0, "window"), [0, True], "not a list of two integers"),
        (("buffers", 0, "gaps", 0, "upper"), 1, r"gap \[1, 1\) is empty"),
        (("separations", 0, "first"), "z", "a separation names 'z', which is no buffer"),
        (("colocations", 0, "first"), "b", "a colocation names buffer 'b' twice"),
        (("overlaps", 0, "extent"), 9, "an overlap lets 9 bytes"),
        (("solution", "status"), "perfect", "'perfect' is none of optimal, feasible"),
        (("solution", "memories", 0, "name"), "far", "'far' is not the memory in turn"),
        (("solution", "memories"), [], "solution.memories: 0 for 2 memories"),
        (("solution", "placements"), [], "solution.placements: buffer 'a' has no place"),
        (("solution", "placements", 0, "buffer"), "b", "'b' is placed twice"),
        (("solution", "placements", 0, "buffer"), "z", "'z' is no buffer"),
        (("solution", "placements", 0, "memory"), "disk", "'disk' is no memory"),
    ],
)
def test_every_fault_is_named_with_its_place(path, value, message):
    damaged = document()
    reached(damaged, path[:-1])[path[-1]] = value
    with pytest.raises(BadFileError, match=message):
        packing_from_json(json.dumps(damaged))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '{"format": "planner.packing"',
        '{"format": "planner.packing", "format": "planner.packing"}',
        '{"version": NaN}',
        '{"version": 1' + "0" * 5000 + "}",
        "[" * 100_000,
        b"\xff\xfe\x00",
        b"\x00" * 64,
    ],
)
def test_what_is_no_document_is_refused(text):
    with pytest.raises(BadFileError, match="packing: "):
        packing_from_json(text)
