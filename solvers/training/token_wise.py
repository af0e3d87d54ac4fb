"""How much of each layer's activations to offload, by tokens, the rest being recomputed.

MEMO ("MEMO: Fine-grained Tensor Management for Ultra-long Context LLM Training", arXiv 2407.12117):
outside attention every operator of a layer works row by row, so of each activation the first tokens
may go to the host and the others be recomputed. Two buffers take turns: the copies of a layer have
to end before the layer after the next one begins, the last two layers stay on the device.
"""

from __future__ import annotations

from enum import StrEnum
from math import floor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.errors import DoesNotFitError, UsageError
from planner.graph import RaggedArray
from planner.training.problem import PICOSECONDS, TrainingProblem
from planner.training.schedule import Offload, TrainingSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.training.problem import HostLink

_ON_DEVICE = 2
"""Last layers, whose activations never leave."""


class SkeletalLayer(NamedTuple):
    """What one layer hands from its forward to its backward pass.

    Attributes
    ----------
    always_bytes : int
        Offloaded whole: the layer's input and the attention's output.
    other_bytes : int
        Offloaded or recomputed token by token.
    forward_ps, backward_ps : int
        Of the passes.
    recompute_ps : int
        To recompute all of ``other_bytes``.
    """

    always_bytes: int
    other_bytes: int
    forward_ps: int
    backward_ps: int
    recompute_ps: int


class TokenWiseLimit(StrEnum):
    """What keeps a fraction from being larger."""

    NOTHING = "nothing"
    COPY = "copy"
    HOST = "host"


class TokenWiseFraction(NamedTuple):
    """Share of the tokens whose activations are offloaded, and what limits it."""

    fraction: float
    limit: TokenWiseLimit


def transformer_layer(
    hidden: int, tokens: int, flop_per_s: float, *, devices: int = 1, element_bytes: int = 2
) -> SkeletalLayer:
    """Return a decoder layer with causal flash attention, as one of several devices holds it.

    Of 16 activations of ``tokens * hidden`` elements two are offloaded whole. The forward pass
    takes ``24 * tokens * hidden**2 + 2 * tokens**2 * hidden`` operations, the backward pass twice
    as many, recomputation ``16 * tokens * hidden**2``: neither attention, whose output is there,
    nor the last product, whose output nobody needs.

    Parameters
    ----------
    flop_per_s : float
        Reached by one device.
    devices : int
        Which share the tokens and the work evenly.

    Raises
    ------
    UsageError
        If a number is not positive.
    """
    for name, value in (
        *(("hidden", hidden), ("tokens", tokens), ("flop_per_s", flop_per_s)),
        *(("devices", devices), ("element_bytes", element_bytes)),
    ):
        if not value > 0:
            raise UsageError(f"{name} is {value}; give a positive number.")
    activation = tokens * hidden * element_bytes // devices

    def duration(operations: int) -> int:
        return round(operations / (flop_per_s * devices) * PICOSECONDS)

    rows, attention = tokens * hidden**2, tokens**2 * hidden
    forward = 24 * rows + 2 * attention
    return SkeletalLayer(
        2 * activation,
        14 * activation,
        duration(forward),
        duration(2 * forward),
        duration(16 * rows),
    )


def token_wise_fraction(layer: SkeletalLayer, layers: int, host: HostLink) -> TokenWiseFraction:
    """Return MEMO's fraction for equal layers: the largest that nobody waits for.

    ``min(bandwidth * (forward - setup), host / (layers - 2))``, less what is always offloaded, over
    the other bytes; at most 1. Only the forward pass limits the copies.

    Raises
    ------
    DoesNotFitError
        If what is always offloaded is already too much for the link or for the host.
    UsageError
        If the numbers are senseless.
    """
    _checked([layer])
    if layers < 1:
        raise UsageError(f"a stack of {layers:,} layers; give at least one.")
    if layers <= _ON_DEVICE:
        return TokenWiseFraction(1.0, TokenWiseLimit.NOTHING)
    hidden_bytes = _hidden_bytes(layer.forward_ps, host.setup_s, host.to_host_bytes_per_s)
    share = host.capacity_bytes / (layers - _ON_DEVICE)
    if layer.always_bytes > hidden_bytes:
        raise _too_slow("every layer", layer.always_bytes, hidden_bytes, layer.forward_ps)
    if layer.always_bytes > share:
        raise _too_full(layer.always_bytes * (layers - _ON_DEVICE), host)
    room, limit = min((hidden_bytes, TokenWiseLimit.COPY), (share, TokenWiseLimit.HOST))
    if layer.always_bytes + layer.other_bytes <= room:
        return TokenWiseFraction(1.0, TokenWiseLimit.NOTHING)
    return TokenWiseFraction((room - layer.always_bytes) / layer.other_bytes, limit)


def token_wise_fractions(layers: Sequence[SkeletalLayer], host: HostLink) -> list[float]:
    """Return a fraction for each layer, so that least is recomputed and nobody waits.

    The copy of a layer hides behind the forward pass of the next one, the copy back behind its
    backward pass. As two buffers leave no other choice, the layers share nothing but the host, and
    the linear program is a fractional knapsack: the host goes to the layers that save most
    recomputation per byte, and evenly to those that save the same. Equal layers get
    `token_wise_fraction`, unless the way back is the narrower one.

    Raises
    ------
    DoesNotFitError
        If what is always offloaded is already too much for the link or for the host.
    UsageError
        If the numbers are senseless.
    """
    _checked(layers)
    leaving = range(max(0, len(layers) - _ON_DEVICE))
    most = []
    for i in leaving:
        after = layers[i + 1]
        room = min(
            (_hidden_bytes(after.forward_ps, host.setup_s, host.to_host_bytes_per_s), 0),
            (_hidden_bytes(after.backward_ps, host.setup_s, host.to_device_bytes_per_s), 1),
        )
        if layers[i].always_bytes > room[0]:
            behind = (after.forward_ps, after.backward_ps)[room[1]]
            raise _too_slow(f"layer {i:,}", layers[i].always_bytes, room[0], behind)
        spare = room[0] - layers[i].always_bytes
        most.append(min(1.0, spare / layers[i].other_bytes) if layers[i].other_bytes else 1.0)
    always = sum(layers[i].always_bytes for i in leaving)
    if always > host.capacity_bytes:
        raise _too_full(always, host)
    fractions = [1.0] * len(layers)
    free = float(host.capacity_bytes - always)
    # By recomputation saved per byte; layers without other bytes cost nothing.
    groups: dict[float, list[int]] = {}
    for i in leaving:
        if layers[i].other_bytes:
            value = layers[i].recompute_ps / layers[i].other_bytes
            groups.setdefault(value, []).append(i)
    for value in sorted(groups, reverse=True):
        left = sum(layers[i].other_bytes for i in groups[value])
        level = 0.0
        # One level for all; who cannot reach it leaves its share to the others.
        for i in sorted(groups[value], key=lambda i: most[i]):
            level = max(0.0, min(most[i], free / left))
            fractions[i] = level
            free -= level * layers[i].other_bytes
            left -= layers[i].other_bytes
    return fractions


def token_wise_step(
    layers: Sequence[SkeletalLayer], fractions: Sequence[float], host: HostLink
) -> tuple[TrainingProblem, TrainingSchedule]:
    """Return the stack as a training step and its schedule, to be simulated and measured.

    Each layer is two operators, of which the second computes the tokens that are dropped and
    recomputed. Storages are what crosses to the backward pass, transient bytes are not counted.

    Parameters
    ----------
    fractions : sequence of float
        Of each layer; those of the last two do not leave the device.
    """
    count = len(layers)
    reads: list[list[int]] = []
    writes: list[list[int]] = []
    durations: list[int] = []
    names: list[str] = []
    storages: list[str] = []
    sizes: list[int] = []

    def storage(name: str, size: int) -> int:
        storages.append(name)
        sizes.append(size)
        return len(sizes) - 1

    def operator(name: str, read: list[int], written: list[int], duration: int) -> None:
        names.append(name)
        reads.append(sorted(read))
        writes.append(written)
        durations.append(duration)

    kept: list[int] = []
    dropped: list[int] = []
    # Its bytes are among those of the next layer.
    flow: list[int] = []
    for i, (layer, fraction) in enumerate(zip(layers, fractions, strict=True)):
        stays = floor(fraction * layer.other_bytes)
        again = round((1 - fraction) * layer.recompute_ps)
        kept.append(storage(f"layer{i}.kept", layer.always_bytes + stays))
        operator(f"layer{i}.forward", flow, [kept[i]], layer.forward_ps - again)
        dropped.append(storage(f"layer{i}.dropped", layer.other_bytes - stays))
        flow = [storage(f"layer{i}.result", 0)]
        operator(f"layer{i}.tokens", [kept[i]], [dropped[i], *flow], again)
    result, tangent = flow, storage("tangent", 0)
    flow = [tangent]
    for i in range(count - 1, -1, -1):
        read = [*flow, kept[i], dropped[i]]
        flow = [storage(f"layer{i}.gradient", 0)]
        operator(f"layer{i}.backward", read, flow, layers[i].backward_ps)
    is_backward = np.arange(3 * count) >= 2 * count
    problem = TrainingProblem(
        tuple(names),
        tuple(storages),
        is_backward,
        ~is_backward,
        np.ones(3 * count, dtype=np.bool_),
        RaggedArray.from_rows(reads),
        RaggedArray.from_rows(writes),
        np.zeros(3 * count, dtype=np.int64),
        np.array(durations, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        np.array(result, dtype=np.int32),
        np.array(flow, dtype=np.int32),
        np.array([tangent], dtype=np.int32),
        host=host,
    )
    backward = [o for i in range(count - 1, -1, -1) for o in (2 * i + 1, 3 * count - 1 - i)]
    offloads = [
        Offload(kept[i], 2 * i + 1, 2 * i + 3, 2 * (count - 2 - i))
        for i in range(count - _ON_DEVICE)
    ]
    saved = tuple(kept)
    return problem, TrainingSchedule(
        tuple(range(2 * count)), tuple(backward), saved, tuple(offloads)
    )


def _hidden_bytes(behind_ps: int, setup_s: float, bytes_per_s: float) -> float:
    """Return how many bytes can be copied while a pass runs."""
    return max(0.0, behind_ps / PICOSECONDS - setup_s) * bytes_per_s


def _checked(layers: Sequence[SkeletalLayer]) -> None:
    for i, layer in enumerate(layers):
        for field, value in layer._asdict().items():
            if value < 0:
                raise UsageError(f"layer {i:,}: {field} is {value:,}; give 0 or more.")


def _too_slow(where: str, size: int, hidden: float, behind_ps: int) -> DoesNotFitError:
    return DoesNotFitError(
        f"{where}: {size:,} bytes are always offloaded, and the link copies {floor(hidden):,} "
        f"while a pass of {behind_ps / 1e9:,.3f} ms runs. Use longer sequences or a faster link.",
        proven=True,
    )


def _too_full(size: int, host: HostLink) -> DoesNotFitError:
    return DoesNotFitError(
        f"{size:,} bytes are always offloaded, and the host holds {host.capacity_bytes:,}. Use "
        "shorter sequences, more devices or a larger host.",
        proven=True,
    )
