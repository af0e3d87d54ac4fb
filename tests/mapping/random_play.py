"""Random graphs on a machine with operands in either memory, and random legal mappings of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from planner.mapping_problem import MappingSolution, Residency
from planner.mapping_replay import InvalidMappingError, replay
from planner.parameters import with_parameters
from planner.problem import Objective, PlanningProblem
from planner.target import Compute, Link, Memory, Target
from planner.testing import random_graph
from solvers.mapping.program import MappedProgram, mapping_program

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem

_ATTEMPTS = 120


class Played(NamedTuple):
    """A planning problem, its mapping problem, and a mapping that the replay accepts."""

    problem: PlanningProblem
    program: MappedProgram
    solution: MappingSolution


def machine(capacity: int, *, alignment: int = 16, far: int | None = None) -> Target:
    """A fast memory eight times as fast as the slow one, where inputs and outputs lie."""
    return Target(
        "either",
        (
            Memory("near", capacity, alignment, 8e6, 8e6),
            Memory("far", far, alignment, 1e6, 1e6),
        ),
        (Link("near", "far", 1e6, 1e-6, fifo=False), Link("far", "near", 1e6, 2e-6, fifo=False)),
        Compute({"default": 4e6}, 4e5, 5e-6),
        operands_resident=False,
        io_memory="far",
        constant_memory="far",
    )


def played(seed: int, *, operators: int = 12, parameters: bool = True) -> Played:
    """Map a random graph by trial: residencies are drawn, and kept if the replay accepts them."""
    rng = random.Random(seed)
    graph = random_graph(seed, operators)
    if parameters:
        graph = with_parameters(graph)
    target = machine(rng.choice((160, 400, 1000)), alignment=rng.choice((1, 16)))
    problem = PlanningProblem(graph, target, Objective.LATENCY)
    program = mapping_program(problem, _random_order(problem, rng))
    kept: tuple[Residency, ...] = ()
    latency = program.problem.all_slow
    for _ in range(_ATTEMPTS if program.problem.buffers else 0):
        tried = tuple(sorted((*kept, _residency(program.problem, rng))))
        try:
            latency, kept = replay(program.problem, tried), tried
        except InvalidMappingError:
            continue
    return Played(problem, program, MappingSolution(kept, latency))


def _random_order(problem: PlanningProblem, rng: random.Random) -> list[int]:
    graph = problem.graph
    waiting = [set(graph.predecessors.row(i).tolist()) for i in range(len(graph.operators))]
    order: list[int] = []
    while len(order) < len(waiting):
        ready = [i for i, before in enumerate(waiting) if i not in order and not before]
        order.append(rng.choice(ready))
        for before in waiting:
            before.discard(order[-1])
    return order


def _residency(problem: MappingProblem, rng: random.Random) -> Residency:
    buffer = rng.randrange(problem.buffers)
    of_buffer = problem.accesses_of.row(buffer)
    rows, writes = problem.access_row[of_buffer].tolist(), problem.writes[of_buffer].tolist()
    first = rng.choice((0, rng.randrange(len(rows))))
    last = rng.choice((len(rows) - 1, first, rng.randrange(first, len(rows))))
    start = rows[first]
    if first > 0 or not writes[0]:
        start = max(0, start - rng.randint(1, 5))
    bound = rows[last + 1] if last + 1 < len(rows) else problem.rows
    end = rng.choice((rows[last] + 1, rng.randint(rows[last] + 1, bound), bound))
    top = max(0, problem.capacity - int(problem.size[buffer])) // problem.alignment
    return Residency(buffer, first, last, start, end, rng.randint(0, top) * problem.alignment)
