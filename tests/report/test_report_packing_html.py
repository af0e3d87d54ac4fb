"""The HTML report of a packing: complete, nothing fetched, names never markup; in a browser too."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from planner.packing.problem import Buffer, Colocation, Gap, MemorySpace, PackingProblem, uses
from planner.packing.result import PackResult
from planner.report.packing_html import render_packing_html
from planner.report.packing_occupancy import packing_occupancies

from .first_fit import first_fit
from .html_page import Page

HOSTILE = "</script><img src=x onerror=document.title='owned'>\"'&<!--\u202e\x1b[31m\n"


def constrained(prefix: str = "") -> PackingProblem:
    """Gaps with and without a window, a fixed buffer, hints, colocations, two memories."""
    near, far = f"{prefix}near", f"{prefix}far"
    buffers = (
        Buffer(f"{prefix}whole", 0, 40, 1024, memories=(near,)),
        Buffer(f"{prefix}gap", 2, 30, 4096, 64, (Gap(5, 20),), memories=(near,)),
        Buffer(f"{prefix}window", 3, 33, 2048, 1, (Gap(10, 30, (0, 512)),), memories=(near,)),
        Buffer(f"{prefix}guest", 12, 28, 1000, memories=(near,)),
        Buffer(f"{prefix}fixed", 0, 9, 256, offset=8192, memories=(near,)),
        Buffer(f"{prefix}hinted", 1, 4, 128, hint=4096, memories=(far,)),
        Buffer(f"{prefix}concat", 20, 30, 900, memories=(far,)),
        Buffer(f"{prefix}slice", 15, 28, 400, memories=(far,)),
    )
    return PackingProblem(
        buffers,
        (MemorySpace(near, 16_384), MemorySpace(far)),
        (Colocation(f"{prefix}concat", f"{prefix}slice", 500),),
    )


def html_of(problem: PackingProblem, source: str = "constrained.json") -> tuple[PackResult, str]:
    result = first_fit(problem)
    assert result.packing is not None
    return result, render_packing_html(result, result.packing, source)


def test_the_page_is_well_formed_and_fetches_nothing() -> None:
    page = Page(html_of(constrained())[1])
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "srcset", "style", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("sha256-") == 2


def test_hostile_names_are_text_everywhere() -> None:
    _, html = html_of(constrained(HOSTILE), HOSTILE)
    ordinary = Page(html_of(constrained())[1])
    assert {tag for tag, _ in Page(html).elements} <= {tag for tag, _ in ordinary.elements}
    assert not set(html) & {"\u202e", "\x1b"}
    data = next(re.finditer(r'id="data">(.*?)</script>', html, re.S)).group(1)
    assert "<" not in data
    assert json.loads(data)["storages"]["name"][0].startswith("</script><img")


def test_the_data_is_the_packing() -> None:
    problem = constrained()
    result, html = html_of(problem)
    data = Page(html).data()
    assert result.packing is not None
    columns, times = data["placements"], data["times"]
    assert sorted(data["storages"]["name"]) == sorted(b.name for b in problem.buffers)
    for column, name in enumerate(data["storages"]["name"]):
        index = problem.index[name]
        buffer = problem.buffers[index]
        assert columns["offset"][column] == result.packing.offset[index]
        assert columns["memory"][column] == result.packing.memory[index]
        assert times[columns["start"][column]] == buffer.lower
        assert times[columns["end"][column]] == buffer.upper
        if buffer.gaps:
            drawn = [
                (times[start], times[end], begin, begin + size)
                for placement, start, end, begin, size in zip(*data["uses"].values(), strict=True)
                if placement == column
            ]
            assert drawn == uses(buffer)
    areas = [problem.buffers[problem.index[name]] for name in data["storages"]["name"]]
    assert [b.size * (b.upper - b.lower) for b in areas] == sorted(
        (b.size * (b.upper - b.lower) for b in areas), reverse=True
    )


def test_live_bytes_are_those_of_the_packing_at_every_step_of_the_map() -> None:
    problem = constrained()
    result, html = html_of(problem)
    data = Page(html).data()
    assert result.packing is not None
    for memory, occupancy in zip(
        data["memories"], packing_occupancies(problem, result.packing), strict=True
    ):
        known = dict(zip(occupancy.times.tolist(), occupancy.live_bytes.tolist(), strict=False))
        live = 0
        for time, drawn in zip(data["times"], memory["live"], strict=False):
            live = known.get(time, 0 if time == occupancy.times[-1] else live)
            assert drawn == live
        assert max(memory["live"]) == occupancy.peak_bytes


def test_far_apart_times_are_drawn_event_by_event_and_the_page_says_so() -> None:
    sparse = tuple(Buffer(f"b{i}", 10**12 * i, 10**12 * (i + 2), 64) for i in range(-3, 4))
    _, html = html_of(PackingProblem(sparse))
    assert Page(html).data()["times"] == [10**12 * i for i in range(-3, 6)]
    assert "one width for every stretch of time" in html
    dense = tuple(Buffer(f"b{i}", 3 * i, 3 * i + 5, 64) for i in range(9))
    _, html = html_of(PackingProblem(dense))
    assert Page(html).data()["times"] == list(range(30))
    assert "one width for every stretch of time" not in html


def test_the_tables_hold_the_memories_the_peak_and_the_solvers() -> None:
    result, html = html_of(constrained())
    page = Page(html)
    assert {"Memories", "What makes the peak", "Solvers"} <= set(page.texts["h2"])
    for memory in result.memories:
        assert f"{memory.height_bytes:,}" in page.texts["td"]
        assert memory.name in page.texts["td"]
    assert "greedy" in page.texts["td"]


def test_the_same_packing_gives_the_same_bytes() -> None:
    assert html_of(constrained())[1] == html_of(constrained())[1]


def test_nothing_to_pack_has_a_page() -> None:
    assert Page(html_of(PackingProblem(()))[1]).data()["steps"] == 0


# --- in a browser ---------------------------------------------------------------------------


def test_every_buffer_is_drawn_without_an_error(load) -> None:
    page = load(html_of(constrained())[1])
    assert 'data-ready="1"' in page.document
    assert 'data-placements="8"' in page.document
    assert (page.log, page.tooltip) == ("", "")


def test_an_empty_packing_is_drawn(load) -> None:
    page = load(html_of(PackingProblem(()))[1])
    assert 'data-ready="1"' in page.document
    assert page.log == ""


def test_a_link_to_a_buffer_opens_what_is_known_of_it(load) -> None:
    page = load(html_of(constrained())[1], "#buffer=window")
    for text in ("window", "2,048 B", "near [", "[3, 33), 30 long", "[10, 30) but bytes [0, 512)"):
        assert text in page.tooltip


def test_a_link_to_a_time_shows_what_is_live(load) -> None:
    problem = PackingProblem(
        (Buffer("early", -5, 1_000_000, 64), Buffer("late", 999_000, 2_000_000, 512))
    )
    page = load(html_of(problem)[1], "#time=999500")
    assert "Times [999,000, 1,000,000)" in page.tooltip
    assert "late 512 B, early 64 B" in page.tooltip
    script = "document.title = [-6, -5, 998999, 999000, 1999999, 2000000].map(namedStep)"
    assert load(html_of(problem)[1], script=script).title == "-1,0,0,1,2,-1"


def test_hostile_names_run_nothing(load) -> None:
    page = load(html_of(constrained(HOSTILE), HOSTILE)[1], "#placement=0")
    assert 'data-ready="1"' in page.document
    assert page.log == ""
    assert "<img" not in page.document
    assert page.title != "owned"
    assert "</script><img" in page.tooltip


def test_pointing_into_a_gap_finds_who_uses_the_bytes(load) -> None:
    """The guest lies in the gap; elsewhere in the gap its owner is found."""
    buffers = (Buffer("owner", 0, 30, 100, gaps=(Gap(5, 25),)), Buffer("guest", 10, 20, 50))
    script = """
    const at = (step, address) => plan.storages.name[placementAt(0, step, address)];
    const seen = [at(2, 10), at(7, 10), at(12, 10), at(12, 70), at(27, 10)];
    const rect = canvas.getBoundingClientRect();
    const panel = panels.find((p) => p.what === "map");
    canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: rect.left + xOf(12.5),
      clientY: rect.top + yOf(panel, 10), bubbles: true }));
    seen.push(placementName(focus.placement), String(!tooltip.hidden));
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    seen.push(String(focus.step));
    document.title = seen.join(" ");
    """
    page = load(html_of(PackingProblem(buffers))[1], script=script)
    assert page.log == ""
    assert page.title == "owner owner guest owner owner guest true 13"


@pytest.mark.slow
def test_sixty_thousand_buffers_open(load) -> None:
    rng = np.random.default_rng(5)
    lower = rng.integers(0, 100_000, 60_000).tolist()
    upper = (np.array(lower) + rng.integers(1, 20, 60_000)).tolist()
    size = rng.integers(1, 4096, 60_000).tolist()
    buffers = tuple(
        Buffer(f"b{i}", lo, up, s)
        for i, (lo, up, s) in enumerate(zip(lower, upper, size, strict=True))
    )
    page = load(shelves(PackingProblem(buffers)), "#buffer=b777")
    assert 'data-placements="60000"' in page.document
    assert page.log == ""
    assert "b777" in page.tooltip


def shelves(problem: PackingProblem) -> str:
    """A packing that is quick to make: everything on a shelf of its own height."""
    from planner.packing.problem import Packing
    from planner.packing.result import MemoryUse
    from planner.problem import Status

    free: list[int] = []
    offset = np.zeros(len(problem.buffers), dtype=np.int64)
    for index in sorted(range(len(problem.buffers)), key=lambda i: problem.buffers[i].lower):
        buffer = problem.buffers[index]
        shelf = next((s for s, end in enumerate(free) if end <= buffer.lower), len(free))
        if shelf == len(free):
            free.append(0)
        free[shelf] = buffer.upper
        offset[index] = 4096 * shelf
    packing = Packing(np.zeros(len(offset), dtype=np.int32), offset)
    use = MemoryUse("memory", len(offset), 4096 * len(free), 1, 1, None)
    result = PackResult(problem, packing, Status.FEASIBLE, (use,), "greedy")
    return render_packing_html(result, packing, "sixty thousand.csv")
