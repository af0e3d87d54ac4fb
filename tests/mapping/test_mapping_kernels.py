"""The kernels of the mapping problem: legal whatever they are given, or a refusal that says why."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from planner.mapping_problem import MappingProblem, Residency
from planner.mapping_replay import InvalidMappingError, replay
from planner.testing.mapping_problems import random_mapping_problem
from solvers._native import (
    MAPPING_FEATURES,
    MAPPING_STATIC_KEYS,
    CancelFlag,
    mapping_decode_keys,
    mapping_decode_weights,
    mapping_evolve_keys,
    mapping_model,
    mapping_refine,
    mapping_search,
)
from solvers.mapping.decoders import NO_WINDOW, static_weights
from solvers.mapping.native import Decoded, native_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from solvers._native import MappingModel

EMPTY = np.empty(0)


class Reach(NamedTuple):
    """What every kernel is told about copies, addresses and time."""

    window: int = NO_WINDOW
    fifo: bool = False
    addresses: bool = True
    seconds: float = 60.0
    cancel: CancelFlag | None = None


def by_keys(model: MappingModel, reach: Reach, key: int, keys: NDArray = EMPTY) -> Decoded:
    return Decoded(
        *mapping_decode_keys(
            model,
            static_key=key,
            keys=keys,
            window=reach.window,
            fifo=reach.fifo,
            addresses=reach.addresses,
            time_limit_s=reach.seconds,
            cancel=reach.cancel,
        )
    )


def by_weights(
    model: MappingModel, reach: Reach, weights: NDArray, residual: NDArray = EMPTY
) -> Decoded:
    return Decoded(
        *mapping_decode_weights(
            model,
            weights=weights,
            residual=residual,
            window=reach.window,
            fifo=reach.fifo,
            addresses=reach.addresses,
            time_limit_s=reach.seconds,
            cancel=reach.cancel,
        )
    )


def by_search(
    model: MappingModel, reach: Reach, *, evolution: int = 5, attempts: int = 300, seed: int = 0
) -> Decoded:
    return Decoded(
        *mapping_search(
            model,
            weights=np.concatenate([static_weights(0), static_weights(1)]),
            windows=np.array([reach.window, NO_WINDOW], dtype=np.int32),
            evolution=evolution,
            attempts=attempts,
            fifo=reach.fifo,
            addresses=reach.addresses,
            seed=seed,
            time_limit_s=reach.seconds,
            cancel=reach.cancel,
        )
    )


def refined(
    model: MappingModel, reach: Reach, residencies: NDArray, *, attempts: int = 200, seed: int = 0
) -> Decoded:
    return Decoded(
        *mapping_refine(
            model,
            residencies=residencies,
            weights=static_weights(0),
            window=reach.window,
            fifo=reach.fifo,
            addresses=reach.addresses,
            attempts=attempts,
            seed=seed,
            time_limit_s=reach.seconds,
            cancel=reach.cancel,
        )
    )


def evolved(model: MappingModel, reach: Reach, decodes: int, seed: int = 0) -> Decoded:
    return Decoded(
        *mapping_evolve_keys(
            model,
            decodes=decodes,
            window=reach.window,
            fifo=reach.fifo,
            seed=seed,
            time_limit_s=reach.seconds,
            cancel=reach.cancel,
        )
    )


def some_problem(seed: int) -> MappingProblem:
    return random_mapping_problem(seed, buffers=10, rows=18, accesses=5)


def assert_as_replayed(problem: MappingProblem, found: Decoded, *, fifo: bool) -> None:
    solution = found.solution()
    assert replay(problem, solution.residencies, fifo=fifo) == solution.latency


@pytest.mark.parametrize("fifo", [False, True])
def test_whatever_a_kernel_makes_is_legal_and_takes_as_long_as_it_says(fifo: bool) -> None:
    gained = 0
    for seed in range(150):
        rng = random.Random(seed)
        numbers = np.random.default_rng(seed)
        problem = some_problem(seed)
        model = native_model(problem)
        reach = Reach(window=rng.choice((0, 1, 3, 24, NO_WINDOW, 2**31 - 1)), fifo=fifo)
        found = [
            by_keys(model, reach, rng.randrange(MAPPING_STATIC_KEYS)),
            by_keys(model, reach, -1, numbers.normal(size=problem.buffers)),
            by_weights(model, reach, numbers.normal(size=MAPPING_FEATURES) * 10.0**seed),
            by_weights(model, reach, static_weights(0), numbers.normal(size=problem.accesses)),
            by_search(model, reach, seed=seed),
            by_search(model, reach, evolution=0, attempts=0, seed=2**64 - 1),
            evolved(model, reach, 10, seed=seed),
        ]
        found.append(refined(model, reach, found[0].residencies, seed=seed))
        for decoded in found:
            assert_as_replayed(problem, decoded, fifo=fifo)
        assert found[-1].latency <= found[0].latency
        gained += found[4].latency < problem.all_slow
    assert gained > 50


def test_without_addresses_no_row_holds_more_bytes_than_there_are() -> None:
    for seed in range(60):
        problem = some_problem(seed)
        model = native_model(problem)
        reach = Reach(addresses=False)
        for found in (by_search(model, reach, seed=seed), by_keys(model, reach, 0)):
            held = np.zeros(problem.rows, dtype=np.int64)
            for residency in found.solution().residencies:
                assert residency.offset == -1
                held[residency.start : residency.end] += problem.size[residency.buffer]
            assert held.max() <= problem.capacity


def test_a_solution_taken_over_without_a_search_stays_as_it_is() -> None:
    for seed in range(60):
        problem = some_problem(seed)
        model = native_model(problem)
        known = by_weights(model, Reach(), static_weights(0))
        again = refined(model, Reach(), known.residencies, attempts=0)
        assert again.solution() == known.solution()


def plausible_residencies(problem: MappingProblem, rng: random.Random) -> NDArray[np.int64]:
    """Residencies in bounds, which may break any other rule."""
    rows = []
    for _ in range(rng.randint(1, 5)):
        buffer = rng.randrange(problem.buffers)
        of_buffer = problem.accesses_of.row(buffer)
        first = rng.randrange(len(of_buffer))
        last = rng.randrange(first, len(of_buffer))
        start = rng.randint(0, int(problem.access_row[of_buffer[first]]))
        end = rng.randint(int(problem.access_row[of_buffer[last]]) + 1, problem.rows)
        offset = rng.choice((-1, 0, 0, problem.alignment, problem.capacity - problem.alignment, 1))
        rows.append((buffer, first, last, start, end, offset))
    return np.array(sorted(rows), dtype=np.int64)


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("addresses", [False, True])
def test_illegal_residencies_are_refused_or_left_out(fifo: bool, addresses: bool) -> None:
    refused = left_out = 0
    for seed in range(600):
        rng = random.Random(f"{seed} {fifo} {addresses}")
        problem = some_problem(seed % 60)
        given = plausible_residencies(problem, rng)
        reach = Reach(fifo=fifo, addresses=addresses)
        try:
            found = refined(native_model(problem), reach, given.ravel(), attempts=20, seed=seed)
        except ValueError as error:
            assert "residency" in str(error)
            with pytest.raises(InvalidMappingError):
                replay(problem, [Residency(*row) for row in given.tolist()], fifo=fifo)
            refused += 1
            continue
        stays = found.solution().residencies
        left_out += len(stays) < len(given)
        if addresses:
            assert_as_replayed(problem, found, fifo=fifo)
    assert refused > 100
    assert left_out > 10


def two_accesses() -> MappingProblem:
    """Buffer 0 is written in row 1, read in rows 3 and 5; buffer 1 is a weight read in row 3."""
    none = np.zeros(6, dtype=np.int64)
    return MappingProblem(
        tick_s=1e-9,
        capacity=8,
        alignment=4,
        size=np.array([8, 4]),
        has_copy=np.array([False, True]),
        copy_in=np.array([2, 1]),
        copy_out=np.array([2, 1]),
        access_row=np.array([1, 3, 3, 5], dtype=np.int32),
        access_buffer=np.array([0, 0, 1, 0], dtype=np.int32),
        writes=np.array([True, False, False, False]),
        fast=np.array([1, 1, 1, 1]),
        slow=np.array([9, 9, 9, 9]),
        arithmetic=none + 3,
        overhead=none,
        other_fast=none,
        other_slow=none,
        touches_fast=none > 0,
        touches_slow=none > 0,
    )


@pytest.mark.parametrize(
    ("residencies", "message"),
    [
        ([(2, 0, 0, 1, 2, 0)], "residency 0: its buffer is out of range"),
        ([(0, 0, 3, 1, 6, 0)], "residency 0: its accesses are out of range"),
        ([(0, 1, 0, 1, 4, 0)], "residency 0: its accesses are out of range, or out of order"),
        ([(1, 0, 0, 1, 4, 0), (0, 0, 0, 1, 2, 0)], "residency 1: .* out of order"),
        ([(0, 0, 1, 1, 4, 0), (0, 1, 2, 3, 6, 0)], "residency 1: .* out of order"),
        ([(0, 1, 1, 2, 3, 0)], "residency 0: its steps do not hold its accesses"),
        ([(0, 2, 2, 4, 7, 0)], "residency 0: its steps do not hold its accesses"),
        ([(0, 0, 0, 1, 4, 0)], "residency 0: its steps hold an access that it does not serve"),
        ([(0, 0, 0, 0, 3, 0)], "residency 0: it begins with a write, but starts before it"),
        ([(0, 1, 1, 1, 4, 0)], "residency 0: it starts before the slow memory holds the buffer"),
        ([(0, 0, 0, 1, 3, 0), (0, 1, 1, 2, 4, 0)], "residency 1: it starts before the slow"),
        ([(1, 0, 0, 1, 4, 8)], "residency 0: its bytes are out of range"),
        ([(1, 0, 0, 1, 4, 2**62)], "residency 0: its bytes are out of range"),
        ([(1, 0, 0, 1, 4, 2)], "residency 0: its bytes are out of range, or not aligned"),
    ],
)
def test_a_refused_residency_is_named(residencies: list[tuple[int, ...]], message: str) -> None:
    given = np.array(residencies, dtype=np.int64).ravel()
    with pytest.raises(ValueError, match=message):
        refined(native_model(two_accesses()), Reach(), given)


def test_what_shares_bytes_is_left_out() -> None:
    problem = two_accesses()
    both = np.array([(0, 0, 2, 1, 6, 0), (1, 0, 0, 1, 4, 0)], dtype=np.int64).ravel()
    for addresses in (False, True):
        found = refined(native_model(problem), Reach(addresses=addresses), both, attempts=0)
        assert [stay.buffer for stay in found.solution().residencies] == [0]


def test_other_arguments_that_make_no_sense_are_refused() -> None:
    problem = two_accesses()
    model = native_model(problem)
    nan, key = np.full(MAPPING_FEATURES, np.nan), static_weights(0)
    cases = {
        "six numbers": lambda: refined(model, Reach(), np.zeros(7, dtype=np.int64)),
        "finite": lambda: by_weights(model, Reach(), nan),
        "one weight per feature": lambda: by_weights(model, Reach(), key[1:]),
        "one entry per access": lambda: by_weights(model, Reach(), key, np.zeros(3)),
        "have to be numbers": lambda: by_weights(model, Reach(), key, np.full(4, np.nan)),
        "one key per buffer": lambda: by_keys(model, Reach(), -1, np.zeros(3)),
        "static keys": lambda: by_keys(model, Reach(), MAPPING_STATIC_KEYS),
        "keys and residuals": lambda: by_keys(model, Reach(), -1, np.full(2, np.nan)),
        "window has to be": lambda: by_keys(model, Reach(window=-1), 0),
        "the window": lambda: by_search(model, Reach(window=-(2**31))),
        "at least 0": lambda: evolved(model, Reach(window=-3), 1),
        "number of rows": lambda: refined(model, Reach(window=-3), np.zeros(0, dtype=np.int64)),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", [8, 12], "buffer 1: its size"),
        ("size", [8, 3], "multiple of the alignment"),
        ("copy_in", [2, 0], "buffer 1: copies have to take"),
        ("copy_out", [2**57, 1], "buffer 0: copies have to take"),
        ("access_row", [1, 3, 3, 6], "access 3: its row or buffer is out of range"),
        ("access_buffer", [0, 0, 2, 0], "access 2: its row or buffer is out of range"),
        ("access_row", [1, 3, 2, 5], "access 2: accesses have to ascend"),
        ("access_buffer", [0, 1, 1, 0], "access 2: accesses have to ascend"),
        ("access_buffer", [0, 0, 0, 0], "access 2: accesses have to ascend"),
        ("fast", [1, -1, 1, 1], "access 1: its times"),
        ("has_copy", [False, False], "access 2: reads a buffer that nothing has written"),
        ("arithmetic", [1, 1, 1, 1, 1, -1], "row 5: its times"),
        ("ready_in", [0, 1, 2, 3, 4, 5, 7], "boundary 6: copies are ready"),
        ("ready_out", [0, 1, 2, 2, 4, 5, 6], "boundary 3: copies are ready before it"),
        ("overhead", [0, 0], "equal lengths"),
        ("capacity", 9, "the capacity has to be a multiple"),
        ("fast_latency", -1, "latencies have to lie"),
    ],
)
def test_a_problem_that_breaks_the_rules_is_refused(name: str, value: object, message: str) -> None:
    problem = two_accesses()
    arguments = {
        argument: getattr(problem, argument)
        for argument in (
            *("capacity", "alignment", "size", "has_copy", "copy_in", "copy_out", "access_row"),
            *("access_buffer", "writes", "fast", "slow", "arithmetic", "overhead", "other_fast"),
            *("other_slow", "touches_fast", "touches_slow", "fast_latency", "slow_latency"),
            *("ready_in", "ready_out"),
        )
    }
    mapping_model(**arguments)
    if isinstance(value, list):
        value = np.array(value, dtype=arguments[name].dtype)
    with pytest.raises(ValueError, match=message):
        mapping_model(**{**arguments, name: value})


def test_kernels_stop_at_once_when_told_to_and_what_they_have_is_legal() -> None:
    cancel = CancelFlag()
    cancel.set()
    for seed in range(20):
        problem = some_problem(seed)
        model = native_model(problem)
        for reach in (Reach(cancel=cancel), Reach(seconds=0.0), Reach(seconds=-1.0)):
            for found in (
                by_keys(model, reach, 0),
                by_weights(model, reach, static_weights(0)),
                by_search(model, reach, attempts=10**15),
                evolved(model, reach, 2**31 - 1),
                refined(model, reach, np.zeros(0, dtype=np.int64), attempts=10**15),
            ):
                assert_as_replayed(problem, found, fifo=False)
