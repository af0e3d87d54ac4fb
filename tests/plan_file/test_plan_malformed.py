"""Malformed plan files of every kind are refused by place and value."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.checker import check
from planner.errors import BadFileError
from planner.plan_file import plan_from_json, plan_to_json, read_plan
from planner.target_file import read_target
from planner.testing import naive_plan, random_graph

from .example_plan import example, require_schema


def changed(path: str, value: Any = None, *, remove: bool = False) -> str:
    """JSON of the example with one field set or removed."""
    document = json.loads(plan_to_json(example()))
    *way, last = path.split("/")
    place = document
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    key = int(last) if isinstance(place, list) else last
    if remove:
        del place[key]
    else:
        place[key] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    "path",
    [
        *("x-note", "model/x-note", "target/x-note", "target/memories/0/x-note", "placements/0/x-"),
        *("target/links/0/x-note", "target/compute/x-note", "metrics/x-a", "provenance/x-a"),
        *("storages/0/x-note", "storages/0/tensors/0/x-a", "metrics/lower_bound/x-a"),
    ],
)
def test_extension_keys_are_ignored(path):
    text = changed(path, {"any": ["thing"]})
    require_schema(text)
    assert plan_from_json(text) == example()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "planner.result", r"plan: format: 'planner.result' is not \"planner.plan\""),
        ("version", 3, r"version: 3. This planner reads version 1 and 2"),
        ("version", "1", r"version: '1' is not an integer"),
        ("surprise", 1, r"plan: surprise: unknown field"),
        ("model/surprise", 1, r"model.surprise: unknown field"),
        ("placements/0/surprise", 1, r"placements\[0\].surprise: unknown field"),
        ("model", [], r"model is not an object"),
        ("model/dims", {"batch": -1}, r"model.dims.batch: -1 is outside 0 to"),
        ("model/dims", {"batch": 1.0}, r"model.dims.batch: 1.0 is not an integer"),
        ("order", {}, r"order: {} is not a list"),
        ("order/1", "a", r"order\[1\]: 'a' is no operator's index"),
        ("order/1", True, r"order\[1\]: True is no operator's index"),
        ("order/1", 99, r"order\[1\]: 99 is no operator's index"),
        ("storages/1/id", 0, r"storages\[1\].id: 0 at place 1 of the list"),
        ("storages/0/bytes", -1, r"storages\[0\].bytes: -1 is outside 0 to"),
        ("storages/0/bytes", True, r"storages\[0\].bytes: True is not an integer"),
        ("storages/0/bytes", 1 << 53, r"9,007,199,254,740,992 is outside"),
        ("storages/0/kind", "weight", r"'weight' is none of input, activation, workspace"),
        ("storages/0/is_output", 0, r"storages\[0\].is_output: 0 is not true or false"),
        ("storages/0/tensors/0/offset", None, r"tensors\[0\].offset: None is not an integer"),
        ("placements/0/storage", 9_999, r"placements\[0\].storage: 9,999 is outside 0 to"),
        ("placements/0/storage", -1, r"placements\[0\].storage: -1 is outside 0 to"),
        ("placements/0/memory", 3, r"placements\[0\].memory: 3 is not text"),
        ("placements/0", 3, r"placements\[0\] is not an object"),
        ("transfers/0/kind", "copy", r"'copy' is none of fetch, store, spill, reload, move"),
        ("placements/0/bytes", [0], r"placements\[0\].bytes: \[0\] is not two counts of bytes"),
        ("placements/0/bytes", [0, -1], r"placements\[0\].bytes: \[0, -1\] is not two counts"),
        ("placements/0/bytes", [0, True], r"bytes: \[0, True\] is not two counts of bytes"),
        ("placements/0/bytes", [0, 1 << 53], r"bytes: \[0, 9007199254740992\] is not two counts"),
        ("transfers/0/bytes", None, r"transfers\[0\].bytes: None is not a list"),
        ("transfers/0/bytes", ["0", "1"], r"transfers\[0\].bytes: .* is not two counts of bytes"),
        ("metrics/relocated", -1, r"metrics.relocated: -1 is outside 0 to"),
        ("in_place", [{"operator": 99, "output": 0, "input": 0}], r"in_place\[0\].operator: 99"),
        ("recompute", [{"operator": 1, "step": 2}], r"recomputation is not supported"),
        ("pipeline", {}, r"pipelines are not supported"),
        ("metrics/peak", {"sram": 1.5}, r"metrics.peak.sram: 1.5 is not an integer"),
        ("metrics/latency_s", -1, r"metrics.latency_s: -1 is not a finite, positive number"),
        ("metrics/latency_s", "1", r"metrics.latency_s: '1' is not a number"),
        ("metrics/lower_bound/peak", "1", r"metrics.lower_bound.peak: '1' is not an integer"),
        ("provenance/seed", None, r"provenance.seed: None is not an integer"),
        ("provenance/settings", 1, r"provenance.settings is not an object"),
        ("target/memories", [], r"target.memory: missing"),
        ("target/memories/0/alignment", 48, r'memory "sram" has alignment 48'),
        ("target/memories/0/size", 48, r"memory 1.size: unknown field"),
        ("target/links/0/to", "hbm", r'link 1.to: no memory "hbm"'),
        ("target/io_memory", "hbm", r'target.io_memory: no memory "hbm"'),
        ("target/compute", None, r"target.compute is not an object"),
    ],
)
def test_malformed_field_is_refused_by_place_and_value(path, value, message):
    with pytest.raises(BadFileError, match=message) as caught:
        plan_from_json(changed(path, value))
    assert str(caught.value).startswith("plan: ")
    assert len(str(caught.value)) < 300


REQUIRED = [
    *("format", "version", "model", "target", "order", "storages", "placements", "transfers"),
    *("in_place", "metrics", "provenance", "model/name", "target/memories", "target/name"),
    *("storages/0/bytes", "storages/0/tensors/0/name", "placements/0/end", "transfers/0/from"),
    *("metrics/traffic", "metrics/lower_bound/peak", "provenance/settings", "operators/0/type"),
]


@pytest.mark.parametrize("path", REQUIRED)
def test_missing_field_is_refused_by_reader_and_schema(path):
    text = changed(path, remove=True)
    with pytest.raises(BadFileError):
        plan_from_json(text)
    with pytest.raises(jsonschema.ValidationError):
        require_schema(text)


@pytest.mark.parametrize("path", ["operators", "recompute", "pipeline"])
def test_fields_added_later_may_be_missing(path):
    assert plan_from_json(changed(path, remove=True)).order == example().order


@pytest.mark.parametrize(
    "data",
    [
        *("", "{", "null", "[]", "3", '"plan"', '{"format": "planner.plan"}', "{}", "NaN"),
        '{"format": NaN}',
        '{"format": 1, "format": 2}',
        '{"format": "planner.plan", "version": 1e999}',
        '{"format": "planner.plan", "version": ' + "1" * 5_000 + "}",
        "[" * 100_000,
        '{"a":' * 100_000,
        b"\xff\xfe\xfa",
        b"\x00" * 100,
    ],
)
def test_anything_else_is_a_bad_file(data):
    with pytest.raises(BadFileError):
        plan_from_json(data)


def test_infinite_and_deep_settings_are_refused():
    text = changed("provenance/settings", {"a": "PLACE"})
    with pytest.raises(BadFileError, match=r"provenance.settings.a: a number is not finite"):
        plan_from_json(text.replace('"PLACE"', "[1e999]"))
    with pytest.raises(BadFileError, match=r"nested more than 16 levels deep"):
        plan_from_json(text.replace('"PLACE"', "[" * 40 + "]" * 40))


def test_every_truncation_of_a_plan_is_a_bad_file():
    text = plan_to_json(naive_plan(random_graph(1, 3), read_target("host"), 1))
    for length in range(0, len(text) - 2, 7):
        with pytest.raises(BadFileError):
            plan_from_json(text[:length])


def test_missing_file_is_a_bad_file(tmp_path):
    with pytest.raises(BadFileError, match=r"absent.json: No such file"):
        read_plan(tmp_path / "absent.json")


def _leaves(value: Any, way: tuple = ()) -> list[tuple]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*way, key))]
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(item, (*way, i))]
    return [way]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 3),
    st.randoms(use_true_random=False),
    st.sampled_from([-1, 0, 1, 2, 7, 10**6, (1 << 53) - 1, -(10**9), None, "", "dram", 0.5, []]),
)
def test_damaged_plans_are_bad_files_or_checked_without_a_crash(seed, rng, value):
    graph, target = random_graph(seed), read_target(("npu-1m", "tpuv4i", "mcu-256k", "host")[seed])
    document = json.loads(plan_to_json(naive_plan(graph, target, seed)))
    *way, last = rng.choice(_leaves(document))
    place = document
    for key in way:
        place = place[key]
    place[last] = value
    try:
        plan = plan_from_json(json.dumps(document))
    except BadFileError:
        return
    assert all(violation.message for violation in check(graph, plan.target, plan))
