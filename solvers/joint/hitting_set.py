"""Cheapest levels that meet every cut: the master problem of the spill-set bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from solvers import _native
from solvers.cp_sat import LARGEST_SUM, new_solver, solve_until
from solvers.joint.stay_clauses import Clause, StayModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from solvers.protocol import Deadline


class Cut(NamedTuple):
    """Met if the weights of the members whose level is higher add up to the demand.

    Attributes
    ----------
    demand : int
        Positive; 1 in a plain cut, which any member meets.
    members : list of (element, level, weight)
        Elements differ; weights are positive and not above the demand.
    """

    demand: int
    members: list[tuple[int, int, int]]


# Beyond, CP-SAT learns what branch and bound would have to find again and again.
_MAX_NODES = 50_000


class HittingSet(NamedTuple):
    """Levels that meet every cut (int32 array, one per element), and what they cost.

    ``bound`` is proven: no levels that meet every cut cost less. ``cost == bound`` if these are
    the cheapest.
    """

    levels: NDArray[np.int32]
    cost: int
    bound: int


def minimum_hitting_set(
    first_cost: NDArray[np.int64],
    more_cost: NDArray[np.int64],
    cuts: Sequence[Cut],
    *,
    deadline: Deadline,
    seed: int = 0,
    max_nodes: int = _MAX_NODES,
    thorough: bool = True,
    known_bound: int = 0,
    clauses: Sequence[Clause] = (),
    shared_stay: Callable[[int, int, int], list[int]] | None = None,
) -> HittingSet:
    """Find the cheapest levels that meet every cut.

    Branch and bound first; CP-SAT for what it leaves open, if OR-Tools is there.

    Parameters
    ----------
    first_cost, more_cost : int64 array of shape [elements]
        Cost of level 1, and of each further level. Not negative.
    cuts : sequence of Cut
        All of them can be met.
    deadline : Deadline
        Where it stops the search, the levels need not be the cheapest; the bound holds.
    seed : int
    max_nodes : int
        Of the branch and bound.
    thorough : bool
        False: leave open what the branch and bound does.
    known_bound : int
        No levels that meet every cut cost less.
    clauses : sequence of Clause
        To be met, too, by some choice of stays; CP-SAT only.
    shared_stay : callable
        Needed for clauses (see `solvers.joint.stay_clauses.StayModel`).

    Raises
    ------
    ValueError
        If a cost is negative, a cut cannot be met, or an element, a level or a weight is out of
        range.
    """
    levels, cost, bound, _ = _native.minimum_hitting_set(
        first_cost=np.ascontiguousarray(first_cost, dtype=np.int64),
        more_cost=np.ascontiguousarray(more_cost, dtype=np.int64),
        cuts=cuts,
        max_nodes=max_nodes,
        time_limit_s=deadline.remaining_s(),
        cancel=deadline.cancel,
    )
    found = HittingSet(levels, cost, max(bound, min(known_bound, cost)))
    is_open = cost != found.bound and thorough
    if not (is_open or clauses) or deadline.expired():
        return found
    try:
        return _improved(found, first_cost, more_cost, cuts, deadline, seed, clauses, shared_stay)
    except ImportError:
        return found


def _improved(
    found: HittingSet,
    first_cost: NDArray[np.int64],
    more_cost: NDArray[np.int64],
    cuts: Sequence[Cut],
    deadline: Deadline,
    seed: int,
    clauses: Sequence[Clause],
    shared_stay: Callable[[int, int, int], list[int]] | None,
) -> HittingSet:
    """Let CP-SAT close the gap: one Boolean for each level that some cut asks for."""
    from ortools.sat.python import cp_model

    # Levels that matter, ascending; the price of each is what it adds to the one before.
    asked: dict[int, set[int]] = {}
    for cut in cuts:
        for element, level, _ in cut.members:
            asked.setdefault(element, set()).add(level + 1)
    model = cp_model.CpModel()
    stays = None
    if clauses and shared_stay is not None:
        stays = StayModel(model, clauses, shared_stay)
        for element, most in stays.most_levels().items():
            asked.setdefault(element, set()).update(range(1, most + 1))
        for clause in clauses:
            for element in clause.absent:
                asked.setdefault(element, set()).add(1)
    reached: dict[tuple[int, int], Any] = {}
    prices: list[int] = []
    for element, wanted in sorted(asked.items()):
        paid, before = 0, None
        for level in sorted(wanted):
            variable = model.new_bool_var("")
            reached[element, level] = variable
            cost = int(first_cost[element]) + (level - 1) * int(more_cost[element])
            prices.append(cost - paid)
            paid = cost
            if before is not None:
                model.add_implication(variable, before)
            before = variable
    unit = max(1, int(np.gcd.reduce(np.array(prices, dtype=np.int64))))
    prices = [price // unit for price in prices]
    if sum(prices) > LARGEST_SUM:
        return found
    for cut in cuts:
        literals = [reached[element, level + 1] for element, level, _ in cut.members]
        weights = [weight for _, _, weight in cut.members]
        unit_weight = int(np.gcd.reduce(np.array([*weights, cut.demand], dtype=np.int64)))
        if cut.demand == 1:
            model.add_bool_or(literals)
        elif sum(weights) // unit_weight > LARGEST_SUM:
            return found
        else:
            sum_of_weights = sum(
                weight // unit_weight * literal
                for weight, literal in zip(weights, literals, strict=True)
            )
            model.add(sum_of_weights >= cut.demand // unit_weight)
    if stays is not None:
        stays.add(reached)
    for (element, level), variable in reached.items():
        model.add_hint(variable, bool(found.levels[element] >= level))
    objective = sum(p * v for p, v in zip(prices, reached.values(), strict=True))
    model.add(objective >= found.bound // unit)
    model.minimize(objective)
    solver = new_solver(seed)
    if stays is not None:
        # Choices of stays look fractional from the outset: relaxations cost time and say nothing.
        solver.parameters.linearization_level = 0
    status = solve_until(solver, model, deadline).status
    # What the branch and bound has found need not meet the clauses.
    proven = max(found.bound, round(solver.best_objective_bound) * unit)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return found if stays is None else found._replace(cost=max(found.cost, found.bound + 1))
    levels = np.zeros(len(first_cost), dtype=np.int32)
    cost = 0
    for (element, level), price in zip(reached, prices, strict=True):
        if solver.value(reached[element, level]):
            levels[element] = max(levels[element], level)
            cost += price * unit
    if status == cp_model.OPTIMAL:
        return HittingSet(levels, cost, cost)
    if stays is None and cost >= found.cost:
        return found
    return HittingSet(levels, cost, min(proven, cost))
