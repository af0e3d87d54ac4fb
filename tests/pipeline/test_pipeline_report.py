"""Pictures, page and trace show every pass, fetch nothing and survive hostile names."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from planner.pipelining.memory import device_memory
from planner.pipelining.result import ContenderReport, PipelineResult
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline
from planner.problem import Status
from planner.report.pipeline_html import render_pipeline_html
from planner.report.pipeline_lanes import lanes_of, used_kinds
from planner.report.pipeline_svg import render_pipeline_svg
from planner.report.pipeline_text import render_pipeline
from planner.report.pipeline_trace import render_pipeline_trace
from solvers.pipeline.constructors.sequential import sequential

from .pipelines import offloaded, one_f_one_b, problem, sharded, split_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline

HOSTILE = '</script><img src=x onerror="alert(1)">\x1b[31m'


def classic() -> tuple[PipelineProblem, PipelineTimeline]:
    pipeline = problem(devices=3, microbatches=4, limits=(4000, None, 2500))
    return pipeline, one_f_one_b(pipeline)


def chunked() -> tuple[PipelineProblem, PipelineTimeline]:
    pipeline = problem(devices=2, microbatches=2, chunks=2, where="v")
    return pipeline, simulate_pipeline(pipeline, sequential(pipeline))


MADE = [classic, chunked, offloaded, split_vocabulary, sharded]


def result_of(
    made: tuple[PipelineProblem, PipelineTimeline], contender: str = "somebody"
) -> PipelineResult:
    reports = (
        ContenderReport("1f1b", "linear", "feasible", 1000, published=True),
        ContenderReport("gpipe", "linear", "over limit", 900, published=True, note="too much"),
        ContenderReport("search", "linear", "failed", note=HOSTILE),
    )
    return PipelineResult(made[0], "linear", made[1], Status.FEASIBLE, 100, contender, (), reports)


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_the_trace_has_every_block_and_the_bytes(make: Callable) -> None:
    pipeline, timeline = make()
    events = json.loads(render_pipeline_trace(result_of((pipeline, timeline)), timeline, "a"))[
        "traceEvents"
    ]
    blocks = sum(len(lane.blocks) for own in lanes_of(pipeline, timeline) for lane in own)
    assert sum(event["ph"] == "X" for event in events) == blocks
    times = [event["ts"] for event in events if "ts" in event]
    assert times == sorted(times)
    assert min(times) >= 0
    for device, profile in enumerate(device_memory(pipeline, timeline)):
        counted = [e for e in events if e["ph"] == "C" and e["pid"] == device + 1]
        assert [event["args"]["bytes"] for event in counted] == list(profile.held)


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_the_picture_is_xml_with_all_kinds_and_microbatches(make: Callable) -> None:
    pipeline, timeline = make()
    text = render_pipeline_svg(result_of((pipeline, timeline)), timeline, "a")
    root = ET.fromstring(text)
    labels = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for kind in used_kinds(lanes_of(pipeline, timeline)):
        assert any(label.startswith(f"{kind} ") for label in labels), kind
    assert all(f"device {device}" in labels for device in range(pipeline.devices))
    assert all(str(j) in labels for j in range(pipeline.microbatches))
    limits = sum(limit is not None for limit in pipeline.limits)
    assert text.count('<path class="limit"') == limits


def test_blocks_in_the_picture_lie_within_it() -> None:
    pipeline, timeline = classic()
    text = render_pipeline_svg(result_of((pipeline, timeline)), timeline, "a")
    width = int(re.findall(r'width="(\d+)"', text)[0])
    for left, length in re.findall(r"M([\d.]+) [\d.]+h([\d.]+)v", text):
        assert float(left) >= 0
        assert float(left) + float(length) <= width


def test_a_crowd_of_passes_makes_no_crowd_of_elements() -> None:
    pipeline = problem(devices=8, microbatches=600)
    timeline = one_f_one_b(pipeline)
    result = result_of((pipeline, timeline))
    picture = render_pipeline_svg(result, timeline, "a")
    assert picture.count("<") < 400, "one path per colour, not one per pass"
    assert len(picture) < 1_000_000
    assert len(render_pipeline_html(result, timeline, "a")) < 1_500_000


class Page(HTMLParser):
    """What a page loads, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.handlers: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href"):
                self.fetched.append(f"{tag} {value}")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_the_page_fetches_nothing_and_holds_every_block(make: Callable) -> None:
    pipeline, timeline = make()
    text = render_pipeline_html(result_of((pipeline, timeline), HOSTILE), timeline, HOSTILE)
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert page.handlers == []
    assert "default-src 'none'" in text
    assert "\x1b" not in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    plan = json.loads(data)
    for device, lanes in enumerate(lanes_of(pipeline, timeline)):
        shown = plan["devices"][device]["lanes"]
        assert [len(lane["kind"]) for lane in shown] == [len(lane.blocks) for lane in lanes]
        for lane in shown:
            assert all(0 <= a <= b for a, b in zip(lane["start"], lane["end"], strict=True))
            assert max(lane["end"], default=0) <= plan["ticks"]
    assert f"{max(p.peak for p in device_memory(pipeline, timeline)):,}" in text


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_the_report_fits_its_width_and_hides_nothing(make: Callable) -> None:
    pipeline, timeline = make()
    text = render_pipeline(result_of((pipeline, timeline), HOSTILE), timeline, HOSTILE)
    assert "\x1b" not in text
    assert "best that fits: 1f1b" in text
    assert "over limit" in text
    assert text.endswith("checked   legal")


def test_both_conventions_of_memory_are_shown_where_they_differ() -> None:
    pipeline, timeline = classic()
    text = render_pipeline(result_of((pipeline, timeline)), timeline, "a")
    assert "if all is held until W" not in text, "with 1F1B and W at once they agree"
    order = tuple(
        Pass(kind, 0, j)
        for kind, j in (("F", 0), ("B", 0), ("F", 1), ("B", 1), ("W", 0), ("W", 1))
        for kind in [PassKind(kind)]
    )
    alone = problem(devices=1, microbatches=2)
    late = simulate_pipeline(alone, PipelineSchedule("late", (0,), (order,)))
    result = result_of((alone, late))
    assert (result.peak_bytes, result.peak_bytes_until_weight) == ((1400,), (2000,))
    assert "if all is held until W: at most 2,000 B" in render_pipeline(result, late, "a")


def test_a_late_first_pass_starts_the_pictures() -> None:
    pipeline, timeline = classic()
    late = simulate_pipeline(pipeline, timeline.schedule, not_before=[500, 0, 0])
    result = result_of((pipeline, late))
    events = json.loads(render_pipeline_trace(result, late, "a"))["traceEvents"]
    assert min(event["ts"] for event in events if event["ph"] == "X") == 0
