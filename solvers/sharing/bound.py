"""A lower bound on the peak that holds whichever operators do without a copy.

Follow the bytes. A byte that some operator computes is *needed* from then on until the last
operator has run that reads it, or any copy of it that candidates (`planner.sharing.Candidate`)
make. Under every choice, at any time, the last copy made on the way to a reader still to come lies
in a live storage, and bytes that were computed apart lie apart. So the bytes needed are never more
than the bytes live, order by order, and a smallest peak of needed bytes bounds those of all
choices.

As an ordering problem: candidates write nothing; what others write falls into pieces between the
borders of parts, each with the readers of all that contain it. Where an operand that may be
overwritten consists of such pieces, the operator is taken apart into one that reads and one that
writes: then everything that dies makes room, which is no less than any overwriting gives.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import RaggedArray, StorageKind
from planner.problem import OrderProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.sharing import Candidate

# Pieces times readers: beyond that the bound takes longer to state than it is worth.
_LARGEST = 2_000_000


class _Run(NamedTuple):
    """Bytes ``[begin, end)`` of a storage that somebody computed."""

    storage: int
    begin: int
    end: int


def needed_bytes_problem(
    graph: Graph,
    candidates: Sequence[Candidate],
    *,
    in_place: bool,
    inputs_resident: bool,
    outputs_resident: bool,
) -> OrderProblem | None:
    """State the ordering problem whose smallest peak no choice of sharing operators can beat.

    Parameters
    ----------
    graph : Graph
        The lowering in which everybody copies.
    candidates : sequence of Candidate
        All operators that may share.
    in_place, inputs_resident, outputs_resident : bool
        As for `OrderProblem.from_graph`.

    Returns
    -------
    OrderProblem or None
        None if it would be too large.
    """
    content = _contents(graph, candidates)
    borders: list[set[int]] = [{0, s.size_bytes} for s in graph.storages]
    for runs in content:
        for run in runs:
            borders[run.storage] |= {run.begin, run.end}
    # A candidate's result is made of the bytes of others; it has no pieces of its own.
    derived = _results(graph, candidates)
    pieces = [
        (storage, begin, end)
        for storage, cuts in enumerate(borders)
        if storage not in derived
        for begin, end in pairwise(sorted(cuts))
    ]
    piece_at = {(storage, begin): piece for piece, (storage, begin, _) in enumerate(pieces)}
    containing: list[list[int]] = [[] for _ in pieces]
    for storage, runs in enumerate(content):
        for run in runs:
            begin = run.begin
            while begin < run.end:
                piece = piece_at[run.storage, begin]
                containing[piece].append(storage)
                begin = pieces[piece][2]
    users = graph.storage_users
    if sum(len(users.row(s)) for storages in containing for s in storages) > _LARGEST:
        return None
    pure = {storages[0] for storages in containing if len(storages) == 1} - derived
    whole = {s for s in pure if len(borders[s]) == 2}
    options = [
        sorted({graph.tensors[option.input].storage for option in operator.in_place})
        if in_place
        else []
        for operator in graph.operators
    ]
    # Numbers of the operators; one taken apart has two, the second of which writes.
    reading, writing = [0] * len(options), [0] * len(options)
    count = 0
    for operator, sources in enumerate(options):
        reading[operator] = count
        count += 1 if whole.issuperset(sources) else 2
        writing[operator] = count - 1
    predecessors: list[list[int]] = [[] for _ in range(count)]
    overwrites: list[list[int]] = [[] for _ in range(count)]
    for operator, sources in enumerate(options):
        before = [writing[other] for other in graph.predecessors.row(operator).tolist()]
        predecessors[reading[operator]] = sorted(before)
        if reading[operator] != writing[operator]:
            predecessors[writing[operator]] = [reading[operator]]
        else:
            overwrites[reading[operator]] = [piece_at[s, 0] for s in sources if (s, 0) in piece_at]
    used_by = _uses(graph, reading, writing)
    size, kept = [], []
    user_rows: list[list[int]] = []
    starter_rows: list[list[int]] = []
    for (storage, begin, end), storages in zip(pieces, containing, strict=True):
        row = sorted({user for s in storages for user in used_by[s]})
        given = graph.storages[storage].kind is StorageKind.INPUT
        size.append(end - begin if row and _counts(graph, storage) else 0)
        kept.append(outputs_resident and any(graph.storages[s].is_output for s in storages))
        user_rows.append(row)
        starters = [writing[o] for o in graph.storage_starters.row(storage).tolist()]
        starter_rows.append(row if given and not inputs_resident else sorted(starters))
    return OrderProblem(
        operators=count,
        size=np.array(size, dtype=np.int64),
        predecessors=RaggedArray.from_rows(predecessors),
        starters=RaggedArray.from_rows(starter_rows),
        users=RaggedArray.from_rows(user_rows),
        kept=np.array(kept, dtype=bool),
        in_place=RaggedArray.from_rows(overwrites),
    )


def _counts(graph: Graph, storage: int) -> bool:
    return graph.storages[storage].kind is not StorageKind.CONSTANT


def _results(graph: Graph, candidates: Sequence[Candidate]) -> set[int]:
    tensors = graph.tensors
    return {
        tensors[output].storage
        for candidate in candidates
        for output in graph.operators[candidate.operator].outputs
    }


def _contents(graph: Graph, candidates: Sequence[Candidate]) -> list[list[_Run]]:
    """Where the bytes of each storage were computed, in the order in which they lie."""
    tensors = graph.tensors
    content = [
        [_Run(index, 0, storage.size_bytes)] if storage.size_bytes else []
        for index, storage in enumerate(graph.storages)
    ]
    # Operators stand in topological order, so operands come first.
    for candidate in sorted(candidates, key=lambda c: c.operator):
        if candidate.joins:
            result = tensors[candidate.parts[0].whole].storage
            content[result] = [
                run for part in candidate.parts for run in content[tensors[part.part].storage]
            ]
        else:
            for part in candidate.parts:
                source, result = tensors[part.whole].storage, tensors[part.part].storage
                content[result] = _cut(
                    content[source], part.offset_bytes, tensors[part.part].size_bytes
                )
    return content


def _cut(runs: Sequence[_Run], offset: int, size: int) -> list[_Run]:
    """Bytes ``[offset, offset + size)`` of what the runs make up together."""
    found = []
    at = 0
    for run in runs:
        begin = max(offset, at)
        end = min(offset + size, at + run.end - run.begin)
        if begin < end:
            found.append(_Run(run.storage, run.begin + begin - at, run.begin + end - at))
        at += run.end - run.begin
    return found


def _uses(graph: Graph, reading: Sequence[int], writing: Sequence[int]) -> list[set[int]]:
    """Per storage, the numbers of the operators that read or write it."""
    found: list[set[int]] = [set() for _ in graph.storages]
    for index, operator in enumerate(graph.operators):
        for tensor in operator.inputs:
            found[graph.tensors[tensor].storage].add(reading[index])
        for tensor in operator.outputs:
            found[graph.tensors[tensor].storage].add(writing[index])
    return found
