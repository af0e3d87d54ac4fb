"""The HTML report: one file, nothing fetched, names never markup, tables without script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from planner.report.html import render_html
from planner.report.occupancy import in_place_inputs, occupancies

from .html_page import Page

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--\u202e\x1b[31m\ud800\n"


@pytest.fixture
def page(spilling, contenders) -> Page:
    html = render_html(spilling.plan, contenders, graph=spilling.graph, notes=("a note",))
    return Page(html)


def test_the_page_is_well_formed_and_fetches_nothing(page) -> None:
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "srcset", "style", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    style = "".join(page.texts["style"])
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_exactly_the_scripts_and_style_of_the_page(page) -> None:
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    (script,) = [t for t in page.texts["script"] if not t.startswith("{")]
    (style,) = page.texts["style"]
    for text in (script, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.count("sha256-") == 2


def test_hostile_names_are_text_everywhere(make_plan, contenders, spilling) -> None:
    graph, plan = make_plan(20, seed=1, prefix=HOSTILE, spills=True)
    hostile = contenders[0]._replace(note=HOSTILE, name=HOSTILE)
    html = render_html(plan, [hostile], graph=graph, notes=(HOSTILE,))
    ordinary = Page(render_html(spilling.plan, contenders[:1], notes=("a note",)))
    attacked = Page(html)
    assert {tag for tag, _ in attacked.elements} <= {tag for tag, _ in ordinary.elements}
    assert "\u202e" not in html
    assert "\x1b" not in html
    html.encode()
    data = next(re.finditer(r'id="data">(.*?)</script>', html, re.S)).group(1)
    assert "<" not in data
    assert json.loads(data)["storages"]["name"][0].startswith("</script><img")


def test_the_same_plan_gives_the_same_bytes(spilling, contenders) -> None:
    first = render_html(spilling.plan, contenders, graph=spilling.graph)
    assert first == render_html(spilling.plan, contenders, graph=spilling.graph)


def test_the_data_is_the_plan(page, spilling) -> None:
    plan, data = spilling.plan, page.data()
    assert data["steps"] == len(plan.order)
    memories = [memory["name"] for memory in data["memories"]]
    assert memories == ["sram", "dram"]
    columns = data["placements"]
    for i, placement in enumerate(plan.placements):
        storage = columns["storage"][i]
        assert data["storages"]["name"][storage] == plan.storages[placement.storage].name
        assert data["storages"]["size"][storage] == plan.storages[placement.storage].size_bytes
        assert memories[columns["memory"][i]] == placement.memory
        assert columns["offset"][i] == placement.offset
        assert (columns["start"][i], columns["end"][i]) == (placement.start, placement.end)
        assert columns["over"][i] == in_place_inputs(plan).get(i, -1)
    assert data["transfers"]["kind"] == [t.kind.value for t in plan.transfers]
    for memory, occupancy in zip(data["memories"], occupancies(plan), strict=True):
        assert memory["live"] == occupancy.live_bytes.tolist()
    assert data["memories"][0]["capacity"] == plan.target.nearest.capacity_bytes
    assert data["memories"][0]["bound"] == plan.metrics.peak_lower_bound_bytes
    assert data["memories"][1]["bound"] is None


def test_constants_in_the_nearest_memory_lower_the_line_of_its_capacity(small) -> None:
    data = Page(render_html(small.plan, ())).data()
    (near,) = data["memories"]
    capacity = small.plan.target.activation_capacity(small.graph.constant_bytes)
    assert near["capacity"] == capacity
    assert near["capacityLabel"] == "capacity beside constants"
    assert "weight" not in data["storages"]["name"]


def test_without_operator_names_steps_fall_back_to_indices(small) -> None:
    bare = replace(small.plan, operators=())
    assert Page(render_html(bare, ())).data()["operators"]["label"][3] == "operator 3"
    named = Page(render_html(bare, (), graph=small.graph)).data()
    assert named["operators"]["label"][3] == "add_3 (Add)"


def test_the_tables_hold_the_peak_the_contenders_and_the_transfers(page, spilling) -> None:
    cells = page.texts["td"]
    for text in ("exact", "malloc-game", "needs PyTorch", "1,003,520", "spill", "sram to dram"):
        assert text in cells
    assert cells.count("spill") == sum(t.kind.value == "spill" for t in spilling.plan.transfers)
    links = [a["href"] for t, a in page.elements if t == "a"]
    assert "#step=94" in links
    assert "a note" in page.texts["li"]
    assert "optimal" in cells


def test_long_tables_are_cut_and_say_so(make_plan) -> None:
    plan = make_plan(400, seed=3, spills=True).plan
    many = replace(plan, transfers=plan.transfers * 40)
    page = Page(render_html(many, ()))
    assert len(many.transfers) > 500
    moves = [cell for cell in page.texts["td"] if cell in ("sram to dram", "dram to sram")]
    assert len(moves) == 500
    assert "The first 500 are listed; all are in the plan file." in "".join(page.texts["p"])


def test_empty_sections_are_left_out(small) -> None:
    titles = Page(render_html(small.plan, ())).texts["h2"]
    assert titles == ["Memory map", "What makes the peak", "Large storages that live long"]


def test_latency_is_labelled_simulated(small) -> None:
    metrics = replace(small.plan.metrics, latency_s=0.00184, compute_s=0.00161, stall_s=0.00023)
    page = Page(render_html(replace(small.plan, metrics=metrics), ()))
    assert "Latency, simulated" in page.texts["dt"]
    assert "1.84 ms" in page.texts["dd"]
    assert "compute 1.61, stalled 0.23" in page.texts["small"]


def test_a_plan_without_steps_has_a_page(small) -> None:
    empty = replace(small.plan, order=(), placements=(), in_place=())
    assert Page(render_html(empty, ())).data()["steps"] == 0
