"""Argument values shared by several verbs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.sweeps.capacities import CapacityRange

Value = TypeVar("Value")

_MOST_DIGITS = 18


def assignment(text: str) -> tuple[str, str]:
    """Split ``NAME=VALUE`` at the last ``=``; names of tensors may contain one.

    Raises
    ------
    argparse.ArgumentTypeError
        If either side is missing.
    """
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return name, value


def dimension(text: str) -> tuple[str, int]:
    """Read ``NAME=N`` or ``INPUT:AXIS=N``.

    Raises
    ------
    argparse.ArgumentTypeError
        If the size is not a whole number of at least 0.
    """
    name, value = assignment(text)
    if not value.isascii() or not value.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: {value!r} is not a size (a whole number)")
    return name, int(value)


def capacity(text: str) -> tuple[str, int]:
    """Read ``MEMORY=SIZE``, e.g. ``sram=256KiB``.

    Raises
    ------
    argparse.ArgumentTypeError
        If the size is malformed.
    """
    name, value = assignment(text)
    try:
        return name, size(value)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def capacity_or_range(text: str) -> tuple[str, int | CapacityRange]:
    """Read ``MEMORY=SIZE``, or ``MEMORY=LOW:HIGH`` with an optional ``:POINTS`` or ``:STEP``.

    A third part that is a bare number counts points, one with a unit is a step in bytes.

    Raises
    ------
    argparse.ArgumentTypeError
        If a part is malformed, or the range holds no or too many capacities.
    """
    name, value = assignment(text)
    if ":" not in value:
        return capacity(text)
    from planner.sweeps.capacities import CapacityRange, swept_capacities

    low, high, *third = value.split(":")
    points = step = None
    try:
        if len(third) > 1:
            raise argparse.ArgumentTypeError("more than three parts")
        if third and third[0].isascii() and third[0].isdigit():
            points = positive(third[0])
        elif third:
            step = size(third[0])
        chosen = CapacityRange(size(low), size(high), points, step)
        swept_capacities(chosen)
    except (argparse.ArgumentTypeError, UsageError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {error} (expected {name}=LOW:HIGH, {name}=LOW:HIGH:POINTS or "
            f"{name}=LOW:HIGH:STEP with a unit, e.g. {name}=256KiB:4MiB:64KiB)"
        ) from None
    return name, chosen


def size(text: str) -> int:
    """Read a number of bytes, e.g. ``256KiB``.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is malformed.
    """
    from planner.errors import PlannerError
    from planner.target_file import parse_size

    try:
        return parse_size(text)
    except PlannerError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is anything else.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def seconds(text: str) -> float:
    """Read a positive, finite number of seconds.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def distinct(option: str, pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Collect a repeatable option's pairs.

    Raises
    ------
    UsageError
        If a name is given two different values.
    """
    collected: dict[str, Value] = {}
    for name, value in pairs:
        if collected.setdefault(name, value) != value:
            raise UsageError(
                f"{option} {name}={collected[name]} and {option} {name}={value}: give it once."
            )
    return collected
