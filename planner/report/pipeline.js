// The chart of a pipeline schedule: lanes of each device, its memory, hover and zoom.

const plan = JSON.parse(document.getElementById("data").textContent);
const canvas = document.getElementById("canvas");
const tooltip = document.getElementById("tooltip");
const pen = canvas.getContext("2d");
const GUTTER = 88;
const MARGIN = 12;
const AXIS = 24;
const few = plan.devices.length <= 16;
const ROW = few ? 22 : 15;
const SIDE = few ? 10 : 7;
const PLOT = few ? 34 : 20;
const GAP = 9;
const SHORTEST = 1e-5;

let width = 0;
let from = 0;
let until = 1;
let alone = -1;
let drawing = false;

// Where every lane and every memory plot stands, from the top.
const places = [];
let height = AXIS;
plan.devices.forEach((device, index) => {
  device.lanes.forEach((lane) => {
    const tall = lane.name === "passes" ? ROW : SIDE;
    places.push({ device: index, lane, y: height, tall });
    height += tall + 1;
  });
  places.push({ device: index, lane: null, y: height, tall: PLOT });
  height += PLOT + GAP;
});

const xOf = (tick) => GUTTER + ((tick / plan.ticks - from) / (until - from)) * (width - GUTTER - MARGIN);
const tickOf = (x) => (from + ((x - GUTTER) / (width - GUTTER - MARGIN)) * (until - from)) * plan.ticks;

const colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement("span");
  document.body.append(probe);
  // light-dark() is resolved by asking an element, not the property itself.
  const resolved = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  for (const kind of Object.keys(plan.kinds)) colours[kind] = resolved(`--pass-${kind}`);
  for (const name of ["ink", "soft", "grid", "accent", "capacity", "on-box", "panel"]) colours[name] = resolved(`--${name}`);
  probe.remove();
  colours.sans = style.getPropertyValue("--sans");
}

function seconds(ticks) {
  const time = ticks * plan.tickS;
  const units = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
  const [length, name] = units.find(([size]) => Math.abs(time) >= 0.9995 * size) ?? (time ? units[3] : units[0]);
  return `${Number((time / length).toPrecision(5)).toLocaleString("en")} ${name}`;
}

const bytes = (size) => `${size.toLocaleString("en")} B`;

function short(size) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (size >= 1023.95 && unit < 5) {
    size /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(size) ? size : size.toFixed(1)} ${units[unit]}`;
}

// --- drawing --------------------------------------------------------------------------------

function drawLane({ lane, y, tall, device }) {
  const left = tickOf(GUTTER);
  const right = tickOf(width - MARGIN);
  const labels = tall >= 14;
  const gap = (xOf(plan.ticks) - xOf(0)) / Math.max(1, lane.start.length) > 4 ? 0.6 : 0;
  let drawnTo = -1;
  for (let i = firstEnding(lane, left); i < lane.start.length && lane.start[i] < right; i += 1) {
    const x = Math.max(xOf(lane.start[i]), GUTTER);
    const end = Math.min(xOf(lane.end[i]), width - MARGIN);
    // What lies within a dot that is painted already would not be seen.
    if (end <= drawnTo + 0.35 && alone < 0) continue;
    const own = alone < 0 || lane.microbatch[i] === alone;
    const deeper = "FBWD".includes(lane.kind[i]) ? plan.chunk[lane.stage[i]] / plan.chunks : 0;
    pen.globalAlpha = own ? 1 - 0.55 * deeper : 0.08;
    pen.fillStyle = colours[lane.kind[i]];
    pen.fillRect(x, y, Math.max(end - x - gap, own && alone >= 0 ? 1.5 : 0.4), tall);
    drawnTo = end;
    if (!labels || !own || lane.microbatch[i] < 0) continue;
    const text = String(lane.microbatch[i]);
    if (end - x < 6.4 * text.length + 3) continue;
    pen.globalAlpha = 1;
    pen.fillStyle = colours["on-box"];
    pen.fillText(text, (x + end) / 2, y + tall / 2 + 0.5);
  }
  pen.globalAlpha = 1;
}

function firstEnding(lane, tick) {
  let low = 0;
  let high = lane.end.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane.end[middle] <= tick) low = middle + 1;
    else high = middle;
  }
  return low;
}

function heldAt(profile, tick) {
  let low = 0;
  let high = profile.tick.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (profile.tick[middle] <= tick) low = middle + 1;
    else high = middle;
  }
  return low ? profile.held[low - 1] : 0;
}

function traceCurve(profile, bottom) {
  const scale = PLOT / plan.highest;
  pen.moveTo(GUTTER, bottom);
  // One dot at a time: the most that is held within it.
  let i = 0;
  let now = heldAt(profile, tickOf(GUTTER));
  while (i < profile.tick.length && profile.tick[i] <= tickOf(GUTTER)) i += 1;
  for (let x = GUTTER; x <= width - MARGIN; x += 0.5) {
    const end = tickOf(x + 0.5);
    let most = now;
    for (; i < profile.tick.length && profile.tick[i] < end; i += 1) {
      now = profile.held[i];
      most = Math.max(most, now);
    }
    pen.lineTo(x, bottom - most * scale);
  }
}

function drawMemory({ device, y }) {
  const { held, whole, limit } = plan.devices[device];
  const bottom = y + PLOT;
  pen.beginPath();
  traceCurve(held, bottom);
  pen.lineWidth = 1;
  pen.strokeStyle = colours.accent;
  pen.stroke();
  pen.lineTo(width - MARGIN, bottom);
  pen.globalAlpha = 0.2;
  pen.fillStyle = colours.accent;
  pen.fill();
  pen.globalAlpha = 1;
  pen.beginPath();
  traceCurve(whole, bottom);
  pen.setLineDash([3, 2]);
  pen.lineWidth = 0.8;
  pen.strokeStyle = colours.soft;
  pen.stroke();
  if (limit !== null) {
    const at = bottom - (limit / plan.highest) * PLOT;
    pen.beginPath();
    pen.setLineDash([6, 3]);
    pen.strokeStyle = colours.capacity;
    pen.moveTo(GUTTER, at);
    pen.lineTo(width - MARGIN, at);
    pen.stroke();
  }
  pen.setLineDash([]);
}

function drawAxis() {
  const span = (until - from) * plan.ticks;
  const rough = (span * plan.tickS) / 8;
  const power = 10 ** Math.floor(Math.log10(rough || 1e-9));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough) / plan.tickS;
  pen.textAlign = "center";
  for (let n = Math.ceil((from * plan.ticks) / step); n * step <= until * plan.ticks; n += 1) {
    const x = xOf(n * step);
    pen.fillStyle = colours.grid;
    pen.fillRect(x, AXIS - 4, 1, height - AXIS);
    pen.fillStyle = colours.soft;
    pen.fillText(n === 0 ? "0" : seconds(n * step), Math.min(x, width - MARGIN - 20), AXIS / 2);
  }
}

function draw() {
  drawing = false;
  const ratio = window.devicePixelRatio || 1;
  width = canvas.clientWidth;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `11px ${colours.sans}`;
  pen.textBaseline = "middle";
  drawAxis();
  pen.font = `10px ${colours.sans}`;
  for (const place of places) {
    pen.textAlign = "center";
    if (place.lane) drawLane(place);
    else drawMemory(place);
  }
  pen.textAlign = "right";
  for (const { device, lane, y, tall } of places) {
    pen.fillStyle = lane && lane.name === "passes" ? colours.ink : colours.soft;
    if (lane && lane.name !== "passes" && !few) continue;
    const text = lane ? (lane.name === "passes" ? `device ${device}` : lane.name) : short(plan.devices[device].peak);
    pen.fillText(text, GUTTER - 8, y + tall / 2);
  }
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

// --- pointing -------------------------------------------------------------------------------

function describe(x, y) {
  const place = places.find((p) => y >= p.y - 1 && y < p.y + p.tall + 1);
  if (!place || x < GUTTER || x > width - MARGIN) return null;
  const tick = tickOf(x);
  const device = plan.devices[place.device];
  const rows = [];
  let title = `device ${place.device}`;
  if (place.lane) {
    const { lane } = place;
    const i = firstEnding(lane, tick);
    if (i < lane.start.length && lane.start[i] <= tick) {
      const kind = lane.kind[i];
      const which = lane.microbatch[i] < 0 ? "" : `.${lane.microbatch[i]}`;
      title = `${kind} ${lane.stage[i]}${which}: ${plan.kinds[kind]}`;
      rows.push(["stage", "ST".includes(kind) ? "vocabulary" : lane.stage[i]]);
      if (which) rows.push(["microbatch", lane.microbatch[i]]);
      rows.push(["on", `device ${place.device}, ${lane.name}`]);
      rows.push(["from", seconds(lane.start[i])], ["to", seconds(lane.end[i])], ["takes", seconds(lane.end[i] - lane.start[i])]);
    } else {
      title = `device ${place.device}: ${lane.name} idle`;
      const start = i ? lane.end[i - 1] : 0;
      const end = i < lane.start.length ? lane.start[i] : plan.ticks;
      rows.push(["from", seconds(start)], ["to", seconds(end)], ["takes", seconds(end - start)]);
    }
  } else {
    title = `device ${place.device}: memory`;
    rows.push(["at", seconds(tick)]);
  }
  rows.push(["holds", bytes(heldAt(device.held, tick))]);
  if (!place.lane) {
    rows.push(["held until W", bytes(heldAt(device.whole, tick))], ["peak", bytes(device.peak)]);
    if (device.limit !== null) rows.push(["limit", bytes(device.limit)]);
  }
  return { title, rows };
}

function show(x, y) {
  const found = describe(x, y);
  tooltip.hidden = !found;
  if (!found) return;
  const list = document.createElement("dl");
  for (const [term, value] of found.rows) {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = value;
    list.append(dt, dd);
  }
  const strong = document.createElement("strong");
  strong.textContent = found.title;
  tooltip.replaceChildren(strong, list);
  const room = width - tooltip.offsetWidth - 8;
  tooltip.style.left = `${Math.max(0, x + 18 > room ? x - tooltip.offsetWidth - 14 : x + 18)}px`;
  tooltip.style.top = `${Math.max(0, Math.min(y + 14, height - tooltip.offsetHeight - 4))}px`;
}

function view(begin, length) {
  const span = Math.min(1, Math.max(SHORTEST, length));
  from = Math.min(Math.max(0, begin), 1 - span);
  until = from + span;
  tooltip.hidden = true;
  redraw();
}

function zoom(factor, x = (GUTTER + width) / 2) {
  const at = tickOf(x) / plan.ticks;
  view(at - (at - from) * factor, (until - from) * factor);
}

let grip = null;
canvas.addEventListener("pointerdown", (event) => {
  grip = { x: event.offsetX, from };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!grip) {
    show(event.offsetX, event.offsetY);
    return;
  }
  canvas.classList.add("dragging");
  view(grip.from - ((event.offsetX - grip.x) / (width - GUTTER - MARGIN)) * (until - from), until - from);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, () => {
    grip = null;
    canvas.classList.remove("dragging");
  });
}
canvas.addEventListener("pointerleave", () => {
  tooltip.hidden = true;
});
canvas.addEventListener("wheel", (event) => {
  // Without Ctrl the page scrolls: the chart of many devices is taller than the window.
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, event.offsetX);
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const span = until - from;
  const moves = {
    ArrowLeft: () => view(from - span / 8, span),
    ArrowRight: () => view(from + span / 8, span),
    "+": () => zoom(0.7),
    "=": () => zoom(0.7),
    "-": () => zoom(1.4),
    0: () => view(0, 1),
  };
  if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  moves[event.key]();
});
document.getElementById("zoom-in").addEventListener("click", () => zoom(0.5));
document.getElementById("zoom-out").addEventListener("click", () => zoom(2));
document.getElementById("reset").addEventListener("click", () => view(0, 1));
document.getElementById("find").addEventListener("input", (event) => {
  alone = event.target.value === "" ? -1 : Number(event.target.value);
  redraw();
});

const legend = document.getElementById("legend");
for (const [kind, name] of Object.entries(plan.kinds)) {
  const item = document.createElement("span");
  const swatch = document.createElement("i");
  swatch.style.background = `var(--pass-${kind})`;
  item.append(swatch, `${kind} ${name}`);
  legend.append(item);
}
if (plan.chunks > 1) legend.append("paler: later stages of a device");
document.getElementById("tools").hidden = false;
document.getElementById("chart-help").hidden = false;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  redraw();
});
new ResizeObserver(redraw).observe(canvas.parentElement);
readColours();
draw();
