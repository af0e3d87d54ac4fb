// Where things stand and what colour they have: panels, scales, the colours of the theme.

const GUTTER = 84;
const MARGIN = 14;
const GAP = 26;
const AXIS = 30;
const ROW = 17;

const canvas = document.getElementById("canvas");
const context = canvas.getContext("2d");
const base = document.createElement("canvas");
const view = { start: 0, end: Math.max(plan.steps, 1) };
const panels = [];
let width = 0;
let height = 0;
let colours = {};
let colourBy = "kind";

const moveRows = MOVES.filter((name) => plan.transfers.kind.includes(name));
const typeRank = rankTypes();

function rankTypes() {
  const bytes = new Map();
  for (let i = 0; i < plan.placements.count; i++) {
    const type = typeOf(i);
    bytes.set(type, (bytes.get(type) ?? 0) + plan.placements.size[i]);
  }
  const ranked = [...bytes.keys()].filter(Boolean).sort((a, b) => bytes.get(b) - bytes.get(a));
  return new Map(ranked.slice(0, 7).map((type, rank) => [type, rank]));
}

// --- layout and scales ----------------------------------------------------------------------

function makePanels() {
  const [near] = plan.memories;
  const limit = near.capacity !== null && near.capacity <= 1.6 * near.arena ? near.capacity : 0;
  const top = Math.max(near.arena, near.bound ?? 0, limit, 1) * 1.06;
  panels.push({ what: "live", memory: 0, height: 96, full: top, low: 0, high: top });
  panels.push({ what: "map", memory: 0, height: 340, full: top, low: 0, high: top });
  if (moveRows.length) panels.push({ what: "moves", height: ROW * moveRows.length });
  plan.memories.slice(1).forEach((memory, i) => {
    const full = Math.max(memory.arena, 1) * 1.06;
    panels.push({ what: "map", memory: i + 1, height: 150, full, low: 0, high: full });
  });
}

function layOut() {
  const ratio = window.devicePixelRatio || 1;
  width = canvas.parentElement.clientWidth;
  let y = GAP;
  for (const panel of panels) {
    panel.y = y;
    y += panel.height + GAP;
  }
  height = y - GAP + AXIS;
  canvas.style.height = `${height}px`;
  for (const surface of [canvas, base]) {
    surface.width = Math.round(width * ratio);
    surface.height = Math.round(height * ratio);
    surface.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }
}

const plotWidth = () => width - GUTTER - MARGIN;
const xOf = (step) => GUTTER + ((step - view.start) / (view.end - view.start)) * plotWidth();
const stepOf = (x) => view.start + ((x - GUTTER) / plotWidth()) * (view.end - view.start);
const yOf = (panel, bytes) =>
  panel.y + panel.height - ((bytes - panel.low) / (panel.high - panel.low)) * panel.height;
const bytesOf = (panel, y) =>
  panel.low + ((panel.y + panel.height - y) / panel.height) * (panel.high - panel.low);
const panelAt = (y) => panels.find((p) => p.y - 4 <= y && y <= p.y + p.height + 4);

// --- colours --------------------------------------------------------------------------------

// Resolves a custom property to what a canvas understands; light-dark() is not a canvas colour.
function readColours() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["panel", "ink", "soft", "rule", "grid", "accent"];
  names.push("capacity", "bound", "live", "on-box", "kind-other");
  colours = Object.fromEntries(names.map((name) => [name, read(name)]));
  for (const kind of KINDS) colours[kind] = tints(read(`kind-${kind}`));
  for (const move of MOVES) colours[move] = read(`move-${move}`);
  colours.types = Array.from({ length: 7 }, (_, i) => tints(read(`type-${i + 1}`)));
  colours.plain = read("kind-activation");
  colours.other = tints(colours["kind-other"]);
  colours.mono = getComputedStyle(document.documentElement).getPropertyValue("--mono");
  colours.sans = getComputedStyle(document.documentElement).getPropertyValue("--sans");
  probe.remove();
}

// Three tints of a colour, so that neighbours of one kind can be told apart.
function tints(colour) {
  const channels = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
  const [from, to] = [channels(colour), channels(colours.panel)];
  return [0, 0.14, 0.28].map((part) => {
    const mixed = from.map((value, i) => Math.round(value + (to[i] - value) * part));
    return `rgb(${mixed.join(" ")})`;
  });
}

function colourOf(index) {
  const tint = plan.placements.storage[index] % 3;
  if (colourBy === "kind") return colours[KINDS[plan.placements.kind[index]]][tint];
  const rank = typeRank.get(typeOf(index));
  return (rank === undefined ? colours.other : colours.types[rank])[tint];
}
