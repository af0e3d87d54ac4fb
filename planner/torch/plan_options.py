"""What a training step is planned to, checked before anything is traced."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any

from planner.errors import UsageError
from planner.target import Target
from planner.target_file import read_target


@dataclass(frozen=True)
class PlanOptions:
    """What a training step is planned to, and with how much effort.

    Attributes
    ----------
    budget_bytes : int
        Above parameters, buffers and inputs.
    target : Target, str or None
        Whose rates give the durations. A name or file is read at once, so that caches of compiled
        code are keyed by what it describes. None: one that suits the step's device.
    host_bytes : int
        Most bytes to offload to the host.
    time_limit : float
        Seconds of planning.
    seed : int
    torch_budgets : tuple of float or None
        Budgets at which PyTorch's own partitioner is asked for plans to start from. None: as
        `planner.torch.saved_sets.affordable_budgets` has it.
    """

    budget_bytes: int
    target: str | Target | None = None
    host_bytes: int = 0
    time_limit: float = 30.0
    seed: int = 0
    torch_budgets: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        values: dict[str, Any] = {
            "budget_bytes": _whole("budget_bytes", self.budget_bytes, "bytes"),
            "target": _machine(self.target),
            "host_bytes": _whole("host_bytes", self.host_bytes, "bytes"),
            "time_limit": _number("time_limit", self.time_limit),
            "seed": _whole("seed", self.seed),
            "torch_budgets": None if self.torch_budgets is None else _fractions(self.torch_budgets),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for name in ("budget_bytes", "host_bytes"):
            if values[name] < 0:
                raise UsageError(f"{name} is {values[name]:,}; give 0 or more.")
        if not self.time_limit > 0:
            raise UsageError(f"time_limit is {self.time_limit}; give seconds above 0.")


def _whole(name: str, value: Any, unit: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(
            f"{name} is {value!r}; give a whole number{f' of {unit}' if unit else ''}."
        )
    return int(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"{name} is {value!r}; give a number.")
    return float(value)


def _fractions(budgets: Any) -> tuple[float, ...]:
    if not isinstance(budgets, (tuple, list)):
        raise UsageError(f"torch_budgets is {budgets!r}; give a tuple of numbers from 0 to 1.")
    numbers = tuple(_number("one of torch_budgets", budget) for budget in budgets)
    for budget in numbers:
        if not 0 <= budget <= 1:
            raise UsageError(f"torch_budgets has {budget}; PyTorch's go from 0 to 1.")
    return numbers


def _machine(target: Any) -> Target | None:
    if target is None or isinstance(target, Target):
        return target
    if not isinstance(target, (str, PathLike)):
        raise UsageError(f"target is {target!r}; give a Target, its name, or a .toml file.")
    return read_target(target)
