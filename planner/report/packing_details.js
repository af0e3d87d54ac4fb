// What the tooltip says of a packing's buffers and times.

function describePlacement(index) {
  const p = plan.placements;
  const { alignment, fixed, hint, preferred, gaps } = plan.buffers;
  const [from, to] = [timeAt(p.start[index]), timeAt(p.end[index])];
  const { name: memory } = plan.memories[p.memory[index]];
  const rows = [
    ["bytes", bothBytes(p.size[index])],
    ["address", `${memory} ${interval(p.offset[index], p.offset[index] + p.size[index])}`],
    ["times", `${interval(from, to)}, ${(to - from).toLocaleString("en-US")} long`],
  ];
  if (gaps[index]) rows.push(["gaps", gaps[index]]);
  if (alignment[index] > 1) rows.push(["alignment", exactBytes(alignment[index])]);
  if (fixed[index]) rows.push(["fixed", "at this offset"]);
  if (hint[index] !== null) {
    const kept = hint[index] === p.offset[index];
    rows.push(["hint", `${exactBytes(hint[index])}, ${kept ? "kept" : "not kept"}`]);
  }
  if (preferred[index] !== p.memory[index]) {
    rows.push(["displaced", `from ${plan.memories[preferred[index]].name}`]);
  }
  const others = plan.storages.others[p.storage[index]];
  if (others) rows.push(["colocated", others]);
  return [placementName(index), rows];
}

function describeStep(step) {
  const rows = plan.memories.map((memory) => [memory.name, `${bothBytes(memory.live[step])} live`]);
  const p = plan.placements;
  const live = [];
  for (let i = 0; i < p.count; i++) {
    if (p.start[i] <= step && step < p.end[i]) live.push(i);
  }
  live.sort((a, b) => p.size[b] - p.size[a] || a - b);
  const largest = live.slice(0, 5).map((i) => `${placementName(i)} ${exactBytes(p.size[i])}`);
  rows.push(["largest", largest.join(", ")], ["buffers", live.length.toLocaleString("en-US")]);
  return [`Times ${interval(timeAt(step), timeAt(step + 1))}`, rows];
}
