"""Golden optima of the bare operator graphs of PLANNER_DATA, and graphs too large to enumerate."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from planner.graph import RaggedArray
from planner.problem import OrderProblem, Status
from solvers.order.exact import ExactOrder
from solvers.order.heuristics import LIST_ORDERS
from solvers.order.peak import peak_of
from solvers.protocol import Deadline

# Smallest peak in bytes, one byte per element. The NAS, random-wiring and onnx graphs agree with
# HMCOS (Wang et al., DAC 2022) where it runs without in-place outputs.
OPTIMA = {
    "shufflenet": 721_280,
    "densenet121_unf": 2_107_392,
    "randwire": 856_128,
    "randwire2": 978_432,
    "darts_imc": 903_168,
    "nasnet_imc": 903_168,
    "amoebanet_imc": 903_168,
    "pnas_imc": 903_168,
    "darts_im": 1_154_048,
    "nasnet_im": 1_179_136,
    "amoebanet_im": 1_154_048,
    "pnas_im": 1_179_136,
    "darts_cif": 405_504,
    "nasnet_cif": 571_392,
    "amoebanet_cif": 368_640,
    "pnas_cif": 479_232,
    "tr1_alexnet": 301_989_888,
    "tr1_googlenet": 51_088_644,
    "tr1_mnasnet": 25_377_796,
    "tr1_mobilenet_v2": 80_093_188,
    "tr1_resnet18": 40_249_344,
    "tr1_resnet50": 102_467_584,
    "tr1_squeezenet": 37_217_216,
    "tr1_vgg16": 822_083_584,
}


def from_operands(
    size: list[int], inputs: list[list[int]], outputs: list[list[int]]
) -> OrderProblem:
    """Tensors without a producer are live from the start; nothing is kept or overwritten."""
    starters: list[list[int]] = [[] for _ in size]
    users: list[set[int]] = [set() for _ in size]
    for v, (read, written) in enumerate(zip(inputs, outputs, strict=True)):
        for a in written:
            starters[a].append(v)
        for a in [*read, *written]:
            users[a].add(v)
    return OrderProblem(
        operators=len(inputs),
        size=np.array(size, dtype=np.int64),
        predecessors=RaggedArray.from_rows(
            [sorted({p for a in read for p in starters[a]}) for read in inputs]
        ),
        starters=RaggedArray.from_rows(starters),
        users=RaggedArray.from_rows([sorted(row) for row in users]),
        kept=np.zeros(len(size), dtype=bool),
        in_place=RaggedArray.from_rows([[] for _ in inputs]),
    )


def read_graph(path: Path) -> OrderProblem:
    numbers = iter(path.read_text().split())
    operators, tensors = int(next(numbers)), int(next(numbers))
    size = [int(next(numbers)) for _ in range(tensors)]

    def row() -> list[int]:
        return [int(next(numbers)) for _ in range(int(next(numbers)))]

    rows = [(row(), row()) for _ in range(operators)]
    return from_operands(size, [read for read, _ in rows], [written for _, written in rows])


def data_file(name: str) -> Path:
    folder = os.environ.get("PLANNER_DATA")
    if folder is None:
        pytest.skip("PLANNER_DATA is not set: the bare operator graphs are not at hand")
    return Path(folder) / "graphs" / f"{name}.txt"


@pytest.mark.parametrize("name", OPTIMA)
def test_the_optimum_of_a_real_network_is_found_and_proven(name: str) -> None:
    problem = read_graph(data_file(name))
    outcome = ExactOrder().solve(problem, deadline=Deadline(60.0))
    assert outcome.solution is not None
    assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, OPTIMA[name])
    assert outcome.solution.peak_bytes == OPTIMA[name]
    # Work instead of time: the most that any of them needs is about 33,000 states.
    assert outcome.statistics["states"] < 60_000


@pytest.mark.parametrize("name", ["shufflenet", "darts_imc", "tr1_alexnet"])
def test_without_dominance_and_decomposition_the_optimum_is_the_same(name: str) -> None:
    problem = read_graph(data_file(name))
    solver = ExactOrder(dominance=name != "shufflenet", decompose=False)
    outcome = solver.solve(problem, deadline=Deadline(60.0))
    assert outcome.lower_bound == OPTIMA[name]


def layered(operands: list[list[int]], seed: int) -> OrderProblem:
    rng = random.Random(seed)
    size = [rng.randint(1, 1000) for _ in operands]
    return from_operands(size, operands, [[v] for v in range(len(operands))])


def test_a_long_chain_with_skips_is_split_at_every_operator() -> None:
    n = 20_000
    problem = layered(
        [[]] + [[v - 1, v - 10] if v % 10 == 0 else [v - 1] for v in range(1, n)], seed=1
    )
    outcome = ExactOrder().solve(problem, deadline=Deadline(60.0))
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution is not None
    assert outcome.solution.order.tolist() == list(range(n))
    assert outcome.statistics["states"] == outcome.statistics["cuts"] == 0


def test_one_tensor_across_everything_does_not_prevent_the_split() -> None:
    n = 5_000
    operands = [[]] + [[v - 1] for v in range(1, n)]
    for v in range(4, n - 4, 4):  # a two-operator branch beside every fourth operator
        operands[v + 2] = [v, v + 1]
        operands[v + 1] = [v]
    operands[-1].append(0)
    outcome = ExactOrder().solve(layered(operands, seed=2), deadline=Deadline(60.0))
    assert outcome.status is Status.OPTIMAL
    across = ExactOrder(decompose=False).solve(layered(operands, seed=2), deadline=Deadline(60.0))
    assert across.lower_bound == outcome.lower_bound


def test_two_long_chains_beside_each_other_are_proven_optimal() -> None:
    n, half = 20_000, 10_000
    operands = [[]] + [[v - 1] for v in range(1, n)]
    operands[half] = [0]
    operands[-1] = [half - 1, n - 2]
    outcome = ExactOrder().solve(layered(operands, seed=3), deadline=Deadline(60.0))
    assert outcome.status is Status.OPTIMAL
    assert outcome.statistics["parts"] == 1


def test_the_bound_sees_what_equal_attention_heads_hold_while_the_last_one_runs() -> None:
    heads, position, width = 16, 256, 16
    operands: list[list[int]] = [[]]
    size = [heads * position * width]
    outs = []

    def add(row: list[int], size_bytes: int) -> int:
        operands.append(row)
        size.append(size_bytes)
        return len(operands) - 1

    for _ in range(heads):
        query, key, value = (add([0], position * width) for _ in range(3))
        scores = add([query, key], position * position)
        outs.append(add([add([scores], position * position), value], position * width))
    concat = add(outs, heads * position * width)
    add([concat, 0], heads * position * width)
    problem = from_operands(size, operands, [[v] for v in range(len(operands))])
    outcome = ExactOrder().solve(problem, deadline=Deadline(60.0))
    # The input, all other heads' results, and scores before and after the softmax.
    best = size[0] + (heads - 1) * position * width + 2 * position * position
    assert (outcome.status, outcome.lower_bound) == (Status.OPTIMAL, best)
    # Without that bound: more than two million states, and no proof.
    assert outcome.statistics["cut_bound"] == best
    assert outcome.statistics["states"] == 0


def test_operators_that_belong_at_the_end_are_settled_before_the_search() -> None:
    # A slow chain beside a network of cells, joined at the very end.
    rng = random.Random(3)
    operands: list[list[int]] = [[]]
    older = newer = side = 0
    while len(operands) < 999:
        outs: list[int] = []
        for _ in range(5):
            choices = [older, newer, *outs]
            operands += [[rng.choice(choices)], [rng.choice(choices)]]
            operands.append([len(operands) - 2, len(operands) - 1])
            outs.append(len(operands) - 1)
        operands.append(outs)
        older, newer = newer, len(operands) - 1
        if rng.random() < 0.3:
            operands.append([side])
            side = len(operands) - 1
    operands.append([newer, side])
    size = [rng.randint(100, 1000) for _ in operands]
    problem = from_operands(size, operands, [[v] for v in range(len(operands))])
    outcome = ExactOrder().solve(problem, deadline=Deadline(60.0))
    assert outcome.status is Status.OPTIMAL
    # About 390,000 without settling.
    assert outcome.statistics["states"] < 30_000


def test_a_reduction_of_many_sources_gets_a_good_order_though_no_proof() -> None:
    # Lists that look at ready operators only run all 256 sources before anything else.
    operands: list[list[int]] = [[] for _ in range(256)]
    level = list(range(256))
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2], strict=True))
        level = list(range(len(operands), len(operands) + len(pairs)))
        operands.extend([a, b] for a, b in pairs)
    problem = layered(operands, seed=4)
    lists = [s.solve(problem, deadline=Deadline(1.0)).solution for s in LIST_ORDERS]
    outcome = ExactOrder(memory_bytes=500_000).solve(problem, deadline=Deadline(60.0))
    assert outcome.solution is not None
    assert outcome.solution.peak_bytes * 4 < min(s.peak_bytes for s in lists if s is not None)
    assert outcome.solution.peak_bytes == peak_of(problem, outcome.solution.order)
    assert outcome.lower_bound <= outcome.solution.peak_bytes


def test_the_search_replays_its_paths_on_graphs_full_of_skips() -> None:
    # Chains that run on through operators with several missing predecessors: what is known about
    # a chain has to be forgotten when anything beside it runs.
    rng = random.Random(5)
    for _ in range(6):
        operands = [
            sorted({max(0, v - 1 - int(rng.expovariate(0.4))) for _ in range(rng.randint(1, 3))})
            if v
            else []
            for v in range(150)
        ]
        problem = layered(operands, seed=rng.randrange(1000))
        full = ExactOrder().solve(problem, deadline=Deadline(60.0))
        starved = ExactOrder(memory_bytes=10_000).solve(problem, deadline=Deadline(60.0))
        for outcome in (full, starved):
            assert outcome.solution is not None
            assert peak_of(problem, outcome.solution.order) == outcome.solution.peak_bytes
        assert full.status is Status.OPTIMAL
        assert full.solution is not None
        assert starved.lower_bound <= full.solution.peak_bytes <= starved.solution.peak_bytes
