// What the tooltip says of a plan's placements and steps.

function stepLabel(step) {
  if (step >= plan.steps) return "after the last step";
  return `step ${step.toLocaleString("en-US")}, ${plan.operators.label[step]}`;
}

// Names of the operands that a step uses in a memory; none where there is but one for them.
function servedAt(step, memory) {
  const names = [];
  plan.served?.step.forEach((at, i) => {
    if (at !== step || plan.served.memory[i] !== memory) return;
    names.push(plan.storages.name[plan.served.storage[i]]);
  });
  return names;
}

function listed(names, most) {
  const more = names.length - most;
  return names.slice(0, most).join(", ") + (more > 0 ? ` and ${more} more` : "");
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
  if (p.part[index]) rows.splice(1, 0, ["part", partName(p.part[index], " of it")]);
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

function describeStep(step) {
  const rows = plan.memories.map((memory) => [memory.name, `${bothBytes(memory.live[step])} live`]);
  if (plan.time) {
    const microseconds = (value) =>
      `${value.toLocaleString("en-US", { maximumFractionDigits: 3 })} µs`;
    const [start, end] = [plan.time.start[step], plan.time.end[step]];
    rows.push(["simulated", `${microseconds(start)} to ${microseconds(end)}`]);
  }
  plan.memories.forEach((memory, m) => {
    const names = servedAt(step, m);
    if (names.length) rows.push([`${memory.name} serves`, listed(names, 6)]);
  });
  const p = plan.placements;
  const live = liveAt(0, step)
    .filter((i) => p.overwrittenBy[i] < 0 || p.end[i] > step + 1)
    .sort((a, b) => p.size[b] - p.size[a] || a - b);
  rows.push(["largest", live.slice(0, 5).map((i) => `${placementName(i)} ${exactBytes(p.size[i])}`).join(", ")]);
  return [`Step ${step.toLocaleString("en-US")}: ${plan.operators.label[step]}`, rows];
}
