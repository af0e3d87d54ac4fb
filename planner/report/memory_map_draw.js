// Draws the map on one canvas: panels below each other that share the time axis. What costs time
// is drawn once per view into `base`; hovering only adds the marks on top of it.

// How much of a colour is left of what is reserved and idle.
const IDLE = 0.22;

// The time of the first step, where every step is one unit of time long.
const ORIGIN = timeAt(plan.steps) - timeAt(0) === plan.steps ? timeAt(0) : 0;

// --- the base layer -------------------------------------------------------------------------

function drawBase() {
  const ctx = base.getContext("2d");
  ctx.fillStyle = colours.panel;
  ctx.fillRect(0, 0, width, height);
  const ticks = timeTicks();
  for (const panel of panels) {
    drawFrame(ctx, panel, ticks);
    clipped(ctx, panel, () => {
      if (panel.what === "live") drawLive(ctx, panel);
      if (panel.what === "map") drawPlacements(ctx, panel);
      if (panel.what === "moves") drawMoves(ctx, panel);
    });
    if (panel.what !== "moves") drawLimits(ctx, panel);
  }
  drawTimeAxis(ctx, ticks);
}

function clipped(ctx, panel, draw) {
  ctx.save();
  ctx.beginPath();
  // An arrow at the first or last boundary is not cut in half.
  const room = panel.what === "moves" ? 6 : 0;
  ctx.rect(GUTTER - room, panel.y, plotWidth() + 2 * room, panel.height);
  ctx.clip();
  draw();
  ctx.restore();
}

function write(ctx, text, x, y, { align = "left", colour = colours.soft, font = "11.5px" } = {}) {
  ctx.font = `${font} ${colours.sans}`;
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}

function timeTicks() {
  const room = Math.max(90, 7 * timeAt(plan.steps).toLocaleString("en-US").length + 20);
  const rough = (view.end - view.start) / Math.max(plotWidth() / room, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const every = Math.max(1, [1, 2, 5, 10].find((n) => n * power >= rough) * power);
  const ticks = [];
  const first = Math.ceil((view.start + ORIGIN) / every) * every - ORIGIN;
  for (let t = first; t <= view.end; t += every) ticks.push(t);
  return ticks;
}

function byteTicks(panel) {
  const rough = (panel.high - panel.low) / Math.max(panel.height / 44, 1);
  const every = 2 ** Math.max(0, Math.ceil(Math.log2(rough)));
  const ticks = [];
  for (let b = Math.ceil(panel.low / every) * every; b <= panel.high; b += every) ticks.push(b);
  return { ticks, format: every < 1024 ? exactBytes : shortBytes };
}

function drawFrame(ctx, panel, ticks) {
  ctx.fillStyle = colours.grid;
  for (const tick of ticks) ctx.fillRect(Math.round(xOf(tick)), panel.y, 1, panel.height);
  if (panel.what === "moves") {
    moveRows.forEach((name, row) => {
      const at = panel.y + row * ROW + ROW / 2;
      write(ctx, name, GUTTER - 8, at, { align: "right", colour: colours[name] });
    });
  } else {
    const scale = byteTicks(panel);
    for (const bytes of scale.ticks) {
      const y = Math.round(yOf(panel, bytes));
      ctx.fillStyle = colours.grid;
      ctx.fillRect(GUTTER, y, plotWidth(), 1);
      write(ctx, scale.format(bytes), GUTTER - 8, y, { align: "right" });
    }
  }
  ctx.strokeStyle = colours.rule;
  ctx.lineWidth = 1;
  ctx.strokeRect(GUTTER - 0.5, panel.y - 0.5, plotWidth() + 1, panel.height + 1);
  write(ctx, titleOf(panel), GUTTER, panel.y - 12, { colour: colours.ink, font: "600 12px" });
}

function titleOf(panel) {
  if (panel.what === "moves") return "Transfers";
  const { name } = plan.memories[panel.memory];
  return panel.what === "live" ? `Bytes live in ${name}` : `Addresses of ${name}`;
}

function drawTimeAxis(ctx, ticks) {
  const y = height - AXIS + 13;
  for (const tick of ticks) {
    write(ctx, timeAt(tick).toLocaleString("en-US"), xOf(tick), y, { align: "center" });
  }
  write(ctx, plan.axis, GUTTER - 8, y, { align: "right" });
}

// One column per pixel, each the maximum of its steps: a peak of one step never vanishes.
function drawLive(ctx, panel) {
  const { live } = plan.memories[panel.memory];
  const columns = [];
  for (let x = GUTTER; x < GUTTER + plotWidth(); x++) {
    const first = Math.max(0, Math.floor(stepOf(x)));
    const last = Math.min(live.length, Math.max(first + 1, Math.ceil(stepOf(x + 1))));
    let most = 0;
    for (let step = first; step < last; step++) most = Math.max(most, live[step]);
    columns.push([x, yOf(panel, most)]);
  }
  const floor = yOf(panel, 0);
  ctx.fillStyle = colours.plain;
  ctx.globalAlpha = 0.3;
  for (const [x, y] of columns) ctx.fillRect(x, y, 1, floor - y);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colours.live;
  ctx.lineWidth = 1;
  ctx.lineJoin = "round";
  ctx.beginPath();
  for (const [x, y] of columns) {
    ctx.lineTo(x, y);
    ctx.lineTo(x + 1, y);
  }
  ctx.stroke();
  const peak = peakStep(panel.memory);
  const x = (xOf(peak) + xOf(peak + 1)) / 2;
  const y = yOf(panel, live[peak] ?? 0);
  ctx.fillStyle = colours.ink;
  ctx.beginPath();
  ctx.arc(x, y, 3.5, 0, 2 * Math.PI);
  ctx.fill();
}

function boxOf(panel, index) {
  const { start, end, offset, size } = plan.placements;
  return boxAround(panel, start[index], end[index], offset[index], size[index]);
}

function boxAround(panel, start, end, offset, size) {
  const x = xOf(start);
  // What is reserved for no whole step still shows.
  const w = Math.max(xOf(end) - x, 1);
  const h = Math.max((size / (panel.high - panel.low)) * panel.height, 1);
  return { x, w, h, y: yOf(panel, offset) - h };
}

function fillBox(ctx, { x, y, w, h }) {
  // Big boxes are parted by a hair line of background; small ones would vanish behind it.
  const gap = w > 4 && h > 3 ? 1 : 0;
  ctx.fillRect(x, y + gap / 2, w - gap, h - gap);
}

// Behind everything else, faintly, what is reserved and idle: others may lie there.
function drawIdle(ctx, panel) {
  ctx.globalAlpha = IDLE;
  for (const index of usesOf.keys()) {
    if (plan.placements.memory[index] !== panel.memory) continue;
    ctx.fillStyle = colourOf(index);
    fillBox(ctx, boxOf(panel, index));
  }
  ctx.globalAlpha = 1;
}

function drawPlacements(ctx, panel) {
  const p = plan.placements;
  const perStep = xOf(1) - xOf(0);
  drawIdle(ctx, panel);
  for (let i = 0; i < p.count; i++) {
    if (p.memory[i] !== panel.memory || p.end[i] < view.start || p.start[i] > view.end) continue;
    const box = boxOf(panel, i);
    if (box.y > panel.y + panel.height || box.y + box.h < panel.y) continue;
    ctx.fillStyle = colourOf(i);
    const uses = usesOf.get(i);
    if (!uses) fillBox(ctx, box);
    else for (const use of uses) {
      fillBox(ctx, boxAround(panel, use.start, use.end, use.offset, use.size));
    }
  }
  for (let i = 0; i < p.count; i++) {
    if (p.memory[i] !== panel.memory || p.end[i] < view.start || p.start[i] > view.end) continue;
    const box = boxOf(panel, i);
    if (p.over[i] >= 0 && perStep >= 3) drawHatch(ctx, box.x, box.y, perStep, box.h);
    const shared = [p.over[i], p.overwrittenBy[i]].map((other) => (other >= 0 ? perStep : 0));
    const [first] = usesOf.get(i) ?? [];
    const named = first ? boxAround(panel, first.start, first.end, first.offset, first.size) : box;
    drawName(ctx, i, named, ...shared);
  }
  drawPeak(ctx, panel);
}

// Where the peak is, across the addresses that make it.
function drawPeak(ctx, panel) {
  const { live } = plan.memories[panel.memory];
  if (!live.length) return;
  const peak = peakStep(panel.memory);
  ctx.strokeStyle = colours.ink;
  ctx.lineWidth = 1;
  ctx.globalAlpha = 0.55;
  ctx.setLineDash([1, 3]);
  ctx.beginPath();
  ctx.moveTo((xOf(peak) + xOf(peak + 1)) / 2, panel.y);
  ctx.lineTo((xOf(peak) + xOf(peak + 1)) / 2, panel.y + panel.height);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.globalAlpha = 1;
}

// Marks the step in which an output is written over its input.
function drawHatch(ctx, x, y, w, h) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, w, h);
  ctx.clip();
  ctx.strokeStyle = colours.panel;
  ctx.lineWidth = 1.5;
  ctx.globalAlpha = 0.8;
  ctx.beginPath();
  for (let along = -h; along < w; along += 6) {
    ctx.moveTo(x + along, y + h);
    ctx.lineTo(x + along + h, y);
  }
  ctx.stroke();
  ctx.restore();
}

// The name, where it fits beside the steps shared with an in-place partner.
function drawName(ctx, index, { x, y, w, h }, sharedBefore, sharedAfter) {
  const left = Math.max(x + sharedBefore, GUTTER) + 5;
  const room = Math.min(x + w - sharedAfter, width - MARGIN) - 4 - left;
  if (room < 7 || h < 13) return;
  ctx.font = `11px ${colours.mono}`;
  // The canvas font is monospaced; measuring every name would cost more than drawing it.
  const letters = Math.floor(room / 6.7);
  const name = placementName(index);
  // Names of one model differ at their ends: block3.conv2.
  const text = name.length > letters ? `…${name.slice(1 - letters)}` : name;
  if (letters < Math.min(name.length, 6)) return;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillStyle = colours["on-box"];
  ctx.fillText(text, left, y + h / 2 + 0.5);
}

// Lines across the panel; their labels stand beside its title, where no box covers them.
function drawLimits(ctx, panel) {
  const memory = plan.memories[panel.memory];
  let right = width - MARGIN;
  for (const [name, bytes] of [
    ["bound", memory.bound],
    ["capacity", memory.capacity],
  ]) {
    if (bytes === null) continue;
    const label = `${name === "bound" ? "lower bound" : memory.capacityLabel} ${shortBytes(bytes)}`;
    const beyond = bytes > panel.full ? ", above this scale" : "";
    write(ctx, label + beyond, right, panel.y - 12, { align: "right", colour: colours[name] });
    right -= ctx.measureText(label + beyond).width + 8;
    strokeLimit(ctx, name, right - 18, right, panel.y - 12);
    right -= 36;
    if (panel.low <= bytes && bytes <= panel.high) {
      strokeLimit(ctx, name, GUTTER, width - MARGIN, Math.round(yOf(panel, bytes)) + 0.5);
    }
  }
}

function strokeLimit(ctx, name, from, to, y) {
  ctx.strokeStyle = colours[name];
  ctx.lineWidth = 1.5;
  ctx.setLineDash(name === "bound" ? [5, 4] : []);
  ctx.beginPath();
  ctx.moveTo(from, y);
  ctx.lineTo(to, y);
  ctx.stroke();
  ctx.setLineDash([]);
}

// --- transfers ------------------------------------------------------------------------------

function moveBox(panel, index) {
  const { start, end, kind } = plan.transfers;
  const row = moveRows.indexOf(kind[index]);
  const from = xOf(start[index]);
  const w = Math.max(xOf(end[index]) - from, 0);
  return { x: from, w, y: panel.y + row * ROW + ROW / 2, move: kind[index] };
}

function drawMoves(ctx, panel) {
  for (let row = 1; row < moveRows.length; row++) {
    ctx.fillStyle = colours.grid;
    ctx.fillRect(GUTTER, panel.y + row * ROW, plotWidth(), 1);
  }
  const visible = [];
  for (let i = 0; i < plan.transfers.kind.length; i++) {
    const { x, w } = moveBox(panel, i);
    if (x + w >= GUTTER - 6 && x <= width) visible.push(i);
  }
  // Arrows that would run into each other become ticks, whose density still shows.
  const crowded = visible.length > (moveRows.length * plotWidth()) / 24;
  for (const i of visible) {
    const box = moveBox(panel, i);
    ctx.fillStyle = colours[plan.transfers.kind[i]];
    const runs = plan.transfers.runs?.[i];
    const [x, w] = runs ? [xOf(runs[0]), xOf(runs[1]) - xOf(runs[0])] : [box.x, box.w];
    if (crowded) ctx.fillRect(x, box.y - 5, Math.max(w, 1), 10);
    else {
      if (runs) ctx.fillRect(x, box.y - 3, w, 6);
      drawArrow(ctx, box);
    }
  }
}

// Towards the nearest memory, which is drawn above, or away from it. The bar is the time that the
// copy has, thicker while it runs in the simulation, the arrow where it has to be done. A move within that memory is a diamond.
function drawArrow(ctx, { x, w, y, move }) {
  const tip = MOVES.indexOf(move) < 2 ? -5 : 5;
  ctx.fillRect(x, y - 1, w, 2);
  ctx.beginPath();
  if (move === "move") {
    for (const [dx, dy] of [[0, -5], [5, 0], [0, 5], [-5, 0]]) ctx.lineTo(x + dx, y + dy);
    ctx.fill();
    return;
  }
  ctx.moveTo(x + w, y + tip);
  ctx.lineTo(x + w - 4, y - tip * 0.7);
  ctx.lineTo(x + w + 4, y - tip * 0.7);
  ctx.fill();
}

// --- marks on top -----------------------------------------------------------------------------

// `focus` is what the pointer, a key or a link points at: {step, placement, transfer}, -1 for none.
function draw(focus) {
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(base, 0, 0);
  context.restore();
  if (focus.step >= 0) {
    const x = xOf(focus.step);
    context.fillStyle = colours.ink;
    for (const panel of panels) {
      clipped(context, panel, () => {
        context.globalAlpha = 0.1;
        context.fillRect(x, panel.y, Math.max(xOf(focus.step + 1) - x, 1), panel.height);
        context.globalAlpha = 1;
      });
    }
  }
  const storage =
    focus.placement >= 0
      ? plan.placements.storage[focus.placement]
      : focus.transfer >= 0
        ? plan.transfers.storage[focus.transfer]
        : -1;
  if (storage >= 0) outline(storage, focus.placement);
}

// Everything of one storage: all its placements, in all memories, and its transfers.
function outline(storage, focused) {
  const p = plan.placements;
  context.strokeStyle = colours.ink;
  for (const panel of panels) {
    clipped(context, panel, () => {
      for (let i = 0; panel.what === "map" && i < p.count; i++) {
        if (p.storage[i] !== storage || p.memory[i] !== panel.memory) continue;
        const { x, y, w, h } = boxOf(panel, i);
        context.lineWidth = i === focused ? 2.5 : 1.5;
        context.strokeRect(x, y, Math.max(w - 1, 1), Math.max(h - 1, 1));
      }
      for (let i = 0; panel.what === "moves" && i < plan.transfers.storage.length; i++) {
        if (plan.transfers.storage[i] !== storage) continue;
        const { x, y, w } = moveBox(panel, i);
        context.lineWidth = 1.5;
        context.strokeRect(x - 6.5, y - 7, w + 13, 14);
      }
    });
  }
}
