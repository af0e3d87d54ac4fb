"""The page in a real browser: it draws, its links open the tooltip, nothing is blocked."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape

import pytest

from planner.report.html import render_html

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser() -> str:
    """The command of a browser of the Chromium family."""
    for name in _BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser on the PATH, tried {', '.join(_BROWSERS)}: the page is not tried")


@pytest.fixture
def load(browser, tmp_path):
    """Load a page without a window; return its document after the scripts ran, and its log."""

    def load(html: str, fragment: str = "") -> tuple[str, str]:
        page = tmp_path / "report.html"
        page.write_text(html, encoding="utf-8")
        run = subprocess.run(
            [
                browser,
                "--headless=new",
                # Browsers refuse to run as root, as in containers, with their sandbox on.
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                f"--user-data-dir={tmp_path / 'profile'}",
                "--window-size=1400,1200",
                "--enable-logging=stderr",
                "--v=0",
                "--dump-dom",
                page.as_uri() + fragment,
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        log = "\n".join(line for line in run.stderr.splitlines() if "CONSOLE" in line)
        return run.stdout, log

    return load


def tooltip_of(document: str) -> str:
    """Return the text of the tooltip; empty while it is hidden."""
    found = re.search(r'<div id="tooltip"([^>]*)>(.*?)</div>', document, re.S)
    assert found
    return "" if "hidden" in found.group(1) else unescape(re.sub(r"<[^>]+>", " ", found.group(2)))


def with_script(html: str, script: str) -> str:
    """Append to the page's script, policy removed, and let it write what it saw to the title."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    at = html.rindex("</script>")
    return html[:at] + script + html[at:]


def test_the_page_draws_every_placement_without_an_error(load, spilling, contenders) -> None:
    html = render_html(spilling.plan, contenders, graph=spilling.graph)
    document, log = load(html)
    assert 'data-ready="1"' in document
    assert f'data-placements="{len(spilling.plan.placements)}"' in document
    assert log == ""
    assert tooltip_of(document) == ""


def test_a_link_to_a_tensor_opens_its_tooltip(load, spilling) -> None:
    document, log = load(render_html(spilling.plan, ()), "#tensor=t43")
    tooltip = tooltip_of(document)
    assert log == ""
    for text in ("t43", "150,480 B", "sram [", "conv_", "activation", "spill", "before step 45"):
        assert text in tooltip


def test_a_link_to_a_step_shows_what_is_live(load, spilling) -> None:
    tooltip = tooltip_of(load(render_html(spilling.plan, ()), "#step=94")[0])
    assert "Step 94: conv_94 (Conv)" in tooltip
    assert "2,100,000 B" in tooltip
    assert "t92 900,000 B" in tooltip


@pytest.mark.parametrize("fragment", ["#step=100", "#tensor=%00&placement=-1"])
def test_a_link_to_nowhere_is_ignored(load, spilling, fragment) -> None:
    document, log = load(render_html(spilling.plan, ()), fragment)
    assert 'data-ready="1"' in document
    assert (tooltip_of(document), log) == ("", "")


def test_hostile_names_run_nothing(load, make_plan, contenders) -> None:
    name = (
        "</script><img src=x onerror=document.title='owned'>\"'&<script>document.title=1</script>"
    )
    graph, plan = make_plan(20, seed=1, prefix=name, spills=True)
    document, log = load(render_html(plan, contenders, graph=graph), "#step=3")
    assert 'data-ready="1"' in document
    assert log == ""
    assert "<img" not in document
    assert name in tooltip_of(document)


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
    html = with_script(render_html(spilling.plan, ()), script)
    document, log = load(html)
    assert log == ""
    title = re.search("<title>(.*?)</title>", document)
    assert title
    assert title.group(1).split() == ["true"] * 9


@pytest.mark.slow
def test_a_plan_of_fifteen_thousand_steps_is_drawn(load, make_plan) -> None:
    graph, plan = make_plan(15_000, seed=5, spills=True)
    document, log = load(render_html(plan, (), graph=graph), "#step=7003")
    assert f'data-placements="{len(plan.placements)}"' in document
    assert log == ""
    assert "Step 7,003" in tooltip_of(document)
