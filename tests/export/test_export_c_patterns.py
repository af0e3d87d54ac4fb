"""The exported C of random graphs sees the bytes it must, under every kind of plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import planner
from planner.errors import DoesNotFitError
from planner.export.c import c_files
from planner.graph import Graph, ModelReference, Operator, Storage, StorageKind, Tensor
from planner.metrics import measure_bytes
from planner.parameters import with_parameters
from planner.plans import (
    Metrics,
    Placement,
    Plan,
    Provenance,
    Transfer,
    TransferKind,
    planned_storages,
)
from planner.target import Link, Target
from planner.testing import assert_legal, naive_plan, random_graph

from .c_compiler import build, execute
from .pattern_runs import PATTERN_C, calls_of, expected, program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def naive_cases(seeds: Iterable[int]) -> list[tuple[Graph, Plan]]:
    """Plans by chance: in place, spills, parts, moves, operands used far away, parameters."""
    npu = planner.read_target("npu-1m")
    near = npu.nearest.name
    moving = replace(npu, links=(*npu.links, Link(near, near, 1e9)))
    usable = replace(npu, operands_resident=False)
    targets: Sequence[tuple[Target, float]] = (
        (planner.read_target("host"), 0.0),
        (npu, 0.0),
        (npu, 0.7),
        (moving, 0.4),
        (usable, 0.3),
    )
    cases = []
    for seed in seeds:
        target, split = targets[seed % len(targets)]
        graph = random_graph(seed, 6 + seed % 9)
        if seed % 7 == 0 and target.io_memory != target.nearest.name:
            graph = with_parameters(graph)
        cases.append((graph, naive_plan(graph, target, seed, split=split)))
    return cases


def raced_case(seed: int, target: Target, share: float) -> tuple[Graph, Plan]:
    """A plan of the solvers in a memory that is as small as a share of what would be easy."""
    graph = random_graph(seed, 9)
    easy = sum(storage.size_bytes for storage in graph.storages)
    while True:
        capacity = {target.nearest.name: -(-int(easy * share) // 64) * 64}
        try:
            result = planner.plan(
                graph, target=target, memory=capacity, time_limit=5, partial_spills=seed % 2 == 0
            )
        except DoesNotFitError:
            share *= 1.2
            continue
        return result.graph, result.plan


def run_cases(folder: Path, cases: Sequence[tuple[Graph, Plan]]) -> None:
    """Compile all of them into one program; compare everything that every operator reads."""
    sources, functions, includes, wanted, options = ["main.c"], [], [], [], []
    for number, (graph, plan) in enumerate(cases):
        assert_legal(graph, plan.target, plan)
        model = calls_of(graph)
        files = c_files(model, plan, f"case{number}")
        (folder / f"{files.prefix}.h").write_text(files.header)
        (folder / f"{files.prefix}.c").write_text(files.source)
        sources.append(f"{files.prefix}.c")
        includes.append(f'#include "{files.prefix}.h"')
        functions.append(program(files, model))
        wanted += 3 * [f"run {files.prefix}", *expected(model, plan)]
        if number % 2:
            options.append(f"-D{files.prefix.upper()}_POISON=0xA5")
    calls = "\n".join(f"    run_case{number}();" for number in range(len(cases)))
    # The shared part comes with the first header; its users follow.
    main = (
        "#define _POSIX_C_SOURCE 200112L\n"
        + "\n".join(includes)
        + PATTERN_C.replace("#define _POSIX_C_SOURCE 200112L\n", "")
        + "\n".join(functions)
        + f"int main(void)\n{{\n{calls}\n    return 0;\n}}\n"
    )
    (folder / "main.c").write_text(main)
    printed = execute(build(folder, sources, *options)).splitlines()
    assert printed == wanted


def test_every_operator_reads_what_was_written_under_plans_by_chance(tmp_path: Path) -> None:
    cases = naive_cases(range(35))
    kinds = {transfer.kind.value for _, plan in cases for transfer in plan.transfers}
    assert kinds == {"fetch", "store", "spill", "reload", "move"}
    assert any(plan.in_place for _, plan in cases)
    assert any(placement.part for _, plan in cases for placement in plan.placements)
    assert any(t.end > t.start for _, plan in cases for t in plan.transfers)
    run_cases(tmp_path, cases)


def test_every_operator_reads_what_was_written_under_plans_of_the_solvers(tmp_path: Path) -> None:
    npu = planner.read_target("npu-1m")
    near = npu.nearest.name
    moving = replace(npu, links=(*npu.links, Link(near, near, 1e9)))
    cases = [raced_case(seed, npu if seed % 3 else moving, 0.2) for seed in range(6)]
    assert any(plan.metrics.traffic_bytes for _, plan in cases)
    run_cases(tmp_path, cases)


def moved_plan(old: int, new: int) -> tuple[Graph, Plan]:
    """A tensor of 100 bytes that moves between the only two operators."""
    npu = planner.read_target("npu-1m")
    near = replace(npu.nearest, alignment_bytes=1)
    target = Target(
        "moving", (near,), (Link(near.name, near.name, 1e9),), compute=None, io_memory=near.name
    )
    graph = Graph(
        ModelReference("moved"),
        (Operator("first", "Layer", (0,), (1,)), Operator("second", "Layer", (1,), (2,))),
        tuple(
            Tensor(f"t{index}", (size,), "uint8", index, 0, size)
            for index, size in enumerate((8, 100, 8))
        ),
        (
            Storage("t0", 8, StorageKind.INPUT),
            Storage("t1", 100),
            Storage("t2", 8, is_output=True),
        ),
    )
    plan = Plan(
        graph.model,
        target,
        (0, 1),
        planned_storages(graph),
        tuple(
            sorted(
                [
                    Placement(0, near.name, 400, 0, 1),
                    Placement(1, near.name, old, 0, 1),
                    Placement(1, near.name, new, 1, 2),
                    Placement(2, near.name, 400, 1, 2),
                ]
            )
        ),
        (Transfer(1, near.name, near.name, 1, 1, TransferKind.MOVE),),
        (),
        Metrics({}, {}, 0, 0),
        Provenance("hand", "feasible", "peak"),
    )
    return graph, replace(plan, metrics=measure_bytes(graph, target, plan))


def test_a_move_may_overlap_itself_in_both_directions(tmp_path: Path) -> None:
    run_cases(tmp_path, [moved_plan(*ends) for ends in ((0, 7), (0, 7), (9, 2), (9, 2), (5, 5))])
