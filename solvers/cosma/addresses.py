"""Addresses in COSMA's integer program.

    (9)  L(a,t) + size(a) <= B
    (10) L(a,t) >= L(b,t) + size(b) - B (1 - u)     u, d binaries for every pair a, b and step
         L(b,t) >= L(a,t) + size(a) - B (1 - d)
         u + d >= res(a,t) + res(b,t) - 1,  u + d <= 1
    (11) |L(a,t) - L(a,t-1)| <= B (1 - V(a,t))

V(a,t) says that the tensor was resident at t - 1 and is preserved at t. By (2) the second implies
the first, so V = P, and there is no variable for it. (9) is a bound on L.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from solvers.cosma.windows import Windows
    from solvers.milp.program import Rows


def add_addresses(
    rows: Rows,
    windows: Windows,
    units: Mapping[int, int],
    capacity: int,
    resident: Callable[[int, int], list[tuple[int, float]]],
    preserved: Mapping[tuple[int, int], int],
) -> dict[tuple[int, int], int]:
    """Add the rows and return the address columns by storage and step.

    Addresses count the unit that divides all sizes: moving everything down until it rests on
    something makes any placement one of multiples.

    Parameters
    ----------
    units : mapping of storage to int
        Sizes in units, at most the capacity.
    resident : callable
        The terms of C + P + R for a storage and step.
    """
    address: dict[tuple[int, int], int] = {}
    for s in windows.counted:
        first, last = windows.storages[s]
        for t in range(max(first, 1), last + 1):
            address[s, t] = rows.variable(f"L_{s}_{t}", 0, capacity - units[s], integer=True)
            if (s, t - 1) in address:
                both = (address[s, t], 1.0), (address[s, t - 1], -1.0)
                kept = (preserved[s, t], float(capacity))
                rows.add(f"eq11_up_{s}_{t}", [*both, kept], upper=capacity)
                back = [(column, -value) for column, value in both]
                rows.add(f"eq11_down_{s}_{t}", [*back, kept], upper=capacity)
    for t in range(1, windows.steps + 1):
        for a, b in combinations(windows.at(t), 2):
            up, down = rows.binary(f"u_{a}_{b}_{t}"), rows.binary(f"d_{a}_{b}_{t}")
            above = (address[a, t], 1.0), (address[b, t], -1.0)
            below = (address[b, t], 1.0), (address[a, t], -1.0)
            size_a, size_b = units[a], units[b]
            rows.add(f"eq10_u_{a}_{b}_{t}", [*above, (up, -capacity)], lower=size_b - capacity)
            rows.add(f"eq10_d_{a}_{b}_{t}", [*below, (down, -capacity)], lower=size_a - capacity)
            rows.add(f"eq10_one_{a}_{b}_{t}", [(up, 1.0), (down, 1.0)], upper=1.0)
            together: dict[int, float] = {}
            for column, value in (*resident(a, t), *resident(b, t)):
                together[column] = together.get(column, 0.0) - value
            sides = [(up, 1.0), (down, 1.0), *together.items()]
            rows.add(f"eq10_or_{a}_{b}_{t}", sides, lower=-1.0)
    return address
