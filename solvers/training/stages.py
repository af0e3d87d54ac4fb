"""The staged grid of exact formulations: between two first executions, recomputation in order.

Stages as in Checkmate (arXiv 1910.02653): in each one an operator runs for the first time, the
frontier, and before it any earlier ones may run again, once each and in ascending order. Here the
forward half has a last stage without a frontier, for what is computed only to be saved; the
backward half has one if gradients are results of forward operators. Forward operators that need
not run in the forward half are never a frontier.

Schedules outside the grid exist: they run operators for the first time in another order, or one of
them twice in a stage. A proof in the grid is none for all schedules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem


class Stage(NamedTuple):
    """What may run from one first execution to the next.

    Attributes
    ----------
    operators : tuple of int
        In the order in which they may run, the frontier last.
    frontier : int
        The operator that has to run in this stage, -1 if there is none.
    base_bytes : int
        Live throughout whatever is chosen: backward storages, tangents, the caller's outputs.
    frontier_bytes : int
        The same while the frontier runs.
    """

    operators: tuple[int, ...]
    frontier: int
    base_bytes: int
    frontier_bytes: int


class StagedGrid(NamedTuple):
    """All stages, those of the forward half first.

    Attributes
    ----------
    stages : tuple of Stage
    crossing : int
        The first stage of the backward half.
    crossing_bytes : int
        Tangents and forward outputs between the halves.
    sizes : dict of int to int
        Bytes of forward storages: those of which something is to be decided.
    reads, writes : tuple of tuple of int
        Forward storages of each operator.
    outputs : frozenset of int
        Forward outputs.
    gradients : frozenset of int
        Forward storages that have to be live at the end.
    producer : dict of int to int
        Operator of each forward storage.
    paid_ps : int
        Of all executions in stages in which operators are no frontier, those that are no extra
        time: the first ones of operators that never are.
    """

    stages: tuple[Stage, ...]
    crossing: int
    crossing_bytes: int
    sizes: dict[int, int]
    reads: tuple[tuple[int, ...], ...]
    writes: tuple[tuple[int, ...], ...]
    outputs: frozenset[int]
    gradients: frozenset[int]
    producer: dict[int, int]
    paid_ps: int

    def is_copied(self, storage: int, stage: int) -> bool:
        """Whether a forward output may have been computed anew up to a backward stage."""
        producer = self.producer[storage]
        return any(producer in self.stages[t].operators for t in range(self.crossing, stage + 1))


def staged_grid(problem: TrainingProblem, *, forward_again: bool = True) -> StagedGrid:
    """Lay out the stages.

    Parameters
    ----------
    problem : TrainingProblem
    forward_again : bool
        Whether the forward half may run anything twice.
    """
    forward = problem.forward_operators.tolist()
    outputs = frozenset(problem.forward_outputs.tolist())
    size = problem.size_bytes.tolist()
    written = [problem.writes.row(o).tolist() for o in range(len(problem.writes))]
    read = [problem.reads.row(o).tolist() for o in range(len(problem.reads))]
    producer = {s: o for o in forward for s in written[o]}
    in_forward = problem.in_forward.tolist()
    recomputable = problem.recomputable.tolist()
    useful = _useful(problem, read, producer)
    needed = [o for o in forward if in_forward[o] or any(s in useful[0] for s in written[o])]
    again = [o for o in needed if recomputable[o]]
    stages: list[Stage] = []
    early = [o for o in again if forward_again or not in_forward[o]]
    for frontier in (o for o in forward if in_forward[o]):
        stages.append(Stage((*(o for o in early if o < frontier), frontier), frontier, 0, 0))
    stages.append(Stage(tuple(early), -1, 0, 0))
    crossing = len(stages)
    output_bytes = sum(size[s] for s in outputs)
    for turn, (frontier, base) in enumerate(_backward_bytes(problem, read)):
        late = tuple(
            o for o in again if any(s in useful[turn] and s not in outputs for s in written[o])
        )
        base += output_bytes
        if frontier >= 0:
            most = base + sum(size[s] for s in written[frontier])
            stages.append(Stage((*late, frontier), frontier, base, most))
        elif late:
            stages.append(Stage(late, -1, base, base))
    tangent_bytes = sum(size[s] for s in problem.tangents.tolist())
    return StagedGrid(
        stages=tuple(stages),
        crossing=crossing,
        crossing_bytes=output_bytes + tangent_bytes,
        sizes={s: size[s] for s in producer},
        reads=tuple(tuple(s for s in row if s in producer) for row in read),
        writes=tuple(tuple(s for s in row if s in producer) for row in written),
        outputs=outputs,
        gradients=frozenset(s for s in problem.gradients.tolist() if s in producer),
        producer=producer,
        paid_ps=int(sum(problem.duration_ps[o] for o in needed if not in_forward[o])),
    )


def least_base(problem: TrainingProblem, grid: StagedGrid) -> int:
    """Return bytes that no schedule can do without: of one operator, or of the crossing."""
    least = grid.crossing_bytes
    for index, stage in enumerate(grid.stages):
        if stage.frontier < 0:
            continue
        operands = {*grid.reads[stage.frontier], *grid.writes[stage.frontier]}
        if index >= grid.crossing:
            operands -= grid.outputs
        held = stage.frontier_bytes + int(problem.workspace_bytes[stage.frontier])
        least = max(least, held + sum(grid.sizes[s] for s in operands))
    return least


def stage_sequences(
    grid: StagedGrid, computed: set[tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Return the forward and the backward sequence, from what runs in which stage."""
    halves: tuple[list[int], list[int]] = [], []
    for t, stage in enumerate(grid.stages):
        halves[t >= grid.crossing].extend(
            o for o in stage.operators if o == stage.frontier or (t, o) in computed
        )
    return halves


def _useful(
    problem: TrainingProblem, read: list[list[int]], producer: dict[int, int]
) -> list[set[int]]:
    """Return the forward storages that serve backward operators from each one's turn on."""
    found: list[set[int]] = []
    useful: set[int] = set()
    for wanted in (
        problem.gradients.tolist(),
        *(read[o] for o in reversed(problem.backward_operators.tolist())),
    ):
        stack = [s for s in wanted if s in producer]
        while stack:
            storage = stack.pop()
            if storage not in useful:
                useful.add(storage)
                stack.extend(read[producer[storage]])
        found.append(set(useful))
    return found[::-1]


def _backward_bytes(problem: TrainingProblem, read: list[list[int]]) -> list[tuple[int, int]]:
    """Return backward operators, then -1, each with bytes of backward storages live before it."""
    operators = problem.backward_operators.tolist()
    turn = {o: i for i, o in enumerate(operators)}
    born = dict.fromkeys(problem.tangents.tolist(), -1)
    for operator in operators:
        born.update(dict.fromkeys(problem.writes.row(operator).tolist(), turn[operator]))
    last = dict(born)
    for operator in operators:
        last.update({s: turn[operator] for s in read[operator] if s in born})
    last.update({s: len(operators) for s in problem.gradients.tolist() if s in born})
    change = [0] * (len(operators) + 2)
    for storage, first in born.items():
        change[first + 1] += int(problem.size_bytes[storage])
        change[last[storage] + 1] -= int(problem.size_bytes[storage])
    live, bytes_before = 0, []
    for operator, step in zip((*operators, -1), change, strict=False):
        live += step
        bytes_before.append((operator, live))
    return bytes_before


def grid_entries(grid: StagedGrid) -> int:
    """Return how many operators and operands all stages have together."""
    return sum(1 + len(grid.reads[o]) for stage in grid.stages for o in stage.operators)
