"""Idle time and memory of the published schedules with equal stages, in closed form.

All of a device's chunks together are a **stage** here. ``idle_...`` is the longest stage's time
less the time it computes, for as many microbatches as the pipeline has devices or more; peaks are
in activations of one microbatch, of a whole stage where nothing else is said. Everything is
exact: whole numbers and fractions come out as they go in.

Sources: "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241), "PipeOffload" (arXiv 2503.01328).
Terms with communication are derived; with them every value of ZB's tables 5 and 8 for 1F1B,
1F1B-I, ZB-H1 and ZB-H2 comes out to all printed digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class EqualStages:
    """``devices`` equal stages of one iteration.

    Attributes
    ----------
    devices, microbatches : int
    forward, backward, weight : int or fractions.Fraction
        Time of each pass of one microbatch, over all chunks of the device.
    communication : int or fractions.Fraction
        Time of one hop.
    """

    devices: int
    microbatches: int
    forward: int | Fraction
    backward: int | Fraction
    weight: int | Fraction
    communication: int | Fraction = 0

    @property
    def work(self) -> Fraction:
        """Time of the three passes of one microbatch."""
        return Fraction(self.forward + self.backward + self.weight)

    def bubble_rate(self, idle: Fraction) -> Fraction:
        """Return the share of ``idle`` in the longest stage's time."""
        total = self.microbatches * self.work + idle
        return idle / total if total else Fraction(0)


def idle_gpipe(costs: EqualStages) -> Fraction:
    """Return ``(p-1)(F+B+W+2c)``: GPipe fills and drains once."""
    return (costs.devices - 1) * (costs.work + 2 * costs.communication)


def idle_1f1b(costs: EqualStages) -> Fraction:
    """Return ``(p-1)(F+B+W) + 2c((p-1)(m/p+1) - 1)`` for ``m`` a multiple of ``p`` > 1.

    Without communication that of GPipe; with it, a device waits for two hops in every round of
    ``p`` microbatches and hop of the pipeline.
    """
    hops = costs.devices - 1
    if not hops:
        return Fraction(0)
    rounds = Fraction(costs.microbatches, costs.devices)
    return hops * costs.work + 2 * costs.communication * (hops * (rounds + 1) - 1)


def idle_interleaved(costs: EqualStages, chunks: int, *, early: bool = False) -> Fraction:
    """Return the idle time of interleaved 1F1B for ``m`` a multiple of ``p``, ``v`` > 1 chunks.

    ``(p-1)(F+B+W)/v + 2c(vp - 1)``: communication is hidden in the steady state only. With an
    early start of the second group one round trip less, ``pc``, for ``m > p``: that is what the
    columns "1F1B-I" of ZB's tables 5 and 8 hold.
    """
    devices = costs.devices
    if devices == 1:
        return Fraction(0)
    hops = 2 * (chunks * devices - 1) - (devices if early else 0)
    return (devices - 1) * costs.work / chunks + hops * costs.communication


def idle_zb_h1(costs: EqualStages) -> Fraction:
    """Return ``(p-1)(F+B-W+4c)``; holds where W hides the hops (2401.10241, section 2)."""
    once = costs.forward + costs.backward - costs.weight + 4 * costs.communication
    return Fraction((costs.devices - 1) * once)


def idle_zb_h2(costs: EqualStages) -> Fraction:
    """Return ``(p-1)(F+B-2W+2c)``, likewise; 0 where all passes take as long and hops no time."""
    once = costs.forward + costs.backward - 2 * costs.weight + 2 * costs.communication
    return Fraction((costs.devices - 1) * once)


def idle_gis(costs: EqualStages, chunks: int) -> Fraction:
    """Return ``(p-1)(F+B)/v`` for ``m`` a multiple of ``p``, without communication (2503.01328)."""
    return (costs.devices - 1) * Fraction(costs.forward + costs.backward) / chunks


def idle_gis_h(costs: EqualStages, chunks: int) -> Fraction:
    """Return ``((p-1)(F+B) + (v-1)(p/2)(F+B-W))/v``; even ``p``, ``W <= B <= F + W``.

    For ``m`` a multiple of ``p/2``, without communication (2503.01328).
    """
    return idle_grouped_interleaving(costs, chunks, Fraction(costs.devices, 2))


def idle_grouped_interleaving(costs: EqualStages, chunks: int, group: int | Fraction) -> Fraction:
    """Return ``((p-1)(F+B) + (p-g)(v-1)(F+B-W))/v`` for groups of ``g`` microbatches.

    Without communication and for ``m`` a multiple of ``g``, ``p/2 <= g <= p``: exact where
    all passes take as long and at both ends of that range; between them, no more than that where
    ``W <= B <= F + W``.
    """
    longer = Fraction(costs.forward + costs.backward - costs.weight)
    extra = (costs.devices - group) * (chunks - 1) * longer / chunks
    return idle_gis(costs, chunks) + extra


def peak_gpipe(microbatches: int) -> int:
    """Activations that every device of GPipe holds."""
    return microbatches


def peak_1f1b(devices: int, device: int, microbatches: int) -> int:
    """Activations that a device of 1F1B holds."""
    return min(microbatches, devices - device)


def peak_zb_h1(devices: int, device: int) -> tuple[int, int]:
    """Whole activations, and those kept for W alone, that a device of ZB-H1 holds; ``m >= p``."""
    return devices - device, device


def peak_zb_h2(devices: int, device: int) -> tuple[int, int]:
    """Whole activations, and those kept for W alone, that a device of ZB-H2 holds; ``m >= 2p``."""
    return 2 * (devices - device) - 1, 2 * device


def peak_interleaved(devices: int, chunks: int) -> int:
    """Activations of one chunk that the first device of interleaved 1F1B holds; ``m >= 2p``."""
    return (chunks + 1) * devices - 1


def peak_grouped_interleaving(devices: int, chunks: int, group: int) -> int:
    """Activations of one chunk on the first device, for groups of ``group``: GIS has ``p``."""
    return group * (chunks - 1) + devices


def limit_without_wait(costs: EqualStages) -> int:
    """Activations with which a first B waits less than one F: more of them help little.

    ``floor(((p-1)(B+2c) + pF)/F)`` (2401.10241, section 3).
    """
    return int(_first_gradient(costs) / costs.forward)


def limit_without_bubble(costs: EqualStages) -> int:
    """Activations beyond which one-chunk schedules gain nothing at all.

    ``floor(((p-1)(B+2c) + (2p-1)F)/F)`` (2401.10241, section 3).
    """
    return int(_first_gradient(costs) / costs.forward) + costs.devices - 1


def _first_gradient(costs: EqualStages) -> Fraction:
    """Time from the first device's first F to its first B."""
    back = (costs.devices - 1) * (costs.backward + 2 * costs.communication)
    return Fraction(back + costs.devices * costs.forward)
