"""Which device each stage lies on."""

from __future__ import annotations

from planner.errors import UsageError


def linear_placement(devices: int) -> tuple[int, ...]:
    """One stage per device, in order."""
    return tuple(range(devices))


def looped_placement(devices: int, chunks: int) -> tuple[int, ...]:
    """Stage ``s`` on device ``s mod p``: the interleaved placement."""
    return tuple(stage % devices for stage in range(devices * chunks))


def v_placement(devices: int) -> tuple[int, ...]:
    """Device ``i`` has stages ``i`` and ``2p-1-i``: down the devices and back up."""
    return (*range(devices), *reversed(range(devices)))


PLACEMENTS = ("linear", "looped", "v")


def placement(name: str, devices: int, chunks: int) -> tuple[int, ...]:
    """Return the placement of that name.

    Raises
    ------
    planner.errors.UsageError
        If there is none of that name for so many chunks per device.
    """
    if name == "linear" and chunks == 1:
        return linear_placement(devices)
    if name == "looped":
        return looped_placement(devices, chunks)
    if name == "v" and chunks == 2:
        return v_placement(devices)
    raise UsageError(
        f"no placement {name!r} with {chunks} chunks per device: linear is for 1, v for 2, "
        "looped for any"
    )


def placements_for(chunks: int) -> tuple[str, ...]:
    """Names of the placements worth trying with so many chunks per device."""
    return {1: ("linear",), 2: ("v", "looped")}.get(chunks, ("looped",))
