"""Which group lies in which of several memories: a choice that packs, and a bound for all choices.

A first choice by bytes in use is packed and repaired. If it is not proven, CP-SAT chooses by bytes
in use and the packer places what it chose, in turn; sets of groups that provably do not fit
together become cuts (logic-based Benders decomposition, J. N. Hooker and G. Ottosson, 2003). A cut
holds for every packing, so the best choice of the model bounds all packings, and one that packs is
optimal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.deletion_filter import without_bystanders
from solvers.packing.fits import Fits
from solvers.packing.groups import congruence
from solvers.packing.loads import Loads
from solvers.packing.membership_model import MembershipModel, too_large
from solvers.packing.spreading import Occupation, displaced_bytes, fewest_displaced, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.packing.problem import PackingProblem
    from solvers.packing.groups import Group
    from solvers.protocol import Deadline

# One attempt to pack a memory gets this share of the time left, and at least so many seconds, of
# which greedy alone needs some for very many buffers.
_PACKING_SHARE = 0.05
_PACKING_S = 0.2
_PACKING_S_PER_GROUP = 5e-5
# One proof that groups do not fit together, and all proofs for one cut.
_PROOF_S = 0.5
_CUT_SHARE = 0.2
# Choices that could not be packed, without a proof, before the search gives up.
_UNPROVEN_CHOICES = 10
# Parts of the capacities, in permille, for which to choose where no packing of all is found.
_SLACK = (980, 950, 920, 880, 840, 800, 700)


class Membership(NamedTuple):
    """A choice of memories that packs.

    Attributes
    ----------
    choice : list of int
        Memory of each group.
    offset : int64 array of shape [buffers]
        Within the capacities; -1 in memories that take anything, and that were not packed.
    displaced : int
        Bytes.
    """

    choice: list[int]
    offset: NDArray[np.int64]
    displaced: int


class MembershipSearch:
    """One search; what it has found may be read at any time, from any thread.

    Parameters
    ----------
    groups : sequence of Group
        As `possible_groups` returns them.
    on_progress : callable or None
        Receives one line per improvement.

    Attributes
    ----------
    best : Membership or None
    bound : int
        On the bytes displaced by all packings.
    impossible : bool
        It is proven that no packing keeps to the capacities.
    first_choice : list of int
        By bytes in use alone at most, for want of one that packs.
    stopped : str
        Why it ended without a proof.
    other_cpu_s : float
        CPU seconds of other threads that worked for it.
    """

    def __init__(
        self,
        problem: PackingProblem,
        groups: Sequence[Group],
        *,
        seed: int = 0,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._problem = problem
        self._groups = groups
        self._seed = seed
        self._on_progress = on_progress
        self._loads = Loads(problem, groups)
        self._fits = Fits(problem, groups)
        self.best: Membership | None = None
        self.bound = fewest_displaced(problem, groups, self._loads)
        self.impossible = False
        self.first_choice = [group.memories[0] for group in groups]
        self.stopped = ""
        self.other_cpu_s = 0.0

    def settled(self) -> bool:
        """Whether nothing better can come."""
        return self.impossible or (self.best is not None and self.best.displaced <= self.bound)

    def run(self, deadline: Deadline) -> None:
        """Search until all is proven or time is out."""
        self.first_choice, order = spread(self._problem, self._groups, self._loads)
        failed = self._pack(self.first_choice, deadline)
        if failed and not all(failed.values()):
            self._spread_with_slack(order, deadline)
        if self.best is None:
            self._repair(self.first_choice, deadline)
        if self.settled() or deadline.expired():
            return
        self.stopped = too_large(self._problem, self._groups, self._loads)
        if self.stopped:
            return
        try:
            self._choose_and_pack(deadline)
        except ImportError as error:
            self.stopped = f"ortools cannot be loaded: {error}"

    def _offer(self, choice: Sequence[int], offsets: NDArray[np.int64]) -> None:
        displaced = displaced_bytes(self._groups, choice)
        if self.best is not None and displaced >= self.best.displaced:
            return
        self.best = Membership(list(choice), offsets, displaced)
        if self._on_progress is not None:
            self._on_progress(f"{displaced:,} bytes displaced, at least {self.bound:,}")

    def _limit(self, deadline: Deadline) -> Deadline:
        least = _PACKING_S + _PACKING_S_PER_GROUP * len(self._groups)
        return deadline.within(max(least, _PACKING_SHARE * deadline.remaining_s()))

    def _pack(self, choice: Sequence[int], deadline: Deadline) -> dict[int, bool]:
        """Pack all memories and offer the result; return those that fail, and if that is proven."""
        offsets = np.full(len(self._problem.buffers), -1, dtype=np.int64)
        failed: dict[int, bool] = {}
        for memory, space in enumerate(self._problem.memories):
            members = [group for group, chosen in enumerate(choice) if chosen == memory]
            fixed = any(self._groups[group].offset is not None for group in members)
            if not members or (space.capacity is None and not fixed):
                continue
            fit = self._fits.fit(memory, members, self._limit(deadline))
            if fit.offset is None:
                failed[memory] = fit.impossible
            else:
                offsets[fit.buffer] = fit.offset
        if not failed:
            self._offer(choice, offsets)
        return failed

    def _repair(self, choice: Sequence[int], deadline: Deadline) -> None:
        """Move groups out of memories that do not pack until all do; then back what can."""
        occupation = Occupation(self._problem, self._loads, choice)
        # Nobody returns to a memory once left, so that this ends.
        left: set[tuple[int, int]] = set()
        moves = 1
        while failed := self._pack(occupation.choice, deadline):
            if deadline.expired():
                return
            moved = [
                self._move_out(occupation, memory, left) for memory in failed for _ in range(moves)
            ]
            if not any(moved):
                return
            moves *= 2
        self._move_back(occupation, deadline)

    def _move_out(self, occupation: Occupation, memory: int, left: set[tuple[int, int]]) -> bool:
        """Move the cheapest group of the fullest section elsewhere; whether there is one."""
        section = int(occupation.busy[memory].argmax())
        moves = []
        for group in occupation.members(memory):
            used = self._loads.in_use(group, section)
            if used <= 0:
                continue
            memories, displaced = self._groups[group].memories, self._groups[group].displaced
            now = displaced[memories.index(memory)]
            moves += [
                (occupation.excess(group, to), bytes_ - now, -used, group, to)
                for to, bytes_ in zip(memories, displaced, strict=True)
                if to != memory and (group, to) not in left
            ]
        if not moves:
            return False
        *_, group, to = min(moves)
        left.add((group, memory))
        occupation.move(group, to)
        return True

    def _move_back(self, occupation: Occupation, deadline: Deadline) -> None:
        """Return displaced groups, the largest first, while everything still packs."""
        limit = deadline.within(deadline.remaining_s() / 4)
        gains = sorted(
            (
                (now - bytes_, group, memory)
                for group, here in enumerate(occupation.choice)
                for now in [self._displaced(group, here)]
                for memory, bytes_ in zip(
                    self._groups[group].memories, self._groups[group].displaced, strict=True
                )
                if bytes_ < now
            ),
            reverse=True,
        )
        self._return(occupation, [(group, memory) for _, group, memory in gains], limit)

    def _return(
        self, occupation: Occupation, moves: Sequence[tuple[int, int]], deadline: Deadline
    ) -> None:
        """Make all moves for which there is room; if that does not pack, one half after another."""
        if self.settled() or deadline.expired():
            return
        made = []
        for group, memory in moves:
            here = occupation.choice[group]
            gains = self._displaced(group, memory) < self._displaced(group, here)
            if gains and not occupation.excess(group, memory):
                occupation.move(group, memory)
                made.append((group, here))
        if not made or not self._pack(occupation.choice, deadline):
            return
        for group, here in reversed(made):
            occupation.move(group, here)
        if len(made) > 1 or len(moves) > 1:
            half = len(moves) // 2
            self._return(occupation, moves[:half], deadline)
            self._return(occupation, moves[half:], deadline)

    def _spread_with_slack(self, order: int, deadline: Deadline) -> None:
        """Fill the memories less and less until the packer finds offsets."""
        for permille in _SLACK:
            if deadline.expired():
                return
            choice, _ = spread(
                self._problem, self._groups, self._loads, orders=[order], permille=permille
            )
            if not self._pack(choice, deadline):
                self._move_back(Occupation(self._problem, self._loads, choice), deadline)
                return

    def _displaced(self, group: int, memory: int) -> int:
        return self._groups[group].displaced[self._groups[group].memories.index(memory)]

    def _choose_and_pack(self, deadline: Deadline) -> None:
        """Let the model choose and the packer place in turn."""
        model = MembershipModel(self._problem, self._groups, self._loads, seed=self._seed)
        unproven = 0
        while not self.settled() and not deadline.expired():
            answer = model.solve(deadline)
            self.other_cpu_s += answer.cpu_s
            if not unproven:
                self.impossible = answer.impossible
                self.bound = max(self.bound, answer.bound)
            if answer.choice is None:
                break
            displaced = displaced_bytes(self._groups, answer.choice)
            if self.best is not None and displaced >= self.best.displaced:
                break
            failed = self._pack(answer.choice, deadline)
            if not failed:
                continue
            for memory, proven in failed.items():
                members = [g for g, chosen in enumerate(answer.choice) if chosen == memory]
                if proven:
                    members = self._conflict(memory, members, deadline)
                model.exclude(memory, members)
            if not all(failed.values()):
                unproven += 1
                self._choose_with_slack(deadline)
            self._repair(answer.choice, deadline)
            if unproven == _UNPROVEN_CHOICES:
                break
        if unproven and not self.settled():
            self.stopped = "some choices could not be packed, nor proven impossible"

    def _conflict(self, memory: int, members: list[int], deadline: Deadline) -> list[int]:
        """Return few of the members that provably do not fit together."""
        limit = deadline.within(_CUT_SHARE * deadline.remaining_s())
        by_time = sorted(members, key=lambda group: self._loads.of_group[group])

        def impossible(some: list[int]) -> bool:
            return self._fits.fit(memory, sorted(some), limit.within(_PROOF_S)).impossible

        return without_bystanders(by_time, impossible, limit)

    def _choose_with_slack(self, deadline: Deadline) -> None:
        """Choose for less and less of the capacities until the packer finds offsets."""
        for permille in _SLACK:
            if deadline.expired():
                return
            model = MembershipModel(
                self._problem, self._groups, self._loads, permille=permille, seed=self._seed
            )
            answer = model.solve(self._limit(deadline))
            self.other_cpu_s += answer.cpu_s
            choice = answer.choice
            if choice is None:
                return
            if self.best is not None:
                displaced = displaced_bytes(self._groups, choice)
                if displaced >= self.best.displaced:
                    return
            if not self._pack(choice, deadline):
                return


def possible_groups(
    problem: PackingProblem, groups: Sequence[Group]
) -> tuple[tuple[Group, ...], str]:
    """Leave out memories that a group does not fit into by itself.

    Returns
    -------
    tuple of Group
    str
        Which group fits into none of its memories, an empty string if there is no such one.
    """
    possible = []
    for group in groups:
        fitting = [
            rank
            for rank, memory in enumerate(group.memories)
            if _fits_alone(problem, group, memory)
        ]
        if not fitting:
            return tuple(groups), _too_large(problem, group)
        possible.append(
            group._replace(
                memories=tuple(group.memories[rank] for rank in fitting),
                displaced=tuple(group.displaced[rank] for rank in fitting),
            )
        )
    return tuple(possible), ""


def _fits_alone(problem: PackingProblem, group: Group, memory: int) -> bool:
    capacity = problem.memories[memory].capacity
    if capacity is None:
        return True
    lowest = congruence(problem, group, memory).lead if group.offset is None else group.offset
    return lowest + _extent(problem, group) <= capacity


def _extent(problem: PackingProblem, group: Group) -> int:
    return max(
        distance + problem.buffers[member].size
        for member, distance in zip(group.members, group.distances, strict=True)
    )


def _too_large(problem: PackingProblem, group: Group) -> str:
    names = " and ".join(repr(problem.buffers[member].name) for member in group.members[:2])
    more = f" and {len(group.members) - 2:,} more" if len(group.members) > 2 else ""
    rooms = ", ".join(
        f"{problem.memories[memory].name} {problem.memories[memory].capacity:,}"
        for memory in group.memories
    )
    at = "" if group.offset is None else f" from {group.offset:,} on"
    verb = "takes" if len(group.members) == 1 else "take"
    return f"{names}{more} {verb} {_extent(problem, group):,} bytes{at}; there are {rooms}"
