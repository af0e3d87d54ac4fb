// What the tooltip says of a placement, a transfer or a step.

const tooltip = document.getElementById("tooltip");

function show([title, rows], pinned, x, y) {
  const heading = document.createElement("strong");
  heading.textContent = title;
  const list = document.createElement("dl");
  for (const [label, text] of rows) {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = label;
    description.textContent = text;
    list.append(term, description);
  }
  tooltip.replaceChildren(heading, list);
  tooltip.hidden = false;
  tooltip.classList.toggle("pinned", pinned);
  // Beside the pointer, on the side that has room.
  const right = x + 16 + tooltip.offsetWidth < width;
  const left = right ? x + 16 : Math.max(x - 16 - tooltip.offsetWidth, 4);
  const top = Math.min(Math.max(y - 20, 4), Math.max(height - tooltip.offsetHeight - 4, 4));
  tooltip.style.left = `${left}px`;
  tooltip.style.top = `${top}px`;
}

function stepLabel(step) {
  if (step >= plan.steps) return "after the last step";
  return `step ${step.toLocaleString("en-US")}, ${plan.operators.label[step]}`;
}

function interval(start, end) {
  const [from, to] = [start, end].map((step) => step.toLocaleString("en-US"));
  return `[${from}, ${to})`;
}

function describePlacement(index) {
  const p = plan.placements;
  const storage = p.storage[index];
  const { name: memory } = plan.memories[p.memory[index]];
  const top = p.offset[index] + p.size[index];
  const rows = [
    ["bytes", bothBytes(p.size[index])],
    ["address", `${memory} ${interval(p.offset[index], top)}`],
    ["steps", `${interval(p.start[index], p.end[index])}, ${count(p.end[index] - p.start[index], "step")}`],
    ["kind", KINDS[p.kind[index]]],
  ];
  const made = madeAt[storage];
  if (made >= 0) rows.push(["made by", stepLabel(made)]);
  if (made !== p.start[index]) rows.push(["begins", stepLabel(p.start[index])]);
  rows.push(["last", stepLabel(Math.max(p.end[index] - 1, p.start[index]))]);
  if (p.over[index] >= 0) rows.push(["in place", `over ${placementName(p.over[index])}`]);
  if (p.overwrittenBy[index] >= 0) {
    rows.push(["in place", `overwritten by ${placementName(p.overwrittenBy[index])}`]);
  }
  const others = plan.storages.others[storage];
  if (others) rows.push(["shared by", others]);
  const moves = [];
  plan.transfers.storage.forEach((moved, i) => moved === storage && moves.push(i));
  moves.sort((a, b) => plan.transfers.start[a] - plan.transfers.start[b]);
  for (const i of moves.slice(0, 6)) rows.push([plan.transfers.kind[i], describeMove(i)]);
  return [plan.storages.name[storage], rows];
}

function describeMove(index) {
  const { from, to, start, end } = plan.transfers;
  const when =
    start[index] === end[index]
      ? `before step ${start[index].toLocaleString("en-US")}`
      : `during steps ${interval(start[index], end[index])}`;
  return `${plan.memories[from[index]].name} to ${plan.memories[to[index]].name}, ${when}`;
}

function describeTransfer(index) {
  const storage = plan.transfers.storage[index];
  return [
    plan.storages.name[storage],
    [
      [plan.transfers.kind[index], describeMove(index)],
      ["bytes", bothBytes(plan.storages.size[storage])],
    ],
  ];
}

function describeStep(step) {
  const rows = plan.memories.map((memory) => [memory.name, `${bothBytes(memory.live[step])} live`]);
  if (plan.time) {
    const microseconds = (value) =>
      `${value.toLocaleString("en-US", { maximumFractionDigits: 3 })} µs`;
    const [start, end] = [plan.time.start[step], plan.time.end[step]];
    rows.push(["simulated", `${microseconds(start)} to ${microseconds(end)}`]);
  }
  const p = plan.placements;
  const live = liveAt(0, step)
    .filter((i) => p.overwrittenBy[i] < 0 || p.end[i] > step + 1)
    .sort((a, b) => p.size[b] - p.size[a] || a - b);
  rows.push(["largest", live.slice(0, 5).map((i) => `${placementName(i)} ${exactBytes(p.size[i])}`).join(", ")]);
  return [`Step ${step.toLocaleString("en-US")}: ${plan.operators.label[step]}`, rows];
}
