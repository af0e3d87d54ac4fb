"""For the reports' tests: plans of chains with skips and spills, no solver involved; a browser."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html import unescape
from itertools import pairwise
from typing import NamedTuple

import pytest

from planner.footprint import largest_footprint
from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.liveness import storage_lifetimes
from planner.metrics import measure_bytes
from planner.plans import (
    InPlace,
    Metrics,
    Placement,
    Plan,
    PlannedOperator,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.problem import Objective, Status
from planner.result import ContenderReport, PlanResult
from planner.target import Link, Memory, Target

ALIGNMENT = 64
SPILL_GAP = 8
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Planned(NamedTuple):
    """A graph and a legal plan of it."""

    graph: Graph
    plan: Plan


class Interval(NamedTuple):
    """A part of a storage's life in one memory; ``over`` is the storage it is written over."""

    storage: int
    memory: str
    start: int
    end: int
    over: int | None = None


def chain_graph(operators: int, seed: int = 0, prefix: str = "") -> Graph:
    """Conv, Relu (in place), Add with a skip, in a random walk of sizes; two constants."""
    rng = random.Random(seed)
    tensors: list[Tensor] = []
    storages: list[Storage] = []

    def tensor(name: str, size: int, kind: StorageKind, *, is_output: bool = False) -> int:
        storages.append(Storage(prefix + name, size, kind, is_output))
        tensors.append(Tensor(prefix + name, (size // 4,), "float32", len(tensors), 0, size))
        return len(tensors) - 1

    weight = tensor("weight", 36_864, StorageKind.CONSTANT)
    bias = tensor("bias", 4_096, StorageKind.CONSTANT)
    last = tensor("image", 150_528, StorageKind.INPUT)
    nodes: list[Operator] = []
    skips: list[int] = []
    readers: Counter[int] = Counter()
    for i in range(operators):
        is_output = i == operators - 1
        kind = ("Conv", "Relu", "Conv", "Add")[i % 4]
        size = tensors[last].size_bytes
        inputs: tuple[int, ...] = (last,)
        if kind == "Conv":
            # Sizes wander, but neither explode nor vanish.
            size = min(max(size * rng.choice((1, 2, 3)) // rng.choice((1, 2, 3)), 2_048), 900_000)
            size = size // 4 * 4
            inputs = (last, weight, bias)
        elif kind == "Add" and skips:
            inputs = (last, skips.pop(rng.randrange(len(skips))))
        output = tensor(f"t{i}", size, StorageKind.ACTIVATION, is_output=is_output)
        option = kind == "Relu" and readers[last] == 0 and last not in skips
        outputs = [output]
        if kind == "Conv" and i % 8 == 0:
            outputs.append(tensor(f"scratch{i}", 8_192, StorageKind.WORKSPACE))
        nodes.append(
            Operator(
                f"{prefix}{kind.lower()}_{i}",
                kind,
                inputs,
                tuple(outputs),
                (InPlaceOption(output, last),) if option and not is_output else (),
            )
        )
        readers.update(inputs)
        if kind == "Add" or (kind == "Conv" and rng.random() < 0.3):
            skips.append(output)
        if len(skips) > 3:
            skips.pop(0)
        last = output
    model = ModelReference(f"{prefix}chain{operators}.onnx", "0" * 64)
    return Graph(model, tuple(nodes), tuple(tensors), tuple(storages))


def chain_plan(operators: int, *, seed: int = 0, spills: bool = False, prefix: str = "") -> Planned:
    """Plan the chain in its own order, first fit; spill what waits long to a second memory."""
    graph = chain_graph(operators, seed, prefix)
    order = tuple(range(operators))
    lives = storage_lifetimes(graph, order, inputs_resident=not spills, outputs_resident=not spills)
    in_place = []
    for index, node in enumerate(graph.operators):
        for option in node.in_place:
            if int(lives.end[option.input]) == index + 1:
                in_place.append(InPlace(index, option.output, option.input))
    intervals, transfers = _whole_lives(graph, lives, in_place), []
    if spills:
        intervals, transfers = _with_spills(graph, intervals, in_place)
    placements = _first_fit(graph, intervals)
    arena = max(
        p.offset + graph.storages[p.storage].size_bytes for p in placements if p.memory == "sram"
    )
    near = Memory("sram", -(-(arena + graph.constant_bytes) // 1024) * 1024 + 16_384, ALIGNMENT)
    memories = (near, Memory("dram", None, ALIGNMENT))
    links = (Link("sram", "dram", 1e9), Link("dram", "sram", 1e9))
    target = Target("npu", memories, links, io_memory="dram") if spills else Target("mcu", (near,))
    plan = Plan(
        model=graph.model,
        target=target,
        order=order,
        storages=planned_storages(graph),
        placements=tuple(sorted(placements)),
        transfers=tuple(sorted(transfers)),
        in_place=tuple(in_place),
        metrics=Metrics({}, {}, 0, 0),
        provenance=Provenance("greedy", "feasible", "traffic" if spills else "peak"),
        operators=tuple(PlannedOperator(o.name, o.type) for o in graph.operators),
    )
    metrics = replace(
        measure_bytes(graph, target, plan),
        peak_lower_bound_bytes=largest_footprint(graph, in_place=True).size_bytes,
        traffic_lower_bound_bytes=0,
    )
    return Planned(graph, replace(plan, metrics=metrics))


def _whole_lives(graph: Graph, lives, in_place: list[InPlace]) -> list[Interval]:
    over = {pair.output: pair.input for pair in in_place}
    return [
        Interval(s, "sram", int(lives.start[s]), int(lives.end[s]), over.get(s))
        for s in range(len(graph.storages))
        if lives.end[s] > lives.start[s]
    ]


def _with_spills(
    graph: Graph, intervals: list[Interval], in_place: list[InPlace]
) -> tuple[list[Interval], list[Transfer]]:
    kept = {pair.output for pair in in_place} | {pair.input for pair in in_place}
    result: list[Interval] = []
    transfers: list[Transfer] = []
    steps = len(graph.operators)
    for whole in intervals:
        storage = graph.storages[whole.storage]
        uses = graph.storage_users.row(whole.storage).tolist()
        start = whole.start
        if storage.kind is StorageKind.INPUT:
            transfers.append(
                Transfer(whole.storage, "dram", "sram", start, start, TransferKind.FETCH)
            )
            result.append(Interval(whole.storage, "dram", 0, start + 1))
        for before, after in pairwise(uses):
            if whole.storage in kept or after - before < SPILL_GAP:
                continue
            out, back = before + 1, after
            # Spills wait in the gap between two steps, reloads run beside the step before.
            transfers.append(Transfer(whole.storage, "sram", "dram", out, out, TransferKind.SPILL))
            transfers.append(
                Transfer(whole.storage, "dram", "sram", back - 1, back, TransferKind.RELOAD)
            )
            result.append(Interval(whole.storage, "sram", start, out))
            result.append(Interval(whole.storage, "dram", out, back + 1))
            start = back - 1
        result.append(whole._replace(start=start))
        if storage.is_output:
            transfers.append(
                Transfer(whole.storage, "sram", "dram", steps, steps, TransferKind.STORE)
            )
            result.append(Interval(whole.storage, "dram", steps - 1, steps))
    return result, transfers


def _first_fit(graph: Graph, intervals: list[Interval]) -> list[Placement]:
    """Place in order of start at the lowest free offset; what is written in place, on its input."""
    placements: list[Placement] = []
    active: dict[str, list[Placement]] = {}
    for interval in sorted(intervals, key=lambda i: (i.start, i.over is not None, i.storage)):
        live = [p for p in active.get(interval.memory, []) if p.end > interval.start]
        size = graph.storages[interval.storage].size_bytes
        if interval.over is not None:
            offset = next(p.offset for p in live if p.storage == interval.over)
        else:
            offset = 0
            for p in sorted(live, key=lambda p: p.offset):
                if p.offset >= offset + size:
                    break
                top = p.offset + graph.storages[p.storage].size_bytes
                offset = max(offset, -(-top // ALIGNMENT) * ALIGNMENT)
        placement = Placement(
            interval.storage, interval.memory, offset, interval.start, interval.end
        )
        placements.append(placement)
        active[interval.memory] = [*live, placement]
    return placements


CONTENDERS = (
    ContenderReport("exact", "optimal", 1_003_520, 1_003_520, 0.021, "", 1_003_520),
    ContenderReport("greedy", "feasible", 1_204_224, None, 0.001, "", 1_204_224),
    ContenderReport("cosma", "unknown", None, 786_432, 30.0, "time limit", None),
    ContenderReport("malloc-game", "skipped", None, None, 0.0, "needs PyTorch", None),
)


@pytest.fixture
def small() -> Planned:
    """Twelve steps, one memory, one in-place pair or more."""
    return chain_plan(12)


@pytest.fixture
def spilling() -> Planned:
    """A hundred steps, two memories, transfers of all four kinds."""
    return chain_plan(100, seed=3, spills=True)


@pytest.fixture
def contenders() -> tuple[ContenderReport, ...]:
    """One of every status that a table has to show."""
    return CONTENDERS


@pytest.fixture
def make_plan():
    """Build a chain of any length."""
    return chain_plan


@pytest.fixture
def make_result():
    """Wrap a plan as the API hands it to the text report."""

    def wrap(planned: Planned) -> PlanResult:
        return PlanResult(planned.plan, planned.graph, Objective.PEAK, Status.FEASIBLE, CONTENDERS)

    return wrap


class LoadedPage(NamedTuple):
    """A page's document after its scripts ran, and what the console says."""

    document: str
    log: str

    @property
    def tooltip(self) -> str:
        """The text of the tooltip; empty while it is hidden."""
        found = re.search(r'<div id="tooltip"([^>]*)>(.*?)</div>', self.document, re.S)
        assert found
        if "hidden" in found.group(1):
            return ""
        return unescape(re.sub(r"<[^>]+>", " ", found.group(2)))

    @property
    def title(self) -> str:
        """The document's title, where `with_script` leaves what it saw."""
        found = re.search("<title>(.*?)</title>", self.document)
        assert found
        return unescape(found.group(1))


@pytest.fixture(scope="session")
def browser() -> str:
    """The command of a browser of the Chromium family."""
    for name in _BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser on the PATH, tried {', '.join(_BROWSERS)}: the page is not tried")


@pytest.fixture
def load(browser, tmp_path):
    """Load a page without a window."""

    def load(html: str, fragment: str = "", *, script: str = "") -> LoadedPage:
        page = tmp_path / "report.html"
        page.write_text(_with_script(html, script) if script else html, encoding="utf-8")
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
        return LoadedPage(run.stdout, log)

    return load


def _with_script(html: str, script: str) -> str:
    """Append to the page's script, policy removed; it writes what it saw to the title."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    at = html.rindex("</script>")
    return html[:at] + script + html[at:]
