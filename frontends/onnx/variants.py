"""One model, lowered once for each choice of the operators that do without a copy."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from frontends.onnx.frontend import lower_source, open_source, require_results
from frontends.onnx.parts import is_join
from frontends.onnx.storages import first_result
from planner.sharing import Candidate, Part

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping

    from onnx import ModelProto

    from frontends.onnx.frontend import Lowering
    from planner.graph import Graph


# To find out who may share at all, where many want the same operand.
_MOST_LOWERINGS = 64


class Variants:
    """A model read and resolved; what is left is to decide who shares storage.

    Parameters
    ----------
    copying : Lowering
        In which everybody copies.
    alignment_bytes : int
        As for `load_onnx`.
    """

    def __init__(self, copying: Lowering, alignment_bytes: int) -> None:
        self._copying = copying
        self._alignment_bytes = alignment_bytes

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Operators that share if all are asked to, or all that did not share then, and so on.

        The last of these lowerings shares nothing, so what is left then does not share alone.
        """
        return self._candidates

    @cached_property
    def _candidates(self) -> tuple[Candidate, ...]:
        lowering = self._copying.values
        layouts = lowering.layouts(self._alignment_bytes)
        names = {position: first_result(lowering.steps[position].node) for position in layouts}
        shared: set[int] = set()
        for _ in range(_MOST_LOWERINGS):
            left = [name for position, name in names.items() if position not in shared]
            more = lowering.shares(left, self._alignment_bytes)
            shared |= more
            if not more:
                break
        return tuple(
            Candidate(
                names[position],
                position,
                is_join(lowering.steps[position].node),
                sum(
                    lowering.values[result].size_bytes
                    for result in lowering.steps[position].outputs
                    if result >= 0
                ),
                tuple(Part(part, whole, offset) for part, offset in parts),
            )
            for position, (whole, parts) in layouts.items()
            if position in shared
        )

    def graph(self, names: Collection[str]) -> Graph:
        """Return the lowering in which these operators share, as far as they can together.

        Raises
        ------
        UsageError
            If a name is no operator's first result.
        """
        require_results(names, self._copying.block)
        copying = self._copying.graph
        if not names:
            return copying
        lowered = self._copying.values.lowered(names, self._alignment_bytes)
        return lowered.graph(replace(copying.model, zero_copy=lowered.without_copy), copying.notes)


def load_variants(
    source: str | os.PathLike[str] | ModelProto,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, str] | None = None,
    alignment_bytes: int = 1,
) -> Variants:
    """Read a model once, to lower it as often as need be.

    Parameters
    ----------
    source, dims, shapes, alignment_bytes
        As for `load_onnx`.

    Raises
    ------
    PlannerError
        As `load_onnx`.
    """
    model, name, digest, folder = open_source(source)
    copying = lower_source(
        model, name, digest, folder, dims, shapes, False, alignment_bytes, on_warning=None
    )
    return Variants(copying, alignment_bytes)
