"""Operators that may do without a copy: what a frontend knows, before anybody decides on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from planner.graph import Graph


class Part(NamedTuple):
    """Tensor ``part`` has the same bytes as ``whole`` from ``offset_bytes`` on (tensor indices)."""

    part: int
    whole: int
    offset_bytes: int


class Candidate(NamedTuple):
    """An operator that shares storage with its operands, if it is asked to, instead of copying.

    Attributes
    ----------
    name : str
        Its first result, by which it is asked.
    operator : int
        Index into ``Graph.operators``, the same in all lowerings of a model.
    joins : bool
        Whether its operands are parts of the result; else its results are parts of the operand.
    copied_bytes : int
        Size of its results: what it writes if it copies.
    parts : tuple of Part
    """

    name: str
    operator: int
    joins: bool
    copied_bytes: int
    parts: tuple[Part, ...]


class Lowerings(Protocol):
    """A model lowered up to the choice of the operators that do without a copy."""

    @property
    def candidates(self) -> Sequence[Candidate]:
        """Operators that share in some lowering; not every set of them can share together."""
        ...

    def graph(self, names: Collection[str]) -> Graph:
        """Return the lowering in which these share; ``model.zero_copy`` says which of them do."""
        ...


def shared_candidates(graph: Graph, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that do without a copy in a lowering that was asked by name."""
    names = graph.model.zero_copy
    return [] if isinstance(names, bool) else [c for c in candidates if c.name in {*names}]
