from __future__ import annotations

import pytest

from planner.graph import (
    Graph,
    InPlaceOption,
    ModelReference,
    Operator,
    RaggedArray,
    Storage,
    StorageKind,
    Tensor,
)

MODEL = ModelReference("test")


def tensor(name: str, storage: int, size: int, offset: int = 0) -> Tensor:
    return Tensor(name, (size,), "uint8", storage, offset, size)


def diamond() -> Graph:
    """x -> a -> (b, c) -> d, where c is a view of a."""
    return Graph(
        MODEL,
        operators=(
            Operator("a", "Conv", (0, 5), (1,)),
            Operator("b", "Relu", (1,), (2,), (InPlaceOption(2, 1),)),
            Operator("c", "Reshape", (1,), (3,)),
            Operator("d", "Add", (2, 3), (4,)),
        ),
        tensors=(
            tensor("x", 0, 8),
            tensor("a", 1, 16),
            tensor("b", 2, 16),
            tensor("c", 1, 16),
            tensor("d", 3, 16),
            tensor("w", 4, 100),
        ),
        storages=(
            Storage("x", 8, StorageKind.INPUT),
            Storage("a", 16),
            Storage("b", 16),
            Storage("d", 16, is_output=True),
            Storage("w", 100, StorageKind.CONSTANT),
        ),
    )


def test_predecessors_are_producers_of_inputs() -> None:
    graph = diamond()
    assert [graph.predecessors.row(i).tolist() for i in range(4)] == [[], [0], [0], [1, 2]]


def test_constants_have_no_users_and_count_apart() -> None:
    graph = diamond()
    assert graph.storage_users.row(4).tolist() == []
    assert graph.constant_bytes == 100
    assert graph.activation_bytes == 8 + 16 + 16 + 16


def test_a_view_uses_but_does_not_start_its_storage() -> None:
    graph = diamond()
    assert graph.storage_users.row(1).tolist() == [0, 1, 2, 3]
    assert graph.storage_starters.row(1).tolist() == [0]
    assert [graph.is_view(i) for i in range(4)] == [False, False, True, False]


def test_networkx_graph_has_the_same_edges() -> None:
    graph = diamond().to_networkx()
    assert sorted(graph.edges) == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert graph.edges[0, 1]["tensors"] == [1]


def test_ragged_array_keeps_rows() -> None:
    rows = RaggedArray.from_rows([[3, 1], [], [2]])
    assert [rows.row(i).tolist() for i in range(len(rows))] == [[3, 1], [], [2]]


def test_reading_before_writing_is_refused() -> None:
    with pytest.raises(ValueError, match="before it is written"):
        Graph(
            MODEL,
            (Operator("a", "Relu", (0,), (1,)), Operator("b", "Relu", (1,), (0,))),
            (tensor("p", 0, 1), tensor("q", 1, 1)),
            (Storage("p", 1), Storage("q", 1)),
        )


def test_writing_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="again"):
        Graph(
            MODEL,
            (Operator("a", "Relu", (0,), (1,)), Operator("b", "Relu", (0,), (1,))),
            (tensor("p", 0, 1), tensor("q", 1, 1)),
            (Storage("p", 1, StorageKind.INPUT), Storage("q", 1)),
        )


def test_a_tensor_may_not_leave_its_storage() -> None:
    with pytest.raises(ValueError, match="ends at byte 9"):
        Graph(MODEL, (), (tensor("p", 0, 8, offset=1),), (Storage("p", 8),))


@pytest.mark.parametrize(
    ("storages", "why"),
    [
        ((Storage("p", 4, StorageKind.INPUT), Storage("q", 4)), "graph input"),
        ((Storage("p", 4), Storage("q", 5)), "equal size"),
        ((Storage("p", 4, is_output=True), Storage("q", 4)), "graph output"),
    ],
)
def test_forbidden_overwrites_are_refused(storages: tuple[Storage, ...], why: str) -> None:
    tensors = tuple(tensor(s.name, i, s.size_bytes) for i, s in enumerate(storages))
    first = () if storages[0].kind is StorageKind.INPUT else (Operator("make", "Conv", (), (0,)),)
    with pytest.raises(ValueError, match=why):
        Graph(
            MODEL,
            (*first, Operator("over", "Relu", (0,), (1,), (InPlaceOption(1, 0),))),
            tensors,
            storages,
        )
