"""The mallocGame in program order: a small network, and tree search with it on the exact game.

Beside the decoders, which place in any order, so that the difference can be measured.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.problem import Outcome, Status
from rl.weights import Weights, WeightsError, load_weights
from solvers._native import MAPPING_GAME_FEATURES, mapping_play_program_order
from solvers.mapping.decoders import NO_WINDOW, XLA_STYLE, decode_static
from solvers.mapping.native import Decoded, native_model
from solvers.protocol import Availability

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem, MappingSolution
    from solvers._native import MappingModel
    from solvers.protocol import Deadline

KIND = "program-order"
FEATURE_VERSION = 1
ACTIONS = 2
SHIPPED = files("rl") / "trained" / "program_order.npz"


@dataclass(frozen=True)
class Network:
    """Rectified linear layers from what is seen to `ACTIONS` logits and a value.

    Attributes
    ----------
    hidden : tuple of int
        Units of the hidden layers.
    parameters : float32 array of shape [n]
        Of each layer in turn, its weights, of shape [inputs, outputs], and its biases.
    """

    hidden: tuple[int, ...]
    parameters: NDArray[np.float32]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers between the layers, inputs and outputs included."""
        return (MAPPING_GAME_FEATURES, *self.hidden, ACTIONS + 1)

    def layers(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return views of the weights and biases of each layer."""
        layers, begin = [], 0
        for inputs, outputs in zip(self.sizes, self.sizes[1:], strict=False):
            weights = self.parameters[begin : begin + inputs * outputs]
            begin += inputs * outputs
            layers.append((weights.reshape(inputs, outputs), self.parameters[begin:][:outputs]))
            begin += outputs
        return layers

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the layers by name, as they stand in files."""
        named = {}
        for place, (weights, biases) in enumerate(self.layers()):
            named[f"weights{place}"], named[f"biases{place}"] = weights, biases
        return named


def untrained(hidden: tuple[int, ...] = (64, 32), seed: int = 0) -> Network:
    """Return a network that serves and keeps whatever it can, and values nothing."""
    sizes = (MAPPING_GAME_FEATURES, *hidden, ACTIONS + 1)
    rng = np.random.default_rng(seed)
    parts = []
    for inputs, outputs in itertools.pairwise(sizes):
        last = len(parts) == 2 * len(hidden)
        scale = 0.0 if last else np.sqrt(2 / inputs)
        parts += [scale * rng.standard_normal(inputs * outputs), np.zeros(outputs)]
    return Network(hidden, np.concatenate(parts).astype(np.float32))


def network_of(weights: Weights, source: object = "") -> Network:
    """Return the network that stands in a file.

    Raises
    ------
    WeightsError
        If its arrays are not those of its layers.
    """
    hidden: Any = weights.network.get("hidden")
    if not isinstance(hidden, list) or not all(
        type(units) is int and 1 <= units <= 4096 for units in hidden
    ):
        raise WeightsError(f"{source}: hidden in its metadata does not list layers.")
    sizes = (MAPPING_GAME_FEATURES, *hidden, ACTIONS + 1)
    shapes: dict[str, tuple[int, ...]] = {}
    for place, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        shapes[f"weights{place}"], shapes[f"biases{place}"] = (inputs, outputs), (outputs,)
    weights.require_shapes(shapes, source=source)
    parts = [weights.arrays[name].ravel() for name in shapes]
    return Network(tuple(hidden), np.concatenate(parts).astype(np.float32))


def load_network(source: str | os.PathLike[str] | None = None) -> Network:
    """Read a network from a file of weights; the one shipped if none is named.

    Raises
    ------
    WeightsError
        If it cannot be read, or is none for this game.
    """
    source = SHIPPED if source is None else source  # pyright: ignore[reportAssignmentType]
    weights = load_weights(source, kind=KIND, feature_version=FEATURE_VERSION)  # pyright: ignore[reportArgumentType]
    return network_of(weights, source)


class Play(NamedTuple):
    """How a game is played.

    Attributes
    ----------
    simulations : int
        Of each move; 0: the policy's likelier action.
    horizon : int
        Rows that the policy plays on from a leaf before the network's value counts.
    noise : float
        Scale of the Gumbel variables: 0 to play well, 1 to learn.
    discount : float
        Of what is gained a row later.
    sharpness : float
        How much a gain of a mean row counts beside the policy's logits, in fiftieths.
    window : int
        Rows that a copy may take.
    """

    simulations: int = 16
    horizon: int = 0
    noise: float = 0.0
    discount: float = 0.97
    sharpness: float = 0.5
    window: int = NO_WINDOW


class Played(NamedTuple):
    """A game, and of each of its decisions what was seen and what came of it.

    Attributes
    ----------
    decoded : Decoded
        Its ``attempts`` are moves, those of the search included.
    seen : float32 array of shape [decisions, features]
    policy : float32 array of shape [decisions, actions]
        Improved by the search.
    gained : float32 array of shape [decisions]
        In mean rows of the program, everything served slow.
    row : int32 array of shape [decisions]
    """

    decoded: Decoded
    seen: NDArray[np.float32]
    policy: NDArray[np.float32]
    gained: NDArray[np.float32]
    row: NDArray[np.int32]


def play(
    model: MappingModel,
    network: Network,
    how: Play,
    *,
    deadline: Deadline,
    seed: int = 0,
    record: bool = False,
) -> Played:
    """Play one game; from the deadline on without search."""
    residencies, latency, moves, seen, policy, gained, row = mapping_play_program_order(
        model,
        hidden=network.hidden,
        parameters=network.parameters,
        record=record,
        seed=seed,
        time_limit_s=deadline.remaining_s(),
        cancel=deadline.cancel,
        **how._asdict(),
    )
    return Played(
        Decoded(residencies, latency, moves),
        seen.reshape(-1, MAPPING_GAME_FEATURES),
        policy.reshape(-1, ACTIONS),
        gained,
        row,
    )


class ProgramOrder:
    """Plays one game in program order.

    Parameters
    ----------
    network : Network, optional
        Default: the shipped one.
    how : Play
    hybrid : bool
        Take the XLA-style decode where it is better, as the paper does. ``on_progress`` is told
        the latency of the game itself.
    """

    name = "program-order"

    def __init__(
        self, network: Network | None = None, how: Play | None = None, *, hybrid: bool = False
    ) -> None:
        self._network = network
        self._how = how or Play()
        self._hybrid = hybrid

    def available(self) -> Availability:
        """Return whether there is a network."""
        if self._network is None:
            try:
                self._network = load_network()
            except WeightsError as error:
                return Availability(False, str(error))
        return Availability(True)

    def solve(
        self,
        problem: MappingProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: MappingSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[MappingSolution]:
        """Play to the end, without search from the deadline on.

        Raises
        ------
        WeightsError
            If no network was given and the shipped one cannot be read.
        """
        network = self._network or load_network()
        model = native_model(problem)
        best = play(model, network, self._how, deadline=deadline, seed=seed).decoded
        if on_progress is not None:
            on_progress(
                f"program order: {best.latency * problem.tick_s * 1e6:,.3f} us, "
                f"{best.attempts:,} moves"
            )
        if self._hybrid:
            other = decode_static(model, XLA_STYLE, deadline)
            best = min(best, other, key=lambda decoded: decoded.latency)
        solution = best.solution()
        if incumbent is not None and incumbent.latency <= solution.latency:
            solution = incumbent
        return Outcome(Status.FEASIBLE, solution, problem.all_fast)


def weights_of(
    network: Network, *, training: Mapping[str, Any], score: Mapping[str, Any]
) -> Weights:
    """Return a network as it is stored."""
    described = {"hidden": list(network.hidden), "units": "rectified linear"}
    return Weights(KIND, FEATURE_VERSION, network.arrays(), described, training, score)
