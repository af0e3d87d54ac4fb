"""Static decodes: fixed priorities, two decoders, three prefetch windows; no search."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.problem import Outcome, Status
from solvers._native import (
    MAPPING_FEATURES,
    MAPPING_STATIC_KEYS,
    MappingModel,
    mapping_decode_keys,
    mapping_decode_weights,
)
from solvers.mapping.native import Decoded, native_model
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.mapping_problem import MappingProblem, MappingSolution
    from solvers.protocol import Deadline

# Rows; more than any program has.
NO_WINDOW = 1 << 30
WINDOWS = (24, 96, NO_WINDOW)


class Decoder(StrEnum):
    """How priorities become residencies."""

    BUFFERS = "buffers"
    MARGINAL = "marginal"


class StaticDecode(NamedTuple):
    """A decoder, a static key, and how many rows a copy may take."""

    decoder: Decoder
    key: int
    window: int


# Benefit over the square root of the size, as XLA's memory space assignment has it.
XLA_STYLE = StaticDecode(Decoder.BUFFERS, 0, 24)
STATIC_DECODES = tuple(
    StaticDecode(decoder, key, window)
    for window in WINDOWS
    for decoder in Decoder
    for key in range(MAPPING_STATIC_KEYS)
)
# The static keys as weights of log size and log span, beside log gain - 0.5 log size.
STATIC_WEIGHTS = ((0.0, 0.0), (-0.5, 0.0), (-0.5, -1.0), (0.0, -0.5))


def static_weights(key: int) -> NDArray[np.float64]:
    """Return the feature weights that are a static key of the marginal decoder."""
    weights = np.zeros(MAPPING_FEATURES)
    weights[:2] = STATIC_WEIGHTS[key]
    return weights


def decode_static(
    model: MappingModel,
    decode: StaticDecode,
    deadline: Deadline,
    *,
    fifo: bool = False,
    addresses: bool = True,
) -> Decoded:
    """Run one static decode.

    Parameters
    ----------
    fifo : bool
        Copies of one direction end in the order in which they start.
    addresses : bool
        False: residencies get no offsets (-1), only the bytes of each row are counted.
    """
    empty = np.empty(0)
    if decode.decoder is Decoder.BUFFERS:
        return Decoded(
            *mapping_decode_keys(
                model,
                static_key=decode.key,
                keys=empty,
                window=decode.window,
                fifo=fifo,
                addresses=addresses,
                time_limit_s=deadline.remaining_s(),
                cancel=deadline.cancel,
            )
        )
    return Decoded(
        *mapping_decode_weights(
            model,
            weights=static_weights(decode.key),
            residual=empty,
            window=decode.window,
            fifo=fifo,
            addresses=addresses,
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
        )
    )


class StaticDecodes:
    """The best of some static decodes.

    Parameters
    ----------
    decodes : sequence of StaticDecode
    fifo : bool
        Copies of one direction end in the order in which they start.
    """

    name = "static"

    def __init__(
        self, decodes: Sequence[StaticDecode] = STATIC_DECODES, *, fifo: bool = False
    ) -> None:
        self._decodes = decodes
        self._fifo = fifo

    def available(self) -> Availability:
        """Return that it can always run."""
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
        """Decode one after the other until the deadline; the first of equal ones wins."""
        model = native_model(problem)
        best: Decoded | None = None
        for decode in self._decodes:
            if best is not None and deadline.expired():
                break
            found = decode_static(model, decode, deadline, fifo=self._fifo)
            if best is None or found.latency < best.latency:
                best = found
        if best is None or (incumbent is not None and incumbent.latency <= best.latency):
            solution = incumbent
        else:
            solution = best.solution()
        status = Status.UNKNOWN if solution is None else Status.FEASIBLE
        return Outcome(status, solution, problem.floor)
