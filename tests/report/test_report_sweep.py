"""The page of a sweep: well-formed, no script, safe names, and a picture of what is known."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest

import planner
from frontends import zoo
from planner.problem import Status
from planner.report.sweep_html import render_sweep_html
from planner.report.sweep_text import render_sweep_csv, render_sweep_text

from .html_page import Page

HOSTILE = "</title></svg><script>document.title='owned'</script><img src=x>\"'&\u202e\x1b[31m"


@pytest.fixture(scope="module")
def swept() -> planner.SweepResult:
    graph = planner.load(zoo.build("resnet8"))
    return planner.sweep(graph, target="npu-1m", capacities=(64 * 1024, 1 << 20))


def test_the_page_is_well_formed_fetches_nothing_and_runs_nothing(swept) -> None:
    html = render_sweep_html(swept)
    page = Page(html)
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "srcset", "style", "action", "href"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'; style-src 'sha256-")
    (style,) = page.texts["style"]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
    assert "url(" not in style


def test_each_panel_marks_every_plan_and_both_corners(swept) -> None:
    html = render_sweep_html(swept)
    panels = re.findall(r'<div class="chart">.*?</svg></div>', html, re.DOTALL)
    assert len(panels) == 2
    placed = sum(point.plan is not None for point in swept.points)
    for panel in panels:
        assert panel.count("<circle") == placed
        assert "M_R, largest operator: 131,072 B" in panel
        assert "M_P, no traffic from 196,608 B" in panel
        assert 'class="misfit"' in panel
        assert 'role="img"' in panel and "aria-labelledby" in panel
    optimal = sum(point.status is Status.OPTIMAL for point in swept.points)
    assert panels[0].count('class="point optimal"') == optimal
    assert "nan" not in html.lower().replace("nano", "") and "inf<" not in html


def test_without_rates_there_is_one_panel_and_no_latency_column() -> None:
    graph = planner.load(zoo.build("resnet8"))
    result = planner.sweep(graph, target="mcu-256k", capacities=(64 * 1024, 1 << 20))
    plain = replace(
        result,
        points=tuple(
            point
            if point.plan is None
            else replace(
                point,
                plan=replace(point.plan, metrics=replace(point.plan.metrics, latency_s=None)),
                latency_lower_bound_s=None,
            )
            for point in result.points
        ),
    )
    html = render_sweep_html(plain)
    assert html.count('<div class="chart">') == 1
    assert "Latency" not in html
    assert "latency" not in render_sweep_text(plain).splitlines()[7]


def test_hostile_names_are_text_everywhere(swept) -> None:
    operators = tuple(replace(o, name=HOSTILE, type=HOSTILE) for o in swept.graph.operators)
    model = replace(swept.graph.model, name=HOSTILE)
    graph = replace(swept.graph, operators=operators, model=model)
    target = replace(swept.target, name=HOSTILE)
    hostile = replace(swept, graph=graph, target=target, memory=HOSTILE, notes=(HOSTILE,))
    html = render_sweep_html(hostile)
    ordinary = Page(render_sweep_html(replace(swept, notes=("a note",))))
    assert {tag for tag, _ in Page(html).elements} == {tag for tag, _ in ordinary.elements}
    for text in (html, render_sweep_text(hostile)):
        assert "\u202e" not in text and "\x1b" not in text


def test_a_single_point_and_a_curve_of_zeros_are_drawn(swept) -> None:
    for points in (swept.points[-1:], swept.points[-2:], swept.points[:1]):
        html = render_sweep_html(replace(swept, points=points))
        assert Page(html).open == []
        assert render_sweep_text(replace(swept, points=points))
        assert len(render_sweep_csv(replace(swept, points=points)).splitlines()) == 1 + len(points)


def test_the_page_opens_in_a_browser_without_a_complaint(load, swept) -> None:
    document, log = load(render_sweep_html(swept))[:2]
    assert log == ""
    assert document.count("<circle") > 10


def test_traffic_in_all_plans_is_no_proof_that_there_must_be_some(swept) -> None:
    placed = next(point for point in swept.points if point.traffic_bytes)
    open_one = replace(swept, points=(placed,), zero_traffic_bytes=None)
    assert "traffic   at every capacity up to" in render_sweep_text(open_one)
    assert "at every capacity" in render_sweep_html(open_one)
    unproven = replace(open_one, points=(replace(placed, traffic_lower_bound_bytes=0),))
    assert "traffic   in every plan found up to" in render_sweep_text(unproven)
    assert "in every plan found" in render_sweep_html(unproven)


def test_a_capacity_without_a_plan_says_which_kind_of_not_knowing(swept) -> None:
    (first, *_, last) = swept.points
    unknown = replace(first, status=Status.UNKNOWN, note="no plan in time")
    points = (replace(unknown, wall_s=None), replace(unknown, wall_s=1.0), last)
    for text in (render_sweep_text, render_sweep_html):
        shown = text(replace(swept, points=points))
        assert "not reached" in shown and "no plan found" in shown
