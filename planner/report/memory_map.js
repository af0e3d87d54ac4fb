// Pointing, zooming, tooltips and links into the map.

const NOTHING = { step: -1, placement: -1, transfer: -1 };
let focus = NOTHING;
let pinned = false;

// --- focus ----------------------------------------------------------------------------------

function point(next, x, y) {
  focus = next;
  draw(focus);
  if (focus.transfer >= 0) show(describeTransfer(focus.transfer), pinned, x, y);
  else if (focus.placement >= 0) show(describePlacement(focus.placement), pinned, x, y);
  else if (focus.step >= 0) show(describeStep(focus.step), pinned, x, y);
  else tooltip.hidden = true;
}

// Where the tooltip of a link, a key or a pin stands.
function anchor() {
  const { step, placement, transfer } = focus;
  if (transfer >= 0) {
    const { x, w, y } = moveBox(panels.find((panel) => panel.what === "moves"), transfer);
    return [x + w, y];
  }
  if (placement >= 0) {
    const memory = plan.placements.memory[placement];
    const panel = panels.find((p) => p.what === "map" && p.memory === memory);
    const { x, y, w, h } = boxOf(panel, placement);
    return [Math.min(x + w, width - MARGIN), Math.max(y + h / 2, panel.y)];
  }
  return [xOf(step + 1), panels[0].y + 40];
}

function pin(next) {
  focus = next;
  pinned = true;
  point(focus, ...anchor());
}

function unpin() {
  pinned = false;
  point(NOTHING, 0, 0);
}

function under(x, y) {
  const panel = panelAt(y);
  const step = Math.floor(stepOf(x));
  if (!panel || x < GUTTER || x > width - MARGIN || step < 0 || step >= plan.steps) return NOTHING;
  if (panel.what === "moves") return { ...NOTHING, step, transfer: transferAt(panel, x, y) };
  if (panel.what === "live") return { ...NOTHING, step };
  return { ...NOTHING, step, placement: placementAt(panel.memory, step, bytesOf(panel, y)) };
}

function transferAt(panel, x, y) {
  const row = Math.floor((y - panel.y) / ROW);
  let best = -1;
  let nearest = 8;
  plan.transfers.kind.forEach((kind, i) => {
    if (kind !== moveRows[row]) return;
    const box = moveBox(panel, i);
    const distance = Math.max(box.x - x, x - box.x - box.w, 0);
    if (distance < nearest) [best, nearest] = [i, distance];
  });
  return best;
}

// Brings a stretch of steps into view, with something around it.
function reveal(start, end) {
  const span = Math.min(plan.steps, Math.max((end - start) * 3, 40));
  const inside = start >= view.start && end <= view.end;
  const visible = ((end - start) / (view.end - view.start)) * plotWidth() >= 3;
  if (inside && visible) return;
  setTime((start + end) / 2 - span / 2, span);
  fit();
}

function goToPlacement(index) {
  const p = plan.placements;
  reveal(p.start[index], p.end[index]);
  pin({ ...NOTHING, step: Math.min(p.start[index], plan.steps - 1), placement: index });
}

function goToStep(step) {
  reveal(step, step + 1);
  pin({ ...NOTHING, step });
}

function goToName(name) {
  const p = plan.placements;
  const own = Array.from(p.storage.keys()).filter((i) => placementName(i) === name);
  const [best = -1] = own.sort((a, b) => p.memory[a] - p.memory[b] || p.start[a] - p.start[b]);
  if (best >= 0) goToPlacement(best);
}

// The step that a link or a person names by its time; -1 if there is none.
function namedStep(text) {
  if (!/^-?\d+$/.test(text ?? "")) return -1;
  const step = stepAt(Number(text));
  return step >= 0 && step < plan.steps ? step : -1;
}

// #step=12, #tensor=conv_7_out, #placement=3: a place in the map to send to a colleague. In a
// packing it is #time=12 and #buffer=conv_7_out.
function followLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  const number = Number(link.get("placement") ?? NaN);
  const placement = Number.isInteger(number) && number < plan.placements.count ? number : -1;
  const step = namedStep(link.get(plan.axis));
  if (placement >= 0) goToPlacement(placement);
  else if (step >= 0) goToStep(step);
  else if (link.has(plan.noun)) goToName(link.get(plan.noun));
  else return;
  document.getElementById("map-section").scrollIntoView({ block: "nearest" });
}

// --- zoom and pan ---------------------------------------------------------------------------

function redraw() {
  drawBase();
  if (!pinned) {
    draw(focus);
    return;
  }
  pin(focus);
  const [x] = anchor();
  tooltip.hidden = x < GUTTER || xOf(focus.step) > width - MARGIN;
}

let scheduled = false;
function redrawSoon() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    redraw();
  });
}

function setTime(start, span) {
  const most = Math.max(plan.steps, 1);
  const kept = Math.min(Math.max(span, Math.min(4, most)), most);
  view.start = Math.min(Math.max(start, 0), most - kept);
  view.end = view.start + kept;
  redrawSoon();
}

function setAddresses(panel, low, span) {
  const kept = Math.min(Math.max(span, 16), panel.full);
  panel.low = Math.min(Math.max(low, 0), panel.full - kept);
  panel.high = panel.low + kept;
}

function zoomTime(factor, x) {
  const span = (view.end - view.start) * factor;
  const fixed = stepOf(x);
  setTime(fixed - ((x - GUTTER) / plotWidth()) * span, span);
}

function zoomAddresses(panel, factor, y) {
  const fixed = bytesOf(panel, y);
  const span = (panel.high - panel.low) * factor;
  const part = (panel.y + panel.height - y) / panel.height;
  setAddresses(panel, fixed - part * span, span);
  redrawSoon();
}

// Scales addresses and bytes to what is in view.
function fit() {
  const p = plan.placements;
  const tops = plan.memories.map(() => 0);
  for (let i = 0; i < p.count; i++) {
    if (p.end[i] <= view.start || p.start[i] >= view.end) continue;
    tops[p.memory[i]] = Math.max(tops[p.memory[i]], p.offset[i] + p.size[i]);
  }
  for (const panel of panels) {
    if (panel.what !== "moves") setAddresses(panel, 0, (tops[panel.memory] || panel.full) * 1.08);
  }
  redraw();
}

function reset() {
  for (const panel of panels) [panel.low, panel.high] = [0, panel.full];
  unpin();
  setTime(0, plan.steps);
}

canvas.addEventListener(
  "wheel",
  (event) => {
    const panel = panelAt(event.offsetY);
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) && !event.shiftKey;
    const factor = Math.exp((event.deltaY || event.deltaX) * 0.0016);
    if (sideways) {
      const span = view.end - view.start;
      setTime(view.start + (event.deltaX / plotWidth()) * span, span);
    } else if (panel?.what === "map" && (event.shiftKey || event.offsetX < GUTTER)) {
      zoomAddresses(panel, factor, event.offsetY);
    } else if (factor > 1 && view.end - view.start >= plan.steps) {
      return; // Nothing left to zoom out of: the page scrolls.
    } else {
      zoomTime(factor, Math.max(event.offsetX, GUTTER));
    }
    event.preventDefault();
  },
  { passive: false },
);

let drag = null;
canvas.addEventListener("pointerdown", (event) => {
  drag = { x: event.offsetX, y: event.offsetY, panel: panelAt(event.offsetY), moved: false };
  canvas.setPointerCapture?.(event.pointerId);
});

canvas.addEventListener("pointermove", (event) => {
  const { offsetX: x, offsetY: y } = event;
  if (!drag) {
    if (!pinned) point(under(x, y), x, y);
    return;
  }
  if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < 4) return;
  drag.moved = true;
  canvas.classList.add("dragging");
  const span = view.end - view.start;
  if (drag.panel?.what === "map") {
    const { panel } = drag;
    const range = panel.high - panel.low;
    setAddresses(panel, panel.low + ((y - drag.y) / panel.height) * range, range);
  }
  setTime(view.start - ((x - drag.x) / plotWidth()) * span, span);
  [drag.x, drag.y] = [x, y];
});

canvas.addEventListener("pointerup", (event) => {
  const clicked = drag && !drag.moved;
  drag = null;
  canvas.classList.remove("dragging");
  if (!clicked) return;
  const next = under(event.offsetX, event.offsetY);
  pinned = next !== NOTHING && !pinned;
  point(next, event.offsetX, event.offsetY);
  if (pinned) remember();
});

canvas.addEventListener("pointerleave", () => {
  if (!pinned && !drag) point(NOTHING, 0, 0);
});

// What is pinned becomes the page's link.
function remember() {
  const link =
    focus.placement >= 0 ? `placement=${focus.placement}` : `${plan.axis}=${timeAt(focus.step)}`;
  history.replaceState(null, "", `#${link}`);
}

canvas.addEventListener("keydown", (event) => {
  const middle = focus.step >= 0 ? xOf(focus.step) : GUTTER + plotWidth() / 2;
  const walk = (by) => {
    const from = focus.step >= 0 ? focus.step : Math.floor(view.start) - Math.sign(by);
    goToStep(Math.min(Math.max(from + by, 0), plan.steps - 1));
  };
  const climb = (by) => {
    const live = liveAt(0, Math.max(focus.step, 0));
    const at = live.indexOf(focus.placement);
    const next = live[at < 0 ? (by > 0 ? 0 : live.length - 1) : at + by];
    if (next === undefined) return;
    const { step } = focus;
    goToPlacement(next);
    // Stay at the step, so that climbing does not walk in time.
    focus = { ...focus, step: Math.max(step, 0) };
    draw(focus);
  };
  const keys = {
    ArrowLeft: () => walk(event.shiftKey ? -10 : -1),
    ArrowRight: () => walk(event.shiftKey ? 10 : 1),
    ArrowUp: () => climb(1),
    ArrowDown: () => climb(-1),
    "+": () => zoomTime(0.7, middle),
    "=": () => zoomTime(0.7, middle),
    "-": () => zoomTime(1 / 0.7, middle),
    f: fit,
    0: reset,
    Escape: unpin,
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key] || !plan.steps) return;
  event.preventDefault();
  keys[event.key]();
});

// --- around the map -------------------------------------------------------------------------

function swatch(paint) {
  const icon = document.createElement("canvas");
  icon.width = 32;
  icon.height = 24;
  const ctx = icon.getContext("2d");
  ctx.scale(2, 2);
  paint(ctx);
  return icon;
}

function drawLegend() {
  const entries = [];
  const box = (colour) => (ctx) => {
    ctx.fillStyle = colour;
    ctx.fillRect(0, 1, 16, 10);
  };
  if (colourBy === "kind") {
    KINDS.forEach((kind, code) => {
      if (plan.placements.kind.includes(code)) entries.push([kind, box(colours[kind][0])]);
    });
  } else {
    for (const [type, rank] of typeRank) entries.push([type, box(colours.types[rank][0])]);
    entries.push(["other", box(colours.other[0])]);
  }
  if (plan.placements.over.some((input) => input >= 0)) {
    entries.push([
      "written in place",
      (ctx) => {
        box(colours.plain)(ctx);
        drawHatch(ctx, 0, 1, 16, 10);
      },
    ]);
  }
  if (usesOf.size) {
    entries.push([
      "in a gap",
      (ctx) => {
        ctx.globalAlpha = IDLE;
        box(colours.plain)(ctx);
      },
    ]);
  }
  for (const move of moveRows) {
    entries.push([
      `${move} (${plan.transfers.kind.filter((kind) => kind === move).length.toLocaleString("en-US")})`,
      (ctx) => {
        ctx.fillStyle = colours[move];
        drawArrow(ctx, { x: 8, w: 0, y: 6, move });
      },
    ]);
  }
  document.getElementById("legend").replaceChildren(
    ...entries.map(([label, paint]) => {
      const entry = document.createElement("span");
      entry.append(swatch(paint), label);
      return entry;
    }),
  );
}

function repaint() {
  readColours();
  drawLegend();
  redraw();
}

function wireTools() {
  // Not every page has every tool.
  const on = (id, event, action) => document.getElementById(id)?.addEventListener(event, action);
  const centre = () => GUTTER + plotWidth() / 2;
  on("zoom-in", "click", () => zoomTime(0.5, centre()));
  on("zoom-out", "click", () => zoomTime(2, centre()));
  on("fit", "click", fit);
  on("reset", "click", reset);
  on("peak", "click", () => goToStep(peakStep(0)));
  on("colour", "change", (event) => {
    colourBy = event.target.value;
    repaint();
  });
  on("find", "change", (event) => {
    const text = event.target.value.trim();
    if (plan.storages.name.includes(text)) goToName(text);
    else if (namedStep(text) >= 0) goToStep(namedStep(text));
  });
  const themes = ["auto", "light", "dark"];
  on("theme", "click", (event) => {
    const now = document.documentElement.dataset.theme ?? "auto";
    const next = themes[(themes.indexOf(now) + 1) % themes.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    event.target.textContent = `Theme: ${next}`;
    repaint();
  });
  // More names than this make the browser's own list slow; typing the whole name still works.
  const names = document.getElementById("names");
  for (const index of new Set(plan.placements.storage.slice(0, 2000))) {
    const option = document.createElement("option");
    option.value = plan.storages.name[index];
    names.append(option);
  }
  for (const id of ["tools", "theme", "map-help"]) document.getElementById(id).hidden = false;
}

window.addEventListener("hashchange", followLink);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
new ResizeObserver(() => {
  if (canvas.parentElement.clientWidth === width) return;
  layOut();
  redraw();
}).observe(canvas.parentElement);

makePanels();
wireTools();
layOut();
repaint();
followLink();
document.documentElement.dataset.placements = String(plan.placements.count);
document.documentElement.dataset.ready = "1";
