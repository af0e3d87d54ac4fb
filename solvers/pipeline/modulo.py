"""Building blocks at true costs: one microbatch's starts that repeat with a period.

Modulo scheduling of the steady state by CP-SAT, for any placement. That no block exists at a period
is a proof about schedules that repeat one microbatch's block, not about all schedules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.problem import Outcome, Status
from solvers.cp_sat import new_solver, solve_until
from solvers.pipeline.bounds.paths import path
from solvers.pipeline.bounds.room import room

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from solvers.protocol import Deadline

FORWARD, BACKWARD, WEIGHT = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT


class ModuloBlock(NamedTuple):
    """Starts of the first microbatch; those of the next follow ``period`` ticks later each.

    Attributes
    ----------
    period : int
    forward, backward, weight : tuple of int
        Per stage, the tick at which the pass starts.
    """

    period: int
    forward: tuple[int, ...]
    backward: tuple[int, ...]
    weight: tuple[int, ...]


def modulo_block(
    problem: PipelineProblem, period: int, *, deadline: Deadline, seed: int = 0
) -> Outcome[ModuloBlock]:
    """Return a block with the least latency found, that fits the limits however often it repeats.

    Parameters
    ----------
    problem : PipelineProblem
        Offloading, a vocabulary layer and sharded weights are not looked at.
    period : int
        Ticks.
    deadline : Deadline
    seed : int

    Returns
    -------
    Outcome
        ``infeasible`` is a proof that no block repeats with this period; ``optimal`` one that none
        ends its last B earlier.

    Raises
    ------
    ImportError
        If ortools cannot be loaded.
    """
    from ortools.sat.python import cp_model

    load = max(problem.busy_ticks(d) for d in range(problem.devices)) // problem.microbatches
    if period < load:
        return Outcome(Status.INFEASIBLE, None)
    model = _BlockModel(problem, period)
    solver = new_solver(seed)
    status = solve_until(solver, model.model, deadline).status
    if status == cp_model.INFEASIBLE:
        return Outcome(Status.INFEASIBLE, None)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Outcome(Status.UNKNOWN, None)
    block = ModuloBlock(
        period,
        *(
            tuple(solver.value(model.starts[kind, s]) for s in range(len(problem.stages)))
            for kind in (FORWARD, BACKWARD, WEIGHT)
        ),
    )
    proven = status == cp_model.OPTIMAL
    return Outcome(Status.OPTIMAL if proven else Status.FEASIBLE, block)


def block_schedule(problem: PipelineProblem, block: ModuloBlock) -> PipelineSchedule:
    """Return the orders of a block that is repeated for every microbatch.

    Starting passes as early as these orders allow squeezes warm-up and drain.
    """
    last = len(problem.stages)
    rows: list[list[tuple[tuple[int, ...], Pass]]] = [[] for _ in range(problem.devices)]
    for s, (costs, device) in enumerate(zip(problem.stages, problem.device_of, strict=True)):
        passes = (
            (FORWARD, block.forward[s], costs.forward, s),
            (BACKWARD, block.backward[s], costs.backward, 2 * last - s),
            (WEIGHT, block.weight[s], costs.weight, 2 * last + 1),
        )
        for kind, start, ticks, depth in passes:
            for j in range(problem.microbatches):
                key = (start + j * block.period, ticks > 0, j, depth)
                rows[device].append((key, Pass(kind, s, j)))
    return PipelineSchedule(
        "modulo", problem.device_of, tuple(tuple(p for _, p in sorted(row)) for row in rows)
    )


class _BlockModel:
    """Per device, F of its first stage is the anchor; others start turns and a residue after it.

    The anchor fills the period from 0 on, so no residue wraps around. In a block with a gap of a
    period or more between one pass of the path and the next, all that follows can move a period
    earlier, which holds memory no longer; that bounds the starts.
    """

    def __init__(self, problem: PipelineProblem, period: int) -> None:
        from ortools.sat.python import cp_model

        self.problem = problem
        self.period = period
        self.model = cp_model.CpModel()
        self.starts: dict[tuple[PassKind, int], Any] = {}
        self.turn: dict[tuple[PassKind, int], Any] = {}
        self.residue: dict[tuple[PassKind, int], Any] = {}
        self.after: dict[tuple[tuple[PassKind, int], tuple[PassKind, int]], Any] = {}
        self._add_starts()
        for device in range(problem.devices):
            self._add_device(device)
        self.model.minimize(self.starts[BACKWARD, 0])

    def ticks(self, item: tuple[PassKind, int]) -> int:
        costs = self.problem.stages[item[1]]
        if item[0] is FORWARD:
            return costs.forward
        return costs.backward if item[0] is BACKWARD else costs.weight

    def _add_starts(self) -> None:
        problem, ways, model = self.problem, path(self.problem), self.model
        last = len(problem.stages) - 1
        for s, costs in enumerate(problem.stages):
            least = {
                (FORWARD, s): (ways.forward[s], s),
                (BACKWARD, s): (ways.backward[s], 2 * last + 1 - s),
                (WEIGHT, s): (ways.backward[s] + costs.backward, 2 * last + 2 - s),
            }
            for item, (tick, steps) in least.items():
                self.starts[item] = model.new_int_var(tick, tick + steps * self.period, "")
        for s in range(last + 1):
            forward, backward = self.starts[FORWARD, s], self.starts[BACKWARD, s]
            costs = problem.stages[s]
            model.add(self.starts[WEIGHT, s] >= backward + costs.backward)
            if s < last:
                hop = problem.hops[s]
                model.add(self.starts[FORWARD, s + 1] >= forward + costs.forward + hop)
                following = self.starts[BACKWARD, s + 1] + problem.stages[s + 1].backward
                model.add(backward >= following + hop)
            else:
                model.add(backward >= forward + costs.forward)

    def _add_device(self, device: int) -> None:
        model, own = self.model, self.problem.stages_of[device]
        items = [(kind, s) for s in own for kind in (FORWARD, BACKWARD, WEIGHT)]
        anchor = (FORWARD, own[0])
        most_turns = (
            2 * len(self.problem.stages) + 2 + path(self.problem).backward[0] // max(1, self.period)
        )
        for item in items:
            if item == anchor:
                self.turn[item], self.residue[item] = 0, 0
                continue
            latest = self.period - self.ticks(item)
            self.turn[item] = model.new_int_var(0, most_turns, "")
            self.residue[item] = model.new_int_var(self.ticks(anchor), latest, "")
            model.add(
                self.starts[item]
                == self.starts[anchor] + self.period * self.turn[item] + self.residue[item]
            )
        model.add_no_overlap(
            model.new_fixed_size_interval_var(self.residue[item], self.ticks(item), "")
            for item in items
        )
        free = room(self.problem, device)
        if free is not None:
            for s in own:
                self._add_memory(own, (FORWARD, s), anchor, free)

    def _add_memory(
        self,
        own: tuple[int, ...],
        taking: tuple[PassKind, int],
        anchor: tuple[PassKind, int],
        free: int,
    ) -> None:
        """Limit what is held once a pass F has started, where memory peaks."""
        held: list[Any] = []
        for s in own:
            costs, forward = self.problem.stages[s], (FORWARD, s)
            born = 1 if forward == taking else 1 - self.is_after(taking, forward, anchor)
            for kind, size in (
                (BACKWARD, costs.activation_bytes - costs.kept_bytes),
                (WEIGHT, costs.kept_bytes),
            ):
                if size:
                    later = self.is_after(taking, (kind, s), anchor)
                    copies = self.turn[kind, s] - self.turn[forward] + born + later - 1
                    held.append(size * copies)
        if held:
            self.model.add(sum(held) <= free)

    def is_after(
        self, one: tuple[PassKind, int], other: tuple[PassKind, int], anchor: tuple[PassKind, int]
    ) -> Any:
        """Return 1, or a literal, for whether ``other`` comes after ``one`` within the period."""
        if anchor in (one, other):
            return int(one == anchor)
        if (other, one) in self.after:
            return 1 - self.after[other, one]
        if (one, other) not in self.after:
            literal = self.after[one, other] = self.model.new_bool_var("")
            first, second = self.residue[one], self.residue[other]
            self.model.add(second >= first + self.ticks(one)).only_enforce_if(literal)
            self.model.add(first >= second + self.ticks(other)).only_enforce_if(~literal)
        return self.after[one, other]
