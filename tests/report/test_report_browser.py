"""The page in a real browser: it draws, its links open the tooltip, nothing is blocked."""

from __future__ import annotations

import pytest

from planner.report.html import render_html


def test_the_page_draws_every_placement_without_an_error(load, spilling, contenders) -> None:
    html = render_html(spilling.plan, contenders, graph=spilling.graph)
    page = load(html)
    assert 'data-ready="1"' in page.document
    assert f'data-placements="{len(spilling.plan.placements)}"' in page.document
    assert (page.log, page.tooltip) == ("", "")


def test_a_link_to_a_tensor_opens_its_tooltip(load, spilling) -> None:
    page = load(render_html(spilling.plan, ()), "#tensor=t43")
    assert page.log == ""
    for text in ("t43", "150,480 B", "sram [", "conv_", "activation", "spill", "before step 45"):
        assert text in page.tooltip


def test_a_link_to_a_step_shows_what_is_live(load, spilling) -> None:
    tooltip = load(render_html(spilling.plan, ()), "#step=94").tooltip
    assert "Step 94: conv_94 (Conv)" in tooltip
    assert "2,100,000 B" in tooltip
    assert "t92 900,000 B" in tooltip


@pytest.mark.parametrize("fragment", ["#step=100", "#tensor=%00&placement=-1"])
def test_a_link_to_nowhere_is_ignored(load, spilling, fragment) -> None:
    page = load(render_html(spilling.plan, ()), fragment)
    assert 'data-ready="1"' in page.document
    assert (page.tooltip, page.log) == ("", "")


def test_hostile_names_run_nothing(load, make_plan, contenders) -> None:
    name = (
        "</script><img src=x onerror=document.title='owned'>\"'&<script>document.title=1</script>"
    )
    graph, plan = make_plan(20, seed=1, prefix=name, spills=True)
    page = load(render_html(plan, contenders, graph=graph), "#step=3")
    assert 'data-ready="1"' in page.document
    assert page.log == ""
    assert "<img" not in page.document
    assert name in page.tooltip


def test_the_policy_stops_a_script_that_is_not_the_pages_own(load, small) -> None:
    html = render_html(small.plan, ()).replace(
        "</main>", "<script>document.title=1</script></main>"
    )
    document, log = load(html)
    assert 'data-ready="1"' in document
    assert "Content Security Policy" in log


def test_pointing_zooming_and_dragging_change_the_view(load, spilling) -> None:
    script = """
    const seen = [];
    const rect = canvas.getBoundingClientRect();
    const fire = (kind, type, x, y, more = {}) =>
      canvas.dispatchEvent(new kind(type, { clientX: rect.left + x, clientY: rect.top + y,
        bubbles: true, cancelable: true, ...more }));
    const panel = panels.find((p) => p.what === "map");
    const own = panels.find((p) => p.what === "map" && p.memory === plan.placements.memory[5]);
    const box = boxOf(own, 5);
    fire(PointerEvent, "pointermove", box.x + box.w / 2, box.y + box.h / 2);
    seen.push(focus.placement === 5, !tooltip.hidden);
    const wide = view.end - view.start;
    fire(WheelEvent, "wheel", 600, panel.y + 50, { deltaY: -400 });
    seen.push(view.end - view.start < wide);
    const low = panel.high - panel.low;
    fire(WheelEvent, "wheel", 600, panel.y + 50, { deltaY: -400, shiftKey: true });
    seen.push(panel.high - panel.low < low);
    reset();
    seen.push(view.start === 0 && view.end === plan.steps && panel.high === panel.full);
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    seen.push(focus.step === 1, pinned);
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
    seen.push(focus.placement >= 0 && focus.step === 1);
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    seen.push(tooltip.hidden);
    document.title = seen.join(" ");
    """
    page = load(render_html(spilling.plan, ()), script=script)
    assert page.log == ""
    assert page.title.split() == ["true"] * 9


@pytest.mark.slow
def test_a_plan_of_fifteen_thousand_steps_is_drawn(load, make_plan) -> None:
    graph, plan = make_plan(15_000, seed=5, spills=True)
    page = load(render_html(plan, (), graph=graph), "#step=7003")
    assert f'data-placements="{len(plan.placements)}"' in page.document
    assert page.log == ""
    assert "Step 7,003" in page.tooltip
