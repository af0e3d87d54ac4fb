"""Learning a portfolio: entry after entry, each for the programs that those before serve worst.

The cost of some entries is the mean, over graphs, of the logarithm of the best latency that one of
them reaches. It is a submodular cost, so that a greedy choice is within 1 - 1/e of the best one;
here every choice is itself a search: evolution of feature weights and of the window, from the best
of the static keys and of some random weights.

The budget is in steps. Whatever stops the training early, the same seed and programs make the same
steps in the same order, also after a resumption and with any number of threads.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rl.evolution import Evolution, advanced, begin, drawn
from rl.portfolio import Entry
from rl.programs import perturbed
from solvers._native import MAPPING_FEATURES, mapping_decode_weights
from solvers.mapping.decoders import NO_WINDOW, STATIC_DECODES, decode_static, static_weights
from solvers.mapping.native import native_model
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem
    from solvers._native import MappingModel

# The window is a coordinate beside the weights: its logarithm over this, so that one deviation
# suits all.
_WINDOW_SCALE = 4.0
_LEAST_WINDOW, _MOST_WINDOW = 4, 2048
# Weights are multiples of this: what is judged is what is shipped.
_WEIGHT_UNIT = 1.0 / 1024
_SIGMA = 0.25
_STATIC_STARTS = ((0, 24), (0, NO_WINDOW), (3, 24), (3, 96), (3, NO_WINDOW))
_RANDOM_STARTS = 12
# Of the programs of a graph, the share that is taken as it is.
_UNCHANGED = 0.5
# Of larger programs stretches are drawn: a decode takes longer the more rows there are.
_MOST_ROWS = 512


class TrainingProgram(NamedTuple):
    """A program to learn from, or to test on."""

    name: str
    graph: str
    family: str
    problem: MappingProblem


class Settings(NamedTuple):
    """How much is done.

    Attributes
    ----------
    entries : int
        Of the portfolio.
    steps : int
        Of evolution, per entry; twice as many for the first, on which most depends.
    population : int
        Weights per step.
    per_graph : int
        Programs of each graph.
    """

    entries: int = 12
    steps: int = 20
    population: int = 10
    per_graph: int = 3

    def steps_of(self, entry: int) -> int:
        """Return how many steps an entry gets, the first being 0."""
        return 2 * self.steps if entry == 0 else self.steps


class Pool(NamedTuple):
    """Programs as the kernels take them.

    Attributes
    ----------
    models : tuple of MappingModel
    share : float64 array of shape [programs]
        What each counts; all programs of a graph together count as much as those of any other.
    static : float64 array of shape [programs, 24]
        Logarithms of the latencies of the static decodes.
    """

    models: tuple[MappingModel, ...]
    share: NDArray[np.float64]
    static: NDArray[np.float64]


class Step(NamedTuple):
    """A point of the curve; cost in relation to the best of all static decodes, as a logarithm."""

    entry: int
    step: int
    cost: float
    sigma: float


class Training(NamedTuple):
    """What there is between two steps.

    Attributes
    ----------
    entries : tuple of Entry
        Finished ones.
    evolution : Evolution or None
        Of the entry that is being learned, None before its first step.
    best : Entry or None
        The best one of it so far.
    best_cost : float
    curve : tuple of Step
    """

    entries: tuple[Entry, ...] = ()
    evolution: Evolution | None = None
    best: Entry | None = None
    best_cost: float = math.inf
    curve: tuple[Step, ...] = ()

    def portfolio(self) -> tuple[Entry, ...]:
        """Return the entries, the one that is being learned as good as it is."""
        return self.entries if self.best is None else (*self.entries, self.best)


def training_pool(
    programs: Sequence[TrainingProgram], settings: Settings, seed: int
) -> list[TrainingProgram]:
    """Draw the same number of programs of every graph: half of them as they are, half perturbed.

    The draws of one graph do not depend on which others there are.
    """
    of_graph: dict[str, list[TrainingProgram]] = {}
    for program in programs:
        of_graph.setdefault(program.graph, []).append(program)
    pool = []
    for graph in sorted(of_graph):
        rng = np.random.default_rng([seed, *graph.encode()])
        order = rng.permutation(len(of_graph[graph]))
        for turn in range(settings.per_graph):
            program = of_graph[graph][order[turn % len(order)]]
            problem = program.problem
            if rng.random() >= _UNCHANGED:
                problem = perturbed(problem, rng)
            while problem.rows > _MOST_ROWS:
                problem = perturbed(program.problem, rng)
            pool.append(program._replace(problem=problem))
    return pool


def stated_pool(programs: Sequence[TrainingProgram]) -> Pool:
    """Hand programs to the kernels and decode them by every static decode."""
    models = tuple(native_model(program.problem) for program in programs)
    graphs = [program.graph for program in programs]
    share = np.array([1.0 / graphs.count(graph) for graph in graphs])
    never = Deadline(math.inf)
    static = [
        [decode_static(model, decode, never, addresses=False).latency for decode in STATIC_DECODES]
        for model in models
    ]
    return Pool(models, share / share.sum(), np.log(np.array(static, dtype=np.float64)))


def log_latencies(models: Sequence[MappingModel], entry: Entry) -> NDArray[np.float64]:
    """Decode every program by an entry: logarithms of ticks, of shape [programs]."""
    nothing = np.empty(0)
    latencies = [
        mapping_decode_weights(
            model,
            weights=entry.weights,
            residual=nothing,
            window=entry.window,
            fifo=False,
            addresses=False,
            time_limit_s=math.inf,
            cancel=None,
        )[1]
        for model in models
    ]
    return np.log(np.array(latencies, dtype=np.float64))


def train(
    pool: Pool,
    settings: Settings,
    seed: int,
    *,
    training: Training | None = None,
    threads: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[Training], None] = lambda _: None,
) -> Training:
    """Learn a portfolio.

    Parameters
    ----------
    training : Training or None
        Where to go on; None: from the beginning.
    should_stop : callable
        Asked before each step; the training returned is then as far as it is.
    on_step : callable
        Told of every training on the way.

    Returns
    -------
    Training
        With ``settings.entries`` entries unless it was stopped.
    """
    now = training or Training()
    reached = np.full(len(pool.models), np.inf)
    for entry in now.entries:
        reached = np.minimum(reached, log_latencies(pool.models, entry))
    goal = float((pool.share * pool.static.min(axis=1)).sum())

    def cost(vector: NDArray[np.float64]) -> float:
        best = np.minimum(reached, log_latencies(pool.models, entry_of(vector)))
        return float((pool.share * best).sum()) - goal

    with ThreadPoolExecutor(threads) as executor:

        def costs(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.array(list(executor.map(cost, vectors)))

        while len(now.entries) < settings.entries and not should_stop():
            turn = len(now.entries)
            if now.evolution is None:
                vectors = _starts(seed, turn)
                found = costs(vectors)
                best = int(found.argmin())
                state = begin(vectors[best], _SIGMA)
            else:
                rng = np.random.default_rng([seed, turn, now.evolution.steps])
                vectors = drawn(now.evolution, settings.population, rng)
                found = costs(vectors)
                best = int(found.argmin())
                state = advanced(now.evolution, vectors, found)
            now = now._replace(evolution=state)
            if found[best] < now.best_cost:
                now = now._replace(best=entry_of(vectors[best]), best_cost=float(found[best]))
            point = Step(turn, state.steps, now.best_cost, state.sigma)
            now = now._replace(curve=(*now.curve, point))
            if now.best is not None and state.steps >= settings.steps_of(turn):
                reached = np.minimum(reached, log_latencies(pool.models, now.best))
                now = Training((*now.entries, now.best), curve=now.curve)
            on_step(now)
    return now


def entry_of(vector: NDArray[np.float64]) -> Entry:
    """Return the entry that a point of the search stands for."""
    weights = np.rint(vector[:MAPPING_FEATURES] / _WEIGHT_UNIT) * _WEIGHT_UNIT + 0.0
    exponent = _WINDOW_SCALE * float(vector[MAPPING_FEATURES])
    if exponent >= math.log(_MOST_WINDOW):
        return Entry(weights, NO_WINDOW)
    return Entry(weights, max(_LEAST_WINDOW, round(math.exp(exponent))))


def _starts(seed: int, turn: int) -> NDArray[np.float64]:
    """Return where an entry may begin: static keys, and random weights."""
    rng = np.random.default_rng([seed, turn])
    least, most = math.log(_LEAST_WINDOW), math.log(2 * _MOST_WINDOW)
    starts = [
        [*static_weights(key), min(math.log(window), most) / _WINDOW_SCALE]
        for key, window in _STATIC_STARTS
    ]
    for _ in range(_RANDOM_STARTS):
        weights = _SIGMA * rng.standard_normal(MAPPING_FEATURES)
        starts.append([*weights, rng.uniform(least, most) / _WINDOW_SCALE])
    return np.array(starts)
