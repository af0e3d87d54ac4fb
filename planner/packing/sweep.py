"""Which of many buffers share bytes: a sweep over time, without comparing all pairs."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class UsedBytes(NamedTuple):
    """Bytes ``[begin, end)`` of a memory that a buffer uses at times ``[lower, upper)``.

    Buffers of one ``group`` may share bytes.
    """

    lower: int
    upper: int
    begin: int
    end: int
    buffer: int
    group: int


class _Layer(NamedTuple):
    """Disjoint ranges of bytes in use now, ascending; each with its users, all of one group."""

    begins: list[int]
    ends: list[int]
    groups: list[int]
    users: list[dict[int, UsedBytes]]


def swept_overlaps(
    used: Sequence[UsedBytes], allowed: set[tuple[int, int]]
) -> Iterator[tuple[UsedBytes, UsedBytes]]:
    """Yield each pair of buffers of one memory that share bytes at a time at which both use them.

    Once a pair, where it shows first. Pairs of one group and ``allowed`` pairs (of buffers,
    ascending) are left out.

    What is in use lies in layers of disjoint ranges: in a legal packing without colocations in
    one. Each entry is compared with its neighbours in every layer, in time logarithmic in their
    number.
    """
    starts = sorted(range(len(used)), key=[use.lower for use in used].__getitem__)
    ends = sorted(range(len(used)), key=[use.upper for use in used].__getitem__)
    layers: list[_Layer] = []
    layer_of: dict[int, _Layer] = {}
    reported: set[tuple[int, int]] = set()
    done = 0
    for index in starts:
        now = used[index]
        # What ends at a time makes room for what starts then.
        while used[ends[done]].upper <= now.lower:
            _remove(layer_of.pop(ends[done]), ends[done], used[ends[done]])
            done += 1
        home = None
        for layer in layers:
            first = bisect_left(layer.ends, now.begin + 1)
            last = bisect_left(layer.begins, now.end)
            for at in range(first, last):
                if layer.groups[at] == now.group:
                    continue
                for other in layer.users[at].values():
                    low, high = sorted((now.buffer, other.buffer))
                    if (low, high) not in allowed and (low, high) not in reported:
                        reported.add((low, high))
                        yield other, now
            if home is None and (first == last or _same_range(layer, first, last, now)):
                home = layer
        if home is None:
            home = _Layer([], [], [], [])
            layers.append(home)
        _insert(home, index, now)
        layer_of[index] = home


def _same_range(layer: _Layer, first: int, last: int, now: UsedBytes) -> bool:
    return (
        last - first == 1
        and layer.begins[first] == now.begin
        and layer.ends[first] == now.end
        and layer.groups[first] == now.group
    )


def _insert(layer: _Layer, index: int, now: UsedBytes) -> None:
    at = bisect_left(layer.begins, now.begin)
    if at < len(layer.begins) and layer.begins[at] == now.begin:
        layer.users[at][index] = now
        return
    layer.begins.insert(at, now.begin)
    layer.ends.insert(at, now.end)
    layer.groups.insert(at, now.group)
    layer.users.insert(at, {index: now})


def _remove(layer: _Layer, index: int, past: UsedBytes) -> None:
    at = bisect_left(layer.begins, past.begin)
    del layer.users[at][index]
    if not layer.users[at]:
        del layer.begins[at], layer.ends[at], layer.groups[at], layer.users[at]
