"""Models and inputs without data: fake tensors, and tensors on the ``meta`` device."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _pytree as pytree


def without_data(
    model: Any, positional: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any], AbstractContextManager[Any]]:
    """Return model and arguments to trace with, and the mode to trace in.

    Where all tensors hold data, they are returned as they are. Otherwise a fake model and fake
    arguments are: tensors on the ``meta`` device become tensors on the device of the others, the
    CPU if there are none, for operators differ between devices.
    """
    # A method of a module is copied with its module.
    owners = (model, getattr(model, "__self__", None))
    module = next((owner for owner in owners if isinstance(owner, torch.nn.Module)), None)
    states = [] if module is None else [*module.parameters(), *module.buffers()]
    arguments = [t for t in pytree.tree_leaves((positional, named)) if isinstance(t, torch.Tensor)]
    tensors = [*states, *arguments]
    if not any(t.is_meta or isinstance(t, FakeTensor) for t in tensors):
        return model, positional, named, nullcontext()
    device = next((t.device for t in tensors if not t.is_meta), torch.device("cpu"))
    mode = next((t.fake_mode for t in tensors if isinstance(t, FakeTensor)), None)
    mode = mode or FakeTensorMode(allow_non_fake_inputs=True)
    memo: dict[int, Any] = {}
    for tensor in tensors:
        memo.setdefault(id(tensor), _fake(tensor, device, mode))
    if module is not None:
        model = copy.deepcopy(model, dict(memo))
    positional, named = pytree.tree_map(lambda x: memo.get(id(x), x), (positional, named))
    return model, positional, named, mode


def _fake(tensor: torch.Tensor, device: torch.device, mode: FakeTensorMode) -> torch.Tensor:
    if isinstance(tensor, FakeTensor) and not tensor.is_meta:
        return tensor
    place = device if tensor.is_meta else tensor.device
    with mode:
        empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=place)
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty.requires_grad_(tensor.requires_grad)
