"""Plans come back from their files equal, and as the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.graph import ModelReference, StorageKind
from planner.plan_file import plan_from_json, plan_to_json, read_plan, write_plan
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

from .example_plan import SCHEMA, example, require_schema


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
        Link(a, b, draw(rates), draw(times), draw(st.integers(1, 9)), draw(st.booleans()))
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
    assert not any("fifo" in link for link in document["target"]["links"])


def test_plan_on_links_out_of_order_comes_back_equal_and_as_version_2():
    target = read_target("npu-1m")
    out, back = target.links
    plan = naive_plan(random_graph(1), replace(target, links=(out, replace(back, fifo=False))), 1)
    text = plan_to_json(plan)
    require_schema(text)
    assert plan_from_json(text) == plan
    document = json.loads(text)
    assert document["version"] == 2
    assert [link.get("fifo") for link in document["target"]["links"]] == [None, False]
    document["target"]["links"][0]["fifo"] = True
    assert plan_from_json(json.dumps(document)) == plan


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
