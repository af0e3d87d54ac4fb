"""Training steps of PyTorch models, planned to a peak in bytes. Needs the extra ``torch``.

The names below are loaded on first use: importing this package imports no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.torch.aot_backend import backend
    from planner.torch.joint_partitioner import partitioner
    from planner.torch.live_bytes import measure
    from planner.torch.peak_estimate import Estimate, estimate
    from planner.torch.planned_step import PlannedStep
    from planner.torch.planning import plan

_HOME = {
    "Estimate": "planner.torch.peak_estimate",
    "PlannedStep": "planner.torch.planned_step",
    "backend": "planner.torch.aot_backend",
    "estimate": "planner.torch.peak_estimate",
    "measure": "planner.torch.live_bytes",
    "partitioner": "planner.torch.joint_partitioner",
    "plan": "planner.torch.planning",
}

__all__ = [
    "Estimate",
    "PlannedStep",
    "backend",
    "estimate",
    "measure",
    "partitioner",
    "plan",
]


def require_torch(user: str) -> None:
    """Refuse to go on without PyTorch.

    Raises
    ------
    planner.errors.UsageError
        If it is not installed; ``user`` is what needs it.
    """
    if find_spec("torch") is None:
        from planner.errors import UsageError

        raise UsageError(
            f"{user} needs PyTorch. Install it with: pip install 'tensor-planner[torch]'"
        )


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'planner.torch' has no attribute {name!r}")
    require_torch(f"planner.torch.{name}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
