"""Plan files: byte-exact round trips, the schema, and malformed input of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.checker import check
from planner.errors import BadFileError
from planner.graph import ModelReference, StorageKind
from planner.plan_file import plan_digest, plan_from_json, plan_to_json, read_plan, write_plan
from planner.plans import (
    ByteRange,
    InPlace,
    Metrics,
    Placement,
    Plan,
    PlannedOperator,
    PlannedStorage,
    PlannedTensor,
    Provenance,
    Transfer,
    TransferKind,
)
from planner.target import Compute, Link, Memory, Target
from planner.target_file import read_target
from planner.testing import naive_plan, random_graph

SCHEMA = json.loads(files("planner").joinpath("schema", "plan.schema.json").read_text())


def example(seed: int = 5, target: str = "npu-1m") -> Plan:
    return naive_plan(random_graph(seed), read_target(target), seed)


def require_schema(text: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))


def test_schema_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("seed", range(60))
def test_written_plans_come_back_equal_and_as_the_same_bytes(tmp_path, seed):
    target = ("host", "npu-1m", "tpuv4i", "mcu-256k", "gpu-80g")[seed % 5]
    plan = example(seed, target)
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    require_schema(path.read_text())
    again = read_plan(path)
    assert again == plan
    assert plan_to_json(again) == path.read_text() == plan_to_json(plan)
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


names = st.text(max_size=8)
counts = st.integers(0, (1 << 53) - 1)
anywhere = st.integers(-((1 << 53) - 1), (1 << 53) - 1)
rates = st.floats(1e-3, 1e18)
times = st.floats(0, 1e9)
maybe = st.none()
parts = st.none() | st.builds(ByteRange, counts, counts)
memory_names = st.lists(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=6),
    min_size=1,
    max_size=3,
    unique=True,
)
settings_values = st.recursive(
    st.none() | st.booleans() | st.integers() | times | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def targets(draw) -> Target:
    listed = draw(memory_names)
    memories = tuple(
        Memory(
            name,
            draw(maybe | counts),
            1 << draw(st.integers(0, 20)),
            draw(maybe | rates),
            draw(maybe | rates),
            draw(times),
        )
        for name in listed
    )
    links = tuple(
        Link(a, b, draw(rates), draw(times), draw(st.integers(1, 9)))
        for a in listed
        for b in listed
        if a != b or a == listed[0]
        if draw(st.booleans())
    )
    compute = Compute(
        draw(st.dictionaries(st.sampled_from(["int8", "default", "bfloat16"]), rates)),
        draw(times),
        draw(times),
    )
    return Target(
        draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)),
        memories,
        links,
        draw(maybe | st.just(compute)),
        draw(st.booleans()),
        draw(st.sampled_from(listed)),
        draw(st.sampled_from(listed)),
        "a description",
    )


@st.composite
def plans(draw) -> Plan:
    """Well-formed plans, legal or not."""
    operators = draw(st.lists(st.builds(PlannedOperator, names, names), min_size=1, max_size=4))
    tensors = st.builds(PlannedTensor, names, counts, counts)
    storages = draw(
        st.lists(
            st.builds(
                PlannedStorage,
                names,
                counts,
                st.sampled_from(StorageKind),
                st.booleans(),
                st.lists(tensors, max_size=2).map(tuple),
            ),
            min_size=1,
            max_size=4,
        )
    )
    storage = st.integers(0, len(storages) - 1)
    operator = st.integers(0, len(operators) - 1)
    per_memory = st.dictionaries(names, counts, max_size=2)
    return Plan(
        model=ModelReference(
            draw(names),
            draw(names),
            tuple(draw(st.dictionaries(names, counts, max_size=3)).items()),
            tuple(draw(st.dictionaries(names, names, max_size=3)).items()),
            draw(st.booleans()),
        ),
        target=draw(targets()),
        order=tuple(draw(st.lists(operator, max_size=5))),
        storages=tuple(storages),
        placements=tuple(
            draw(
                st.lists(st.builds(Placement, storage, names, anywhere, anywhere, anywhere, parts))
            )
        ),
        transfers=tuple(
            draw(
                st.lists(
                    st.builds(
                        Transfer,
                        storage,
                        names,
                        names,
                        anywhere,
                        anywhere,
                        st.sampled_from(TransferKind),
                        parts,
                    )
                )
            )
        ),
        in_place=tuple(draw(st.lists(st.builds(InPlace, operator, storage, storage)))),
        metrics=draw(
            st.builds(
                Metrics,
                per_memory,
                per_memory,
                counts,
                counts,
                maybe | times,
                maybe | times,
                maybe | times,
                maybe | counts,
                maybe | counts,
                maybe | times,
                names,
                counts,
            )
        ),
        provenance=draw(
            st.builds(
                Provenance,
                names,
                names,
                names,
                anywhere,
                times,
                names,
                st.dictionaries(names, settings_values, max_size=3),
            )
        ),
        operators=tuple(operators) if draw(st.booleans()) else (),
    )


@settings(max_examples=120, deadline=None)
@given(plans())
def test_any_well_formed_plan_survives_the_round_trip(plan):
    text = plan_to_json(plan)
    require_schema(text)
    again = plan_from_json(text)
    assert again == plan
    assert plan_to_json(again) == text


def test_plan_without_parts_and_moves_is_a_file_that_older_readers_know():
    document = json.loads(plan_to_json(example()))
    assert document["version"] == 1
    assert "relocated" not in document["metrics"]
    assert not any("bytes" in entry for entry in document["placements"] + document["transfers"])


@pytest.mark.parametrize("seed", range(12))
def test_plans_with_parts_and_moves_come_back_equal_and_as_version_2(seed):
    target = read_target("npu-1m")
    near = target.nearest.name
    target = replace(target, links=(*target.links, Link(near, near, 1e9)))
    plan = naive_plan(random_graph(seed), target, seed, split=0.8)
    text = plan_to_json(plan)
    require_schema(text)
    assert plan_from_json(text) == plan
    document = json.loads(text)
    assert document["version"] == 2
    parts = [entry["bytes"] for entry in document["placements"] if "bytes" in entry]
    assert parts == [list(p.part) for p in plan.placements if p.part is not None]
    assert parts
    assert document["metrics"].get("relocated", 0) == plan.metrics.relocated_bytes


def test_text_has_sorted_keys_two_space_indent_and_a_final_newline():
    text = plan_to_json(example())
    assert text.startswith('{\n  "format": "planner.plan",\n  "in_place": [')
    assert text.endswith("}\n")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_key_order_of_mappings_does_not_show():
    plan = example()
    peak = dict(reversed(plan.metrics.peak_bytes.items()))
    assert plan_to_json(replace(plan, metrics=replace(plan.metrics, peak_bytes=peak))) == (
        plan_to_json(plan)
    )


def test_digest_ignores_wall_time_and_nothing_else():
    plan = example()
    slower = replace(plan, provenance=replace(plan.provenance, wall_s=9.0))
    reseeded = replace(plan, provenance=replace(plan.provenance, seed=9))
    assert plan_digest(slower) == plan_digest(plan)
    assert plan_digest(reseeded) != plan_digest(plan)
    assert len(plan_digest(plan)) == 64


def test_field_names_that_scripts_rely_on():
    document = json.loads(plan_to_json(example()))
    assert sorted(document) == [
        *("format", "in_place", "metrics", "model", "operators", "order", "pipeline"),
        *("placements", "provenance", "recompute", "storages", "target", "transfers", "version"),
    ]
    assert sorted(document["placements"][0]) == ["end", "memory", "offset", "start", "storage"]
    assert sorted(document["transfers"][0]) == ["end", "from", "kind", "start", "storage", "to"]
    assert sorted(document["storages"][0]) == [
        *("bytes", "id", "is_output", "kind", "name", "tensors"),
    ]
    assert document["target"]["memories"][0]["capacity"] == 1_048_576


def test_numbers_that_are_not_finite_are_not_written():
    plan = example()
    broken = replace(plan, metrics=replace(plan.metrics, latency_s=float("nan")))
    with pytest.raises(ValueError, match="not JSON compliant"):
        plan_to_json(broken)


def test_failed_write_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(example(), path)
    before = path.read_bytes()
    broken = replace(example(), metrics=replace(example().metrics, latency_s=float("inf")))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_plan(broken, path)
    assert path.read_bytes() == before
    with pytest.raises(BadFileError, match=r"cannot be written: No such file"):
        write_plan(example(), tmp_path / "absent" / "plan.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


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
