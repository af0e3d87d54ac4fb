"""The host of a training step, from a described machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.training.problem import HostLink

if TYPE_CHECKING:
    from planner.target import Target


def host_link(target: Target, capacity_bytes: int) -> HostLink | None:
    """Return the memory behind the nearest one to which storages can be copied and back.

    Parameters
    ----------
    capacity_bytes : int
        Most bytes to use there; less if the memory holds less.

    Returns
    -------
    HostLink or None
        None if the target has no such memory, or nothing may be used there.

    Raises
    ------
    UsageError
        If the capacity is negative.
    """
    if capacity_bytes < 0:
        raise UsageError(f"the host holds {capacity_bytes:,} bytes; give 0 or more.")
    far, near = target.spill_memory, target.nearest.name
    if far is None:
        return None
    out, back = target.link(near, far.name), target.link(far.name, near)
    if out is None or back is None:
        return None
    if far.capacity_bytes is not None:
        capacity_bytes = min(capacity_bytes, far.capacity_bytes)
    if not capacity_bytes:
        return None
    # One setup stands for both directions: the longer one, so that no copy is promised too early.
    setup = max(out.setup_s, back.setup_s)
    return HostLink(capacity_bytes, out.bandwidth, back.bandwidth, setup)
