"""What autograd keeps for the backward pass: counted, and moved to a host store and back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet, WeakValueDictionary

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = tuple[int, int]
"""Stage and microbatch."""


class SavedActivations:
    """The storages that autograd has saved on this rank, by stage and microbatch.

    Attributes
    ----------
    live_bytes, peak_bytes : int
        Saved now, and at the most since `restart`, without what is on the host.
    moved_bytes : int
        Moved to the host since `restart`.
    """

    def __init__(self) -> None:
        self.live_bytes = self.peak_bytes = self.moved_bytes = 0
        self._saved: dict[Key, WeakSet[_Storage]] = {}

    def restart(self) -> None:
        """Count peak and moves anew."""
        self.peak_bytes, self.moved_bytes = self.live_bytes, 0

    @contextmanager
    def saving(self, key: Key, kept_anyway: set[int]) -> Iterator[None]:
        """Take what autograd saves; not weights and inputs, whose addresses are ``kept_anyway``."""
        known: WeakValueDictionary[int, _Storage] = WeakValueDictionary()
        mine = self._saved[key] = WeakSet()

        def pack(tensor: torch.Tensor) -> torch.Tensor | _View:
            address = tensor.untyped_storage().data_ptr()
            if address in kept_anyway:
                return tensor
            storage = known.get(address)
            if storage is None:
                storage = known[address] = _Storage(self, key, tensor.untyped_storage())
                mine.add(storage)
            place = int(tensor.storage_offset()), tuple(tensor.size()), tensor.stride()
            return _View(storage, tensor.dtype, *place)

        with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
            yield

    def offload(self, key: Key) -> None:
        """Move what is saved for a stage and microbatch to the host."""
        for storage in self._saved[key]:
            if storage.device is not None:
                storage.host, storage.device = storage.device.clone(), None
                self.moved_bytes += storage.size
                self.count(-storage.size)

    def reload(self, key: Key) -> None:
        """Move it back."""
        for storage in self._saved[key]:
            if storage.host is not None:
                storage.device, storage.host = storage.host.clone(), None
                self.count(storage.size)

    def bytes_of(self, key: Key) -> int:
        """Return the bytes saved for a stage and microbatch, wherever they are."""
        return sum(storage.size for storage in self._saved[key])

    def count(self, change: int) -> None:
        """Count bytes that came, or went."""
        self.live_bytes += change
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


class _Storage:
    """A storage on the device or on the host; it counts as long as autograd needs it."""

    def __init__(self, owner: SavedActivations, key: Key, storage: torch.UntypedStorage) -> None:
        self.owner = owner
        self.key = key
        self.size = storage.nbytes()
        self.device: torch.UntypedStorage | None = storage
        self.host: torch.UntypedStorage | None = None
        owner.count(self.size)

    def __del__(self) -> None:
        if self.device is not None:
            self.owner.count(-self.size)


class _View(NamedTuple):
    storage: _Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _unpack(packed: torch.Tensor | _View) -> torch.Tensor:
    if isinstance(packed, torch.Tensor):
        return packed
    storage = packed.storage.device
    if storage is None:
        stage, microbatch = packed.storage.key
        raise RuntimeError(f"stage {stage}, microbatch {microbatch}: needed while on the host")
    empty = torch.empty(0, dtype=packed.dtype)
    return empty.set_(storage, packed.offset, packed.shape, packed.stride)
