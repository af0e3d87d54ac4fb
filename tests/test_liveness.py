from __future__ import annotations

from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    Storage,
    StorageKind,
    Tensor,
)
from planner.liveness import live_bytes, storage_lifetimes
from planner.plans import InPlace


def skip_chain() -> Graph:
    """x -> a -> b -> c(a, b), two inputs of which one is used last only."""
    sizes = {"x": 8, "late": 2, "a": 16, "b": 16, "c": 4}
    kinds = {"x": StorageKind.INPUT, "late": StorageKind.INPUT}
    storages = tuple(
        Storage(name, size, kinds.get(name, StorageKind.ACTIVATION), name == "c")
        for name, size in sizes.items()
    )
    tensors = tuple(
        Tensor(name, (size,), "uint8", i, 0, size) for i, (name, size) in enumerate(sizes.items())
    )
    return Graph(
        ModelReference("skip"),
        (
            Operator("a", "Conv", (0,), (2,)),
            Operator("b", "Relu", (2,), (3,), (InPlaceOption(3, 2),)),
            Operator("c", "Sum", (1, 2, 3), (4,)),
        ),
        tensors,
        storages,
    )


def test_resident_inputs_live_from_the_start_and_outputs_to_the_end() -> None:
    lifetimes = storage_lifetimes(skip_chain(), [0, 1, 2])
    assert lifetimes.start.tolist() == [0, 0, 0, 1, 2]
    assert lifetimes.end.tolist() == [1, 3, 3, 3, 3]


def test_fetched_inputs_live_from_their_first_use() -> None:
    lifetimes = storage_lifetimes(skip_chain(), [0, 1, 2], inputs_resident=False)
    assert lifetimes.start.tolist() == [0, 2, 0, 1, 2]


def test_live_bytes_count_operands_and_what_waits() -> None:
    graph = skip_chain()
    lifetimes = storage_lifetimes(graph, [0, 1, 2])
    assert live_bytes(graph, [0, 1, 2], lifetimes).tolist() == [26, 34, 38]


def test_an_in_place_pair_counts_once_at_its_step() -> None:
    graph = skip_chain()
    lifetimes = storage_lifetimes(graph, [0, 1, 2])
    live = live_bytes(graph, [0, 1, 2], lifetimes, [InPlace(1, 3, 2)])
    assert live.tolist() == [26, 18, 38]
