"""Trains the program-order player by playing itself: Gumbel search improves the policy, and so on.

Every step plays some games with search, one each on freshly drawn programs, and moves the network
towards what was found: the improved policies, by cross-entropy, and the discounted gains, by their
squared error. A run is given by its seed; it may be interrupted after any step and resumed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl.program_order import ACTIONS, FEATURE_VERSION, Network, Play, play, untrained
from rl.programs import perturbed
from rl.weights import Weights, WeightsError, load_weights, save_weights
from solvers.mapping.decoders import XLA_STYLE, decode_static
from solvers.mapping.native import native_model

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem
    from solvers.protocol import Deadline

_CHECKPOINT = "program-order-training"
_MOMENTS = (0.9, 0.999)
_EPSILON = 1e-8
# Weight of the squared error of the value, in mean rows, beside the cross-entropy.
_VALUE_WEIGHT = 0.02
_LARGEST_GRADIENT = 1.0


class Training(NamedTuple):
    """How to train.

    Attributes
    ----------
    steps, games : int
        Steps, and games of each.
    batch, passes : int
        Decisions of a gradient, and how often each is used.
    rate : float
        Of Adam at the first step; it falls in a straight line to a tenth at the last.
    validate_every : int
        Steps between two scores.
    how : Play
    hidden : tuple of int
    """

    steps: int = 200
    games: int = 8
    batch: int = 256
    passes: int = 2
    rate: float = 1e-3
    validate_every: int = 20
    how: Play = Play(simulations=8, horizon=16, noise=1.0)
    hidden: tuple[int, ...] = (64, 32)


class Curve(NamedTuple):
    """What a step learned from. ``score`` is NaN where nothing was scored.

    Attributes
    ----------
    step : int
    policy_loss, value_loss : float
        Means over the decisions of the step.
    score : float
        Geometric mean, over the validation programs, of latency without search over that of the
        XLA-style decode.
    """

    step: int
    policy_loss: float
    value_loss: float
    score: float


@dataclass(frozen=True)
class Progress:
    """Where training stands: all that it takes to go on."""

    network: Network
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    updates: int
    rng: np.random.Generator
    curves: tuple[Curve, ...] = field(default=())

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.curves)


def begin(training: Training, seed: int) -> Progress:
    """Return the state before the first step."""
    network = untrained(training.hidden, seed)
    zeros = np.zeros(len(network.parameters))
    return Progress(network, zeros, zeros.copy(), 0, np.random.default_rng(seed))


def train(
    training: Training,
    progress: Progress,
    programs: Sequence[MappingProblem],
    validation: Sequence[MappingProblem],
    *,
    deadline: Deadline,
    on_step: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train until the last step or the deadline, and return the state after the last whole step.

    Parameters
    ----------
    training : Training
    progress : Progress
        The state to go on from; not changed.
    programs : sequence of MappingProblem
        From which programs to play are drawn.
    validation : sequence of MappingProblem
        On which to score.
    on_step : callable
        Receives the state after every step.
    """
    progress = replace(progress, rng=_copy_of(progress.rng))
    while progress.steps < training.steps and not deadline.expired():
        after = _step(training, progress, programs, validation, deadline)
        if after is None:
            break
        progress = after
        if on_step is not None:
            on_step(progress)
    return progress


def save_checkpoint(path: str | os.PathLike[str], training: Training, progress: Progress) -> None:
    """Write the state, complete or not at all.

    Raises
    ------
    BadFileError
        If it cannot be written.
    """
    arrays = {
        "parameters": progress.network.parameters,
        "first": progress.first,
        "second": progress.second,
        # Scores that were not taken are NaN, which files of weights refuse: -1 stands for them.
        "curves": np.nan_to_num(np.array(progress.curves, float).reshape(-1, 4), nan=-1.0),
    }
    described = {
        "how": json.dumps(training),
        "updates": progress.updates,
        "rng": progress.rng.bit_generator.state,
    }
    save_weights(path, Weights(_CHECKPOINT, FEATURE_VERSION, arrays, training=described))


def load_checkpoint(path: str | os.PathLike[str], training: Training) -> Progress:
    """Read a state that training of the same kind has written.

    Raises
    ------
    WeightsError
        If it cannot be read, or belongs to training with other settings.
    """
    stored = load_weights(path, kind=_CHECKPOINT, feature_version=FEATURE_VERSION)
    described = stored.training
    if described.get("how") != json.dumps(training):
        raise WeightsError(
            f"{path}: written by training with other settings: {described.get('how')}. Go on with "
            "these, or begin anew elsewhere."
        )
    network = untrained(training.hidden)
    count = len(network.parameters)
    curves = stored.arrays.get("curves", np.empty(0))
    stored.require_shapes(
        {
            "parameters": (count,),
            "first": (count,),
            "second": (count,),
            "curves": (len(curves) if curves.ndim else 0, 4),
        },
        source=path,
    )
    rng = np.random.default_rng()
    try:
        rng.bit_generator.state = described["rng"]
        updates = int(described["updates"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: no state of a random generator: {error}.") from None
    rows = [
        Curve(int(step), policy, value, score if score >= 0 else float("nan"))
        for step, policy, value, score in curves.tolist()
    ]
    network = Network(training.hidden, stored.arrays["parameters"].copy())
    first, second = stored.arrays["first"].copy(), stored.arrays["second"].copy()
    return Progress(network, first, second, updates, rng, tuple(rows))


def validation_score(
    network: Network, programs: Sequence[MappingProblem], deadline: Deadline, *, how: Play
) -> float:
    """Return the geometric mean of latency over that of the XLA-style decode."""
    logs = []
    for problem in programs:
        model = native_model(problem)
        static = decode_static(model, XLA_STYLE, deadline).latency
        latency = play(model, network, how, deadline=deadline).decoded.latency
        logs.append(np.log(latency / static))
    return float(np.exp(np.mean(logs))) if logs else float("nan")


def _copy_of(rng: np.random.Generator) -> np.random.Generator:
    other = np.random.default_rng()
    other.bit_generator.state = rng.bit_generator.state
    return other


def _step(
    training: Training,
    progress: Progress,
    programs: Sequence[MappingProblem],
    validation: Sequence[MappingProblem],
    deadline: Deadline,
) -> Progress | None:
    """Return the state one step later, or None if the deadline came first."""
    rng = _copy_of(progress.rng)
    seen, policies, values = [], [], []
    for _ in range(training.games):
        problem = perturbed(programs[int(rng.integers(len(programs)))], rng)
        seed = int(rng.integers(1 << 62))
        played = play(
            native_model(problem),
            progress.network,
            training.how,
            deadline=deadline,
            seed=seed,
            record=True,
        )
        if deadline.expired():
            return None
        seen.append(played.seen)
        policies.append(played.policy)
        values.append(_returns(played.gained, played.row, training.how.discount))
    decided, wanted, value = map(np.concatenate, (seen, policies, values))
    rate = training.rate * (1.0 - 0.9 * progress.steps / max(1, training.steps - 1))
    state = replace(progress, rng=rng)
    losses = []
    for _ in range(training.passes):
        order = rng.permutation(len(decided))
        for start in range(0, len(order), training.batch):
            chosen = order[start : start + training.batch]
            gradient, loss = gradients(
                state.network, decided[chosen], wanted[chosen], value[chosen]
            )
            losses.append((*loss, len(chosen)))
            state = _adam(state, gradient, rate)
    weights = [loss[2] for loss in losses]
    policy_loss, value_loss = (
        float(np.average([loss[k] for loss in losses], weights=weights)) if losses else 0.0
        for k in range(2)
    )
    step = progress.steps + 1
    score = float("nan")
    if step % training.validate_every == 0 or step == training.steps:
        how = training.how._replace(simulations=0, noise=0.0)
        score = validation_score(state.network, validation, deadline, how=how)
    return replace(state, curves=(*state.curves, Curve(step, policy_loss, value_loss, score)))


def _returns(gained: NDArray, row: NDArray, discount: float) -> NDArray[np.float64]:
    """Return what is gained from each decision on, each row later counting less."""
    values = np.zeros(len(gained))
    after, after_row = 0.0, int(row[-1]) if len(row) else 0
    for place in range(len(gained) - 1, -1, -1):
        after = float(gained[place]) + discount ** (after_row - int(row[place])) * after
        after_row = int(row[place])
        values[place] = after
    return values


def gradients(
    network: Network, seen: NDArray, policy: NDArray, value: NDArray
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Differentiate the loss.

    Parameters
    ----------
    seen, policy, value : arrays of shapes [n, features], [n, actions] and [n]

    Returns
    -------
    gradient : float64 array of shape [parameters]
        Of the mean of cross-entropy and weighted squared error of the value.
    losses : tuple of float
        Mean cross-entropy less the entropy of the policy wanted, and mean squared error.
    """
    layers = network.layers()
    activations = [seen.astype(np.float64)]
    for place, (weights, biases) in enumerate(layers):
        result = activations[-1] @ weights + biases
        activations.append(np.maximum(result, 0.0) if place + 1 < len(layers) else result)
    outputs = activations[-1]
    logits = outputs[:, :ACTIONS]
    logits = logits - logits.max(axis=1, keepdims=True)
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    error = outputs[:, ACTIONS] - value
    entropy = -(policy * np.log(np.maximum(policy, 1e-12))).sum(axis=1)
    losses = (
        float((-(policy * log_shares).sum(axis=1) - entropy).mean()),
        float((error**2).mean()),
    )
    back = np.empty_like(outputs)
    back[:, :ACTIONS] = np.exp(log_shares) - policy
    back[:, ACTIONS] = 2.0 * _VALUE_WEIGHT * error
    back /= len(seen)
    parts: list[NDArray] = []
    for place in range(len(layers) - 1, -1, -1):
        parts[:0] = [(activations[place].T @ back).ravel(), back.sum(axis=0)]
        back = (back @ layers[place][0].T) * (activations[place] > 0)
    return np.concatenate(parts), losses


def _adam(state: Progress, gradient: NDArray[np.float64], rate: float) -> Progress:
    """Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015."""
    gradient = gradient * min(1.0, _LARGEST_GRADIENT / max(np.linalg.norm(gradient), 1e-12))
    updates = state.updates + 1
    first = _MOMENTS[0] * state.first + (1 - _MOMENTS[0]) * gradient
    second = _MOMENTS[1] * state.second + (1 - _MOMENTS[1]) * gradient**2
    step = (first / (1 - _MOMENTS[0] ** updates)) / (
        np.sqrt(second / (1 - _MOMENTS[1] ** updates)) + _EPSILON
    )
    parameters = (state.network.parameters - rate * step).astype(np.float32)
    network = Network(state.network.hidden, parameters)
    return replace(state, network=network, first=first, second=second, updates=updates)


def settings(training: Training) -> dict[str, Any]:
    """Return the settings as they stand in files of weights."""
    return {**training._asdict(), "how": training.how._asdict(), "hidden": list(training.hidden)}
