"""CP-SAT's model of one question, whether some schedule takes at most so many ticks.

Closed windows converge much better than minimising. Passes of one kind and stage run in the order
of the microbatches, and D is B followed by W. Nothing is lost by that:

- Call the n-th F of every stage, by start, that of microbatch n, and so the n-th B and W. Nothing
  moves, and passes of a kind and stage take the same ticks and bytes, so devices and memory see no
  difference. Where one kind waits for another, at another stage or the same, the first n of it
  start after n different ones of the other have ended, each with its hop; so the n-th starts after
  the n-th of the other.
- B sends its gradient and gives back its bytes no later than D does, and W gives back the rest when
  D does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.pipelining.problem import PipelineObjective
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from solvers.pipeline.bounds.paths import path
from solvers.pipeline.bounds.room import room

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem

FORWARD, BACKWARD, WEIGHT = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT


class TargetModel:
    """Starts of all passes of a schedule that takes at most ``target`` ticks."""

    def __init__(self, problem: PipelineProblem, target: int) -> None:
        from ortools.sat.python import cp_model

        self.problem = problem
        self.target = target
        self.model = cp_model.CpModel()
        self.starts: dict[tuple[PassKind, int, int], Any] = {}
        self._add_starts()
        self._add_dependencies()
        for device in range(problem.devices):
            self._add_device(device)
            self._add_memory(device)
        self.model.add_decision_strategy(
            list(self.starts.values()), cp_model.CHOOSE_LOWEST_MIN, cp_model.SELECT_MIN_VALUE
        )

    def ticks(self, kind: PassKind, stage: int) -> int:
        """Return the ticks of a pass."""
        costs = self.problem.stages[stage]
        if kind is FORWARD:
            return costs.forward
        return costs.backward if kind is BACKWARD else costs.weight

    def _add_starts(self) -> None:
        problem, ways, target = self.problem, path(self.problem), self.target
        whole = problem.objective is PipelineObjective.MAKESPAN
        m = problem.microbatches
        for s, costs in enumerate(problem.stages):
            to_end = target - ways.drain[s] if whole else target - self._home(s)
            own = problem.stages_of[problem.device_of[s]]
            latest_first = target - self._home(own[0]) if not whole else 0
            for j in range(m):
                after = m - 1 - j
                ended = ways.backward[s] + costs.backward
                least = {
                    FORWARD: ways.forward[s] + j * costs.forward,
                    BACKWARD: ways.backward[s] + j * costs.backward,
                    WEIGHT: ended + j * costs.weight,
                }
                most = {
                    FORWARD: to_end - (ended - ways.forward[s]) - after * costs.forward,
                    BACKWARD: to_end - (1 + after) * costs.backward,
                    WEIGHT: target - (1 + after) * costs.weight,
                }
                if not whole:
                    # Other devices may end as much later as they start.
                    most[WEIGHT] += latest_first
                for kind in (FORWARD, BACKWARD, WEIGHT):
                    if most[kind] < least[kind]:
                        self.model.add_bool_or([])
                    latest = max(least[kind], most[kind])
                    self.starts[kind, s, j] = self.model.new_int_var(least[kind], latest, "")
        self.model.add(self.starts[FORWARD, 0, 0] == 0)

    def _home(self, stage: int) -> int:
        """Return the least ticks from the end of a stage's B to the end of the first device."""
        ways, problem = path(self.problem), self.problem
        ended = ways.backward[stage] + problem.stages[stage].backward
        return max(
            ways.backward[s] + problem.stages[s].backward + problem.stages[s].weight - ended
            for s in problem.stages_of[problem.device_of[0]]
            if s <= stage
        )

    def _add_dependencies(self) -> None:
        problem, model, starts = self.problem, self.model, self.starts
        last = len(problem.stages) - 1
        for (kind, s, j), start in starts.items():
            ended = start + self.ticks(kind, s)
            if j + 1 < problem.microbatches:
                model.add(starts[kind, s, j + 1] >= ended)
            if kind is FORWARD:
                if s < last:
                    model.add(starts[FORWARD, s + 1, j] >= ended + problem.hops[s])
                else:
                    model.add(starts[BACKWARD, s, j] >= ended)
            elif kind is BACKWARD:
                model.add(starts[WEIGHT, s, j] >= ended)
                if s:
                    model.add(starts[BACKWARD, s - 1, j] >= ended + problem.hops[s - 1])

    def _add_device(self, device: int) -> None:
        problem, model = self.problem, self.model
        own, m = problem.stages_of[device], problem.microbatches
        model.add_no_overlap(
            model.new_fixed_size_interval_var(self.starts[kind, s, j], self.ticks(kind, s), "")
            for kind in (FORWARD, BACKWARD, WEIGHT)
            for s in own
            for j in range(m)
        )
        first = self.starts[FORWARD, own[0], 0]
        if problem.objective is PipelineObjective.MAKESPAN:
            first = 0
        for s in own:
            ended = self.starts[WEIGHT, s, m - 1] + problem.stages[s].weight
            model.add(ended <= first + self.target)

    def _add_memory(self, device: int) -> None:
        problem, model, starts = self.problem, self.model, self.starts
        free = room(problem, device)
        if free is None:
            return
        intervals, sizes = [], []
        for s in problem.stages_of[device]:
            costs = problem.stages[s]
            parts = (
                (BACKWARD, costs.activation_bytes - costs.kept_bytes),
                (WEIGHT, costs.kept_bytes),
            )
            for j in range(problem.microbatches):
                begin = starts[FORWARD, s, j]
                for kind, size in parts:
                    if size:
                        end = starts[kind, s, j] + self.ticks(kind, s)
                        length = model.new_int_var(0, 3 * self.target, "")
                        intervals.append(model.new_interval_var(begin, length, end, ""))
                        sizes.append(size)
        model.add_cumulative(intervals, sizes, free)
        for s in problem.stages_of[device]:
            self._add_counts(s, free)

    def _add_counts(self, stage: int, free: int) -> None:
        """Say what memory implies of a single stage: some F wait for a certain B or W."""
        costs, starts = self.problem.stages[stage], self.starts
        size, kept = costs.activation_bytes, costs.kept_bytes
        waits = []
        if size:
            waits.append((BACKWARD, free // size))
        if kept:
            waits.append((WEIGHT, 1 + (free - size) // kept))
        for kind, apart in waits:
            for j in range(max(1, apart), self.problem.microbatches):
                ended = starts[kind, stage, j - apart] + self.ticks(kind, stage)
                self.model.add(starts[FORWARD, stage, j] >= ended)

    def schedule(self, solver: Any) -> PipelineSchedule:
        """Return the orders of what the solver found."""
        last = len(self.problem.stages)
        rows: list[list[tuple[tuple[int, ...], Pass]]] = [[] for _ in range(self.problem.devices)]
        for (kind, s, j), start in self.starts.items():
            # Passes that take no time go first, each after those that it may wait for.
            depth = {FORWARD: s, BACKWARD: 2 * last - s, WEIGHT: 2 * last + 1}[kind]
            key = (solver.value(start), self.ticks(kind, s) > 0, j, depth)
            rows[self.problem.device_of[s]].append((key, Pass(kind, s, j)))
        return PipelineSchedule(
            "cp", self.problem.device_of, tuple(tuple(p for _, p in sorted(row)) for row in rows)
        )
