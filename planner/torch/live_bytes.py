"""The exact peak of live bytes while something runs."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


def measure(step: Callable[[], Any], *, device: torch.device | str | None = None) -> int:
    """Return the most bytes that are live during ``step()``, above those live before.

    On the CPU these are the bytes that PyTorch's allocator handed out, to the byte; on CUDA those
    of ``torch.cuda.max_memory_allocated``, which the allocator rounds up per block.

    ``step`` must not free what was allocated before: clear the gradients first
    (``model.zero_grad(set_to_none=True)``), for on the CPU such frees are not seen.

    Parameters
    ----------
    step : callable
        Called once. Compile before: compilation may allocate too.
    device : torch.device or str, optional
        ``cpu`` unless given.

    Raises
    ------
    planner.errors.UsageError
        If the device is neither a CPU nor a CUDA device.
    """
    if not callable(step):
        raise UsageError(f"cannot call a {type(step).__name__}; give a function that runs a step.")
    place = _device(device)
    gc.collect()
    if place.type == "cuda":
        return _cuda_peak(step, place)
    # Unless told how much to say, the profiler writes lines of its own to stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        result = step()
    del result
    recorded = trace.profiler
    assert recorded is not None and recorded.kineto_results is not None
    events = [e for e in recorded.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    # Several threads allocate, and each has its own stretch of the record.
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        peak = max(peak, live)
    return peak


def _device(device: Any) -> torch.device:
    try:
        place = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError):
        raise UsageError(
            f"no device {device!r}; live bytes are measured on cpu and cuda."
        ) from None
    if place.type not in ("cpu", "cuda"):
        raise UsageError(f"live bytes are measured on cpu and cuda, not on {place.type}.")
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no {place} here.")
    return place


def _cuda_peak(step: Callable[[], Any], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
