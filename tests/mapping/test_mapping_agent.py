"""The agent of the mallocGame: legal, never worse than the static decodes, the same every time."""

from __future__ import annotations

import random
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

import pytest

import rl.portfolio
import rl.weights
from planner.mapping_problem import MappingProblem, MappingSolution
from planner.mapping_replay import replay
from planner.problem import Status
from planner.testing.mapping_brute_force import least_latency
from planner.testing.mapping_problems import random_mapping_problem
from rl.agent import STATIC_STARTS, Abilities, MallocGameAgent, learned_starts
from solvers.mapping.decoders import STATIC_DECODES, XLA_STYLE, StaticDecodes
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 600.0
WITHOUT = [Abilities()] + [Abilities()._replace(**{part: False}) for part in Abilities._fields]
DECODES = (1, 2, len(STATIC_DECODES), len(STATIC_DECODES) + 1, 30, 50, 100)


def some_problem(seed: int) -> MappingProblem:
    if seed % 2:
        return random_mapping_problem(seed)
    return random_mapping_problem(seed, buffers=14, rows=24, accesses=6)


def played(
    problem: MappingProblem,
    agent: MallocGameAgent,
    *,
    seed: int = 0,
    incumbent: MappingSolution | None = None,
    deadline: Deadline | None = None,
) -> MappingSolution:
    outcome = agent.solve(
        problem, deadline=deadline or Deadline(SECONDS), seed=seed, incumbent=incumbent
    )
    assert outcome.solution is not None
    assert outcome.lower_bound is not None
    assert outcome.lower_bound <= outcome.solution.latency
    if outcome.status is Status.OPTIMAL:
        assert outcome.solution.latency == outcome.lower_bound
    return outcome.solution


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("abilities", WITHOUT)
def test_what_the_agent_makes_is_legal_whatever_it_may_do(abilities: Abilities, fifo: bool) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        problem = some_problem(seed)
        agent = MallocGameAgent(rng.choice(DECODES), abilities=abilities, fifo=fifo)
        found = played(problem, agent, seed=rng.choice((0, -1, seed, 2**64, -(2**90))))
        assert replay(problem, found.residencies, fifo=fifo) == found.latency
        assert list(found.residencies) == sorted(found.residencies)


@pytest.mark.parametrize("fifo", [False, True])
def test_it_is_never_worse_than_any_static_decode_and_often_better(fifo: bool) -> None:
    better = 0
    for seed in range(120):
        problem = some_problem(seed)
        static = StaticDecodes(fifo=fifo).solve(problem, deadline=Deadline(SECONDS)).solution
        assert static is not None
        assert replay(problem, static.residencies, fifo=fifo) == static.latency
        found = played(problem, MallocGameAgent(fifo=fifo), seed=seed)
        assert found.latency <= static.latency
        better += found.latency < static.latency
        few = played(problem, MallocGameAgent(len(STATIC_DECODES), fifo=fifo), seed=seed)
        assert few.latency == static.latency
    assert better > 10


def test_without_windows_and_the_marginal_decoder_it_still_is_no_worse_than_xlas_key() -> None:
    bare = Abilities(windows=False, marginal=False)
    for seed in range(60):
        problem = some_problem(seed)
        static = StaticDecodes((XLA_STYLE,)).solve(problem, deadline=Deadline(SECONDS)).solution
        assert static is not None
        assert played(problem, MallocGameAgent(abilities=bare)).latency <= static.latency


def test_it_is_never_below_the_optimum_and_nearly_always_at_it() -> None:
    solved = at_optimum = 0
    tiny = (
        problem
        for problem in (random_mapping_problem(seed, buffers=4, rows=7) for seed in range(500))
        if problem.accesses <= 6
    )
    for problem in islice(tiny, 80):
        best = least_latency(problem).latency
        found = played(problem, MallocGameAgent()).latency
        assert found >= best
        solved += 1
        at_optimum += found == best
    assert solved == 80
    assert at_optimum >= 76


@pytest.mark.parametrize("fifo", [False, True])
def test_the_same_seed_gives_the_same_solution_however_much_time_is_left(fifo: bool) -> None:
    for seed in range(20):
        problem = some_problem(seed)
        agent = MallocGameAgent(60, fifo=fifo)
        first = played(problem, agent, seed=seed - 10, deadline=Deadline(SECONDS))
        again = played(problem, agent, seed=seed - 10, deadline=Deadline(10 * SECONDS))
        assert first == again


def test_an_incumbent_is_kept_unless_something_is_better() -> None:
    for seed in range(40):
        problem = some_problem(seed)
        slow = MappingSolution((), problem.all_slow)
        assert played(problem, MallocGameAgent(1), incumbent=slow).latency <= problem.all_slow
        known = MappingSolution((), 0)
        outcome = MallocGameAgent().solve(problem, deadline=Deadline(SECONDS), incumbent=known)
        assert outcome.solution == known


def test_after_the_deadline_and_when_cancelled_it_hands_back_something_legal() -> None:
    for seed in range(40):
        problem = some_problem(seed)
        cancelled = Deadline(SECONDS)
        cancelled.cancel.set()
        for deadline in (Deadline(0.0), cancelled):
            found = played(problem, MallocGameAgent(10**9), deadline=deadline)
            assert replay(problem, found.residencies) == found.latency


def test_a_program_without_anything_to_map_is_solved() -> None:
    whole = random_mapping_problem(3)
    nothing = whole.__class__(
        **{
            **{name: getattr(whole, name) for name in whole.__dataclass_fields__},
            **{name: getattr(whole, name)[:0] for name in ("size", "has_copy")},
            **{name: getattr(whole, name)[:0] for name in ("copy_in", "copy_out", "writes")},
            **{name: getattr(whole, name)[:0] for name in ("access_row", "access_buffer")},
            **{name: getattr(whole, name)[:0] for name in ("fast", "slow")},
        }
    )
    outcome = MallocGameAgent().solve(nothing, deadline=Deadline(SECONDS))
    assert outcome.solution == MappingSolution((), nothing.all_slow)
    assert outcome.status is Status.OPTIMAL


def spoil(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put something else where the learned starts are expected."""
    shipped = rl.portfolio.shipped_portfolio()
    if what == "newer":
        monkeypatch.setattr(rl.weights, "SCHEMA_VERSION", 0)
        return
    content = shipped.read_bytes()
    if what == "truncated":
        content = content[: len(content) // 2]
    elif what == "foreign":
        content = (files("rl") / "trained" / "program_order.npz").read_bytes()
    path = folder / "portfolio.npz"
    if what != "missing":
        path.write_bytes(content)
    monkeypatch.setattr(rl.portfolio, "shipped_portfolio", lambda: path)


@pytest.mark.parametrize("what", ["missing", "truncated", "foreign", "newer"])
def test_refused_weights_are_told_and_the_static_keys_take_over(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learned_starts().note == ""
    spoil(what, tmp_path, monkeypatch)
    problem = some_problem(4)
    outcome = MallocGameAgent().solve(problem, deadline=Deadline(SECONDS))
    assert outcome.statistics["note"].startswith("static keys instead of learned weights: ")
    assert outcome.solution == played(problem, MallocGameAgent(starts=STATIC_STARTS))
