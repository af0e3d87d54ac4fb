// What is drawn, as columns: a plan's storages over steps, or a packing's buffers over times. Names
// come from whoever wrote the model: they reach the page through textContent and canvas text only,
// never as markup.
const plan = (() => {
  const raw = JSON.parse(document.getElementById("data").textContent);
  const { placements, storages } = raw;
  // Where only a part of a storage is meant, its bytes [begin, end) are given.
  const partSize = (column, i) => {
    const part = column.part?.[i];
    return part ? part[1] - part[0] : storages.size[column.storage[i]];
  };
  const count = placements.storage.length;
  const size = new Float64Array(count);
  const kind = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    size[i] = partSize(placements, i);
    kind[i] = storages.kind[placements.storage[i]];
  }
  const overwrittenBy = new Int32Array(count).fill(-1);
  placements.over.forEach((input, output) => {
    if (input >= 0) overwrittenBy[input] = output;
  });
  return {
    ...raw,
    transfers: {
      ...raw.transfers,
      part: raw.transfers.part ?? {},
      size: raw.transfers.storage.map((_, i) => partSize(raw.transfers, i)),
    },
    placements: {
      count,
      size,
      part: placements.part ?? {},
      kind,
      overwrittenBy,
      over: Int32Array.from(placements.over),
      storage: Int32Array.from(placements.storage),
      memory: Uint16Array.from(placements.memory),
      // Bytes can exceed 32 bits; doubles are exact to 2^53.
      offset: Float64Array.from(placements.offset),
      start: Int32Array.from(placements.start),
      end: Int32Array.from(placements.end),
    },
  };
})();

const KINDS = plan.kinds;
const MOVES = ["fetch", "reload", "store", "spill", "move"];

function exactBytes(bytes) {
  return `${bytes.toLocaleString("en-US")} B`;
}

// Up to two decimals, so that axis ticks of a quarter of a unit are exact.
function shortBytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (Math.abs(bytes) >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes.toLocaleString("en-US", { maximumFractionDigits: 2 })} ${units[unit]}`;
}

function bothBytes(bytes) {
  return bytes < 1024 ? exactBytes(bytes) : `${exactBytes(bytes)} (${shortBytes(bytes)})`;
}

function count(number, noun) {
  return `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
}

// A packing's steps are the stretches of time between two of its times; a plan's are its times.
function timeAt(step) {
  return plan.times?.[step] ?? step;
}

function stepAt(time) {
  if (!plan.times) return time;
  const after = plan.times.findIndex((start) => start > time);
  return after < 0 ? plan.steps : after - 1;
}

// Of placements with gaps, the bytes in use and when; of the others everything is in use.
const usesOf = new Map();
plan.uses?.placement.forEach((placement, i) => {
  const { start, end, begin, size } = plan.uses;
  if (!usesOf.has(placement)) usesOf.set(placement, []);
  usesOf.get(placement).push({
    start: start[i],
    end: end[i],
    offset: plan.placements.offset[placement] + begin[i],
    size: size[i],
  });
});

function inUse(index, step, address) {
  const uses = usesOf.get(index);
  return (
    !uses ||
    uses.some(
      (use) =>
        use.start <= step && step < use.end &&
        use.offset <= address && address < use.offset + use.size,
    )
  );
}

function placementName(index) {
  return plan.storages.name[plan.placements.storage[index]];
}

// A scan over four typed arrays: 20,000 placements take some ten microseconds, less than any
// index would save. The later placement wins, which for an in-place pair is the output; one that
// does not use the byte is found where no other one does.
function placementAt(memory, step, address) {
  const p = plan.placements;
  let idle = -1;
  for (let i = p.count - 1; i >= 0; i--) {
    if (
      p.start[i] <= step && step < p.end[i] && p.memory[i] === memory &&
      p.offset[i] <= address && address < p.offset[i] + p.size[i]
    ) {
      if (inUse(i, step, address)) return i;
      if (idle < 0) idle = i;
    }
  }
  return idle;
}

// Placements of one memory live at a step, by address.
function liveAt(memory, step) {
  const p = plan.placements;
  const live = [];
  for (let i = 0; i < p.count; i++) {
    if (p.memory[i] === memory && p.start[i] <= step && step < p.end[i]) live.push(i);
  }
  return live.sort((a, b) => p.offset[a] - p.offset[b] || a - b);
}

function peakStep(memory) {
  const live = plan.memories[memory].live;
  return live.reduce((best, bytes, step) => (bytes > live[best] ? step : best), 0);
}

// The step that writes a storage for the first time, -1 for inputs, which no step writes.
const madeAt = (() => {
  const p = plan.placements;
  const first = new Int32Array(plan.storages.name.length).fill(plan.steps);
  for (let i = 0; i < p.count; i++) {
    first[p.storage[i]] = Math.min(first[p.storage[i]], p.start[i]);
  }
  return first.map((step, storage) => (plan.storages.kind[storage] === 0 ? -1 : step));
})();

function typeOf(index) {
  return plan.operators.type[madeAt[plan.placements.storage[index]]] ?? "";
}
