"""Building blocks: the slots of one microbatch's passes, repeated for every microbatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BuildingBlock:
    """Slots of the passes of one microbatch; the next microbatch follows ``period`` slots later.

    The family of "Pipeline Parallelism with Controllable Memory" (arXiv 2405.15362). A slot fits
    one pass of any kind. Repeating the block is legal if the passes of each device lie in
    different slots modulo the period.

    Attributes
    ----------
    device_of : tuple of int
        The device of each stage.
    forward, backward, weight : tuple of int
        Per stage, the slot of each pass of microbatch 0.
    period : int
        Devices work all the time if it is three slots for each stage of a device.
    """

    device_of: tuple[int, ...]
    forward: tuple[int, ...]
    backward: tuple[int, ...]
    weight: tuple[int, ...]
    period: int

    @property
    def is_feasible(self) -> bool:
        """Whether passes follow those they need, and no two of a device share a slot."""
        last = len(self.device_of) - 1
        for stage in range(last + 1):
            needed = self.forward[stage] if stage == last else self.backward[stage + 1]
            if stage and self.forward[stage] <= self.forward[stage - 1]:
                return False
            if self.backward[stage] <= needed or self.weight[stage] <= self.backward[stage]:
                return False
        taken = {
            (device, slot % self.period)
            for slots in (self.forward, self.backward, self.weight)
            for device, slot in zip(self.device_of, slots, strict=True)
        }
        return len(taken) == 3 * len(self.device_of)

    @property
    def copies(self) -> tuple[int, ...]:
        """Per stage, microbatches held at once: the lifespan over the period, rounded up.

        A lifespan is from the start of F to the end of W.
        """
        return tuple(
            -(-(weight + 1 - forward) // self.period)
            for forward, weight in zip(self.forward, self.weight, strict=True)
        )

    def peaks(self, activation_bytes: Sequence[int]) -> tuple[int, ...]:
        """Return the most that each device holds between warm-up and drain, slot by slot.

        It is at most the sum of the device's ``copies``, whose peaks need not fall together.

        Parameters
        ----------
        activation_bytes : sequence of int
            Per stage, held from F to the end of W.
        """
        peaks = [0] * (max(self.device_of) + 1)
        for device, now in zip(self.device_of, self.forward, strict=True):
            held = sum(
                size * ((now - forward) // self.period - (now - weight - 1) // self.period)
                for other, size, forward, weight in zip(
                    self.device_of, activation_bytes, self.forward, self.weight, strict=True
                )
                if other == device
            )
            peaks[device] = max(peaks[device], held)
        return tuple(peaks)

    def ranks(self, microbatches: int) -> NDArray[np.int64]:
        """Return the slot of each pass: ``[kind, stage, microbatch]``, kinds F, B and W."""
        slots = np.array([self.forward, self.backward, self.weight], dtype=np.int64)
        return slots[:, :, None] + self.period * np.arange(microbatches, dtype=np.int64)


class VSlots(NamedTuple):
    """Per device of a V placement, the slots of F and B of its two stages.

    Attributes
    ----------
    forward_down, forward_up, backward_up, backward_down : sequence of int
        In the order in which a microbatch comes by. Down is stage ``i`` of device ``i``, up is
        stage ``2p-1-i``.
    """

    forward_down: Sequence[int]
    forward_up: Sequence[int]
    backward_up: Sequence[int]
    backward_down: Sequence[int]


def v_block(slots: VSlots, period: int = 6) -> BuildingBlock:
    """Return the block of these slots, with W in the first free slots after B, later stage first.

    It may not be feasible: ``BuildingBlock.is_feasible`` tells.
    """
    devices = len(slots.forward_down)
    weight_up, weight_down = [], []
    for device_slots in zip(*slots, strict=True):
        taken = {slot % period for slot in device_slots}
        for backward, chosen in ((device_slots[2], weight_up), (device_slots[3], weight_down)):
            after = range(backward + 1, backward + 1 + period)
            slot = next((slot for slot in after if slot % period not in taken), after[0])
            taken.add(slot % period)
            chosen.append(slot)
    return BuildingBlock(
        (*range(devices), *reversed(range(devices))),
        (*slots.forward_down, *reversed(slots.forward_up)),
        (*slots.backward_down, *reversed(slots.backward_up)),
        (*weight_down, *reversed(weight_up)),
        period,
    )
