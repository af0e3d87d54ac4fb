"""The text of plan files: its form, its field names, its digest, and how it is written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from planner.errors import BadFileError
from planner.plan_file import plan_digest, plan_to_json, write_plan

from .example_plan import example


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
