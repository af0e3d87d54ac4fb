// The tooltip, and what it says of a transfer. What it says of placements and steps is the page's.

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

function interval(start, end) {
  const [from, to] = [start, end].map((step) => step.toLocaleString("en-US"));
  return `[${from}, ${to})`;
}

function describeMove(index) {
  const { from, to, start, end } = plan.transfers;
  const when =
    start[index] === end[index]
      ? `before step ${start[index].toLocaleString("en-US")}`
      : `during steps ${interval(start[index], end[index])}`;
  const [source, destination] = [from, to].map((end) => plan.memories[end[index]].name);
  const where = from[index] === to[index] ? `within ${source}` : `${source} to ${destination}`;
  return `${partName(plan.transfers.part[index], " of it, ")}${where}, ${when}`;
}

function partName(part, after) {
  return part ? `bytes ${interval(...part)}${after}` : "";
}

function describeTransfer(index) {
  const storage = plan.transfers.storage[index];
  const rows = [
    [plan.transfers.kind[index], describeMove(index)],
    ["bytes", bothBytes(plan.transfers.size[index])],
  ];
  const runs = plan.transfers.runs?.[index];
  if (runs) rows.push(["simulated", `in steps ${Math.floor(runs[0])} to ${Math.max(Math.ceil(runs[1]) - 1, Math.floor(runs[0]))}`]);
  return [plan.storages.name[storage], rows];
}
