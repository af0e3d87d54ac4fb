"""The dynamic program over a chain of blocks: what to keep of which, and what to run again."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from solvers.protocol import Deadline
    from solvers.training.block_options import BlockOption

UNREACHED = 2**60
_SPLIT = 1 << 14
_HOLD = -1


class Choice(NamedTuple):
    """One way to treat a block, or a run of neighbouring blocks as one.

    Attributes
    ----------
    last : int
        The last block of the run.
    option : BlockOption
    output_bytes : int
        Over the cut after the last block.
    backward_base_bytes : int
        Live while the run goes backward, whatever is kept, without the gradients that flow into it.
    """

    last: int
    option: BlockOption
    output_bytes: int
    backward_base_bytes: int


class Stage(NamedTuple):
    """One block as the dynamic program sees it.

    Attributes
    ----------
    input_bytes : int
        Over the cut before it.
    base_bytes : int
        Live while this block or those before it run and all later ones are done with, whatever is
        kept: constants, what is always kept, gradients so far.
    advance_ps, advance_bytes : int
        Time, and bytes apart from the inputs, of running it forward up to its outputs.
    choices : sequence of Choice
        For the block, and for runs that begin with it.
    """

    input_bytes: int
    base_bytes: int
    advance_ps: int
    advance_bytes: int
    choices: Sequence[Choice]


class Move(Enum):
    """What an action does."""

    ADVANCE = "run blocks forward and keep the outputs of the last alone"
    KEEP = "run blocks forward and keep what a choice says"
    REVERSE = "run blocks backward"


class Action(NamedTuple):
    """One action of a plan of the chain.

    Attributes
    ----------
    move : Move
    first, last : int
        Blocks, both included.
    choice : int
        Of the first block's stage; 0 when advancing.
    release_input : bool
        Whether the inputs of the first block are forgotten afterwards.
    """

    move: Move
    first: int
    last: int
    choice: int
    release_input: bool


class ChainProgram:
    """Least times of all stretches of the chain, for all numbers of memory slots.

    With ``held[s, t, a]`` the least time to run blocks s to t forward and backward within a slots,
    when the inputs of s stay live throughout and are counted elsewhere, and ``owned[s, t, a]`` the
    same when they count here and may be forgotten when done with:

        held[s, t, a] = min(
            min over s < m <= t:  advance(s .. m-1) + owned[m, t, a] + held[s, m-1, a],
            min over choices o for s .. e:  forward(o) + next[e+1, t, a - kept(o)] + backward(o))
        owned[s, t, a] = min(held[s, t, a - input(s)], the second line for choices that do not
            need the inputs)

    where next is held, and the outputs count as kept, if the choice keeps the outputs, else owned.
    An alternative counts only where what it has live meanwhile fits. Sizes are rounded up to slots.
    This is the program of rotor (Beaumont, Eyraud-Dubois, Herrmann, Joly, Shilova, "Optimal
    checkpointing for heterogeneous chains", arXiv 1911.13214) with the options per block of
    Rockmate (arXiv 2307.01236), with options of runs of blocks, within which no cut need be kept,
    and with inputs that need not outlive the forward half.

    Parameters
    ----------
    stages : sequence of Stage
    slot_bytes, slots : int
        Budgets are 0 to ``slots`` times ``slot_bytes``.
    deadline : Deadline
        When it passes, `complete` stays False and nothing can be traced.
    spare_bytes : int
        So much of what is kept at a time may lie outside the slots; room for all of it is set
        aside instead. Where most sizes are multiples of some size but for a few bytes, that wastes
        less than rounding them up.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        slot_bytes: int,
        slots: int,
        *,
        deadline: Deadline,
        spare_bytes: int = 0,
    ) -> None:
        self.stages = stages
        self.spare_bytes = spare_bytes
        # Of each block at most its inputs and one choice are kept at a time.
        self.reserve_bytes = 2 * len(stages) * spare_bytes
        self.slot_bytes = slot_bytes
        self.slots = slots
        count = len(stages)
        shape = (count, count, slots + 1)
        self.held = np.full(shape, UNREACHED, dtype=np.int64)
        self.owned = np.full(shape, UNREACHED, dtype=np.int64)
        self.held_choice = np.zeros(shape, dtype=np.int16)
        self.owned_choice = np.zeros(shape, dtype=np.int16)
        self.input_slots = [self._held_slots(stage.input_bytes) for stage in stages]
        self.complete = False
        for length in range(count):
            for first in range(count - length):
                if deadline.expired():
                    return
                self._solve(first, first + length)
        self.complete = True

    def times(self) -> NDArray[np.int64]:
        """Return the least time of the whole chain for each number of slots."""
        return self.owned[0, len(self.stages) - 1]

    def best_within(self, slots: int) -> int:
        """Return the fewest slots for the least time within so many, or for any plan."""
        times = self.times()
        time = int(times[min(max(slots, 0), self.slots)])
        reached = np.flatnonzero(times < UNREACHED)
        if time >= UNREACHED:
            return int(reached[0])
        return int(np.flatnonzero(times <= time)[0])

    def _slots(self, size_bytes: int) -> int:
        """Return the slots that have to be free for what runs."""
        return -(-(size_bytes + self.reserve_bytes) // self.slot_bytes)

    def _held_slots(self, size_bytes: int) -> int:
        return max(0, -(-(size_bytes - self.spare_bytes) // self.slot_bytes))

    def _solve(self, first: int, last: int) -> None:
        held, choice = self.held[first, last], self.held_choice[first, last]
        if first < last:
            self._split(first, last, held, choice)
        self._choices(first, last, held, choice, owned=False)
        owned, choice = self.owned[first, last], self.owned_choice[first, last]
        shift = self.input_slots[first]
        if shift <= self.slots:
            owned[shift:] = held[: self.slots + 1 - shift]
            choice[:] = _HOLD
        self._choices(first, last, owned, choice, owned=True)

    def _split(
        self, first: int, last: int, best: NDArray[np.int64], choice: NDArray[np.int16]
    ) -> None:
        stages = self.stages[first:last]
        time = np.cumsum([stage.advance_ps for stage in stages])
        live = [
            stage.advance_bytes + (stage.input_bytes if i else 0) for i, stage in enumerate(stages)
        ]
        base = self.stages[last].base_bytes
        least = [self._slots(base + size) for size in np.maximum.accumulate(live).tolist()]
        total = self.owned[first + 1 : last + 1, last] + self.held[first, first:last]
        total += time[:, None]
        total[np.arange(self.slots + 1) < np.array(least)[:, None]] = UNREACHED
        which = total.argmin(axis=0)
        np.minimum(total[which, np.arange(self.slots + 1)], UNREACHED, out=best)
        choice[:] = which + (first + 1 + _SPLIT)

    def _choices(
        self,
        first: int,
        last: int,
        best: NDArray[np.int64],
        which: NDArray[np.int16],
        *,
        owned: bool,
    ) -> None:
        stage = self.stages[first]
        ends = last == len(self.stages) - 1
        input_bytes = stage.input_bytes if owned else 0
        base = self.stages[last].base_bytes
        for index, choice in enumerate(stage.choices):
            option, inner = choice.option, choice.last < last
            if choice.last > last or (owned and option.needs_input):
                continue
            if not inner and not ends and option.saved:
                # Alone, what a block would save is recomputed when it is first read.
                continue
            least = self._slots(choice.backward_base_bytes + option.backward_bytes)
            time, shift = option.backward_ps, 0
            if inner or ends:
                time += option.forward_ps
                least = max(least, self._slots(base + input_bytes + option.forward_bytes))
            if inner:
                shift = self._kept(choice)
                least = max(least, shift)
            if least > self.slots:
                continue
            if inner:
                rest = self.held if option.keeps_output else self.owned
                total = rest[choice.last + 1, last, least - shift : self.slots + 1 - shift] + time
            else:
                total = np.full(self.slots + 1 - least, time, dtype=np.int64)
            better = total < best[least:]
            best[least:][better] = total[better]
            which[least:][better] = index

    def _kept(self, choice: Choice) -> int:
        option = choice.option
        return self._held_slots(option.kept_bytes + choice.output_bytes * option.keeps_output)

    def trace(self, slots: int) -> list[Action]:
        """Return the actions of a cheapest plan of the whole chain within a number of slots."""
        if self.times()[slots] >= UNREACHED:
            raise ValueError(f"{slots} slots are too few for any plan of the chain.")
        actions: list[Action] = []
        self._trace_owned(0, len(self.stages) - 1, slots, actions)
        return actions

    def _trace_owned(self, first: int, last: int, slots: int, actions: list[Action]) -> None:
        choice = int(self.owned_choice[first, last, slots])
        if choice == _HOLD:
            inner = slots - self.input_slots[first]
            self._trace_held(first, last, inner, actions, release=True)
        else:
            self._trace_choice(first, last, slots, choice, actions, owned=True, release=True)

    def _trace_held(
        self, first: int, last: int, slots: int, actions: list[Action], *, release: bool
    ) -> None:
        choice = int(self.held_choice[first, last, slots])
        if choice < _SPLIT:
            self._trace_choice(first, last, slots, choice, actions, owned=False, release=release)
            return
        middle = choice - _SPLIT
        actions.append(Action(Move.ADVANCE, first, middle - 1, 0, False))
        self._trace_owned(middle, last, slots, actions)
        self._trace_held(first, middle - 1, slots, actions, release=release)

    def _trace_choice(
        self,
        first: int,
        last: int,
        slots: int,
        index: int,
        actions: list[Action],
        *,
        owned: bool,
        release: bool,
    ) -> None:
        choice = self.stages[first].choices[index]
        if choice.last < last or last == len(self.stages) - 1:
            actions.append(Action(Move.KEEP, first, choice.last, index, owned))
        if choice.last < last:
            inner = slots - self._kept(choice)
            if choice.option.keeps_output:
                self._trace_held(choice.last + 1, last, inner, actions, release=False)
            else:
                self._trace_owned(choice.last + 1, last, inner, actions)
        actions.append(Action(Move.REVERSE, first, choice.last, index, release))
