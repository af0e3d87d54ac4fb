"""COSMA's machine: a scratchpad in which operands lie, and a large memory behind it."""

from __future__ import annotations

from planner.target import Link, Memory, Target


def scratchpad(capacity: int, *, alignment: int = 1) -> Target:
    """Return a target of two memories; graph inputs and outputs lie in the farther one."""
    return Target(
        name="scratchpad",
        memories=(
            Memory("sram", capacity_bytes=capacity, alignment_bytes=alignment),
            Memory("dram", capacity_bytes=None, alignment_bytes=alignment),
        ),
        links=(Link("sram", "dram", 1e9), Link("dram", "sram", 1e9)),
        io_memory="dram",
        constant_memory="dram",
    )
