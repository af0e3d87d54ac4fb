"""What a damage to a legal plan is, and the legal plans that are damaged.

A damage is a function that takes a legal case and returns the damaged one with the kinds of
violation of which one must be reported, or None where the case offers nothing to damage.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from planner.checker import ViolationKind
from planner.target import Compute, Link, Memory, Target
from planner.testing import naive_plan, random_graph

if TYPE_CHECKING:
    from planner.graph import Graph
    from planner.plans import Plan

K = ViolationKind

_SRAM = Memory("sram", 1 << 16, 16, 16e9, 16e9)
_DRAM = Memory("dram", 1 << 20, 16, 4e9, 4e9)
_FLASH = Memory("flash", 1 << 20, 16, 1e9, writable=False)
_LINKS = (Link("sram", "dram", 4e9, 1e-7), Link("dram", "sram", 4e9, 1e-7))
_WITHIN = Link("sram", "sram", 8e9, 1e-8)
_COMPUTE = Compute({"default": 1e9}, 1e9, 1e-7)

TARGETS = (
    Target("scratchpad", (_SRAM, _DRAM), _LINKS, _COMPUTE, io_memory="dram"),
    Target("io-near", (_SRAM, _DRAM, _FLASH), _LINKS, _COMPUTE, io_memory="sram"),
    Target("either", (_SRAM, _DRAM), _LINKS, _COMPUTE, operands_resident=False, io_memory="dram"),
    Target("microcontroller", (_SRAM, _FLASH), (), None, io_memory="sram"),
    Target("relocating", (_SRAM, _DRAM), (*_LINKS, _WITHIN), _COMPUTE, io_memory="dram"),
)
# Of the last targets' plans, storages are cut in two with this probability.
_SPLIT = (0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 0.6, 0.6)


class Case(NamedTuple):
    graph: Graph
    target: Target
    plan: Plan


Damage = Callable[[Case, random.Random], tuple[Case, set[ViolationKind]] | None]


def legal_cases(count: int) -> Iterator[Case]:
    for seed in range(count):
        graph = random_graph(seed, operators=3 + seed % 10)
        target = TARGETS[(0, 1, 2, 3, 4, 0, 2, 4)[seed % len(_SPLIT)]]
        split = _SPLIT[seed % len(_SPLIT)]
        yield Case(graph, target, naive_plan(graph, target, seed, split=split))


def replaced(items: tuple, index: int, item: object) -> tuple:
    return (*items[:index], item, *items[index + 1 :])


def with_placement(case: Case, index: int, **changes: object) -> Case:
    placement = case.plan.placements[index]._replace(**changes)
    placements = replaced(case.plan.placements, index, placement)
    return case._replace(plan=replace(case.plan, placements=placements))


def has_substitute(case: Case, storage: int, memory: str) -> bool:
    """Whether operators may use a farther copy instead, so that the damage can do no harm."""
    return (
        not case.target.operands_resident
        and memory == case.target.nearest.name
        and any(p.storage == storage and p.memory != memory for p in case.plan.placements)
    )
