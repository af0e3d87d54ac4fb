"""Operators that bring a saved tensor to the host and back."""

from __future__ import annotations

import numpy as np
import torch

# On CUDA both copies are queued on the current stream, so what they read and write is ordered with
# the computation without further ado. On the CPU the host's copy is memory of NumPy: PyTorch's
# allocator neither provides nor counts it.


@torch.library.custom_op("planner::to_host", mutates_args=())
def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor to host memory, which is pinned where the tensor is on CUDA."""
    if tensor.device.type == "cpu":
        span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        size = span * tensor.element_size() if tensor.numel() else 0
        flat = torch.from_numpy(np.empty(size, dtype=np.uint8)).view(tensor.dtype)
        host = flat.as_strided(tensor.shape, tensor.stride())
    else:
        host = torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu", pin_memory=True
        )
    return host.copy_(tensor, non_blocking=True)


@to_host.register_fake
def _(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


@torch.library.custom_op("planner::to_device", mutates_args=())
def to_device(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor back from host memory."""
    tensor = torch.empty_strided(host.shape, host.stride(), dtype=host.dtype, device=device)
    return tensor.copy_(host, non_blocking=True)


@to_device.register_fake
def _(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    return torch.empty_strided(host.shape, host.stride(), dtype=host.dtype, device=device)
