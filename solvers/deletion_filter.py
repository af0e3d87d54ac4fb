"""Smaller reasons: what is left of an impossible set once bystanders are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from solvers.protocol import Deadline

Item = TypeVar("Item")


def without_bystanders(
    items: list[Item], impossible: Callable[[list[Item]], bool], deadline: Deadline
) -> list[Item]:
    """Delete items while the rest remains impossible, halves first.

    Parameters
    ----------
    items : list
        Impossible together.
    impossible : callable
        Whether that is proven of a list, which is never empty.
    deadline : Deadline
        What is left by then is returned.
    """
    chunk = len(items) // 2
    while chunk and not deadline.expired():
        at = 0
        while at < len(items):
            rest = items[:at] + items[at + chunk :]
            if rest and impossible(rest):
                items = rest
            else:
                at += chunk
        chunk //= 2
    return items
