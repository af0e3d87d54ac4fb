"""What packing hands back: the offsets, their proofs, and how every solver did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from planner.packing.problem import Packing, PackingProblem
    from planner.problem import Status


NOT_NEEDED = "nothing was left to find"


class SolverReport(NamedTuple):
    """How one solver did in one memory.

    Attributes
    ----------
    name : str
    memory : str
    status : str
        ``optimal``, ``feasible``, ``infeasible``, ``unknown``, ``skipped`` or ``failed``.
    height_bytes : int or None
        Of its lowest packing, also when that exceeds the capacity.
    lower_bound_bytes : int or None
        Proven by it.
    wall_s, cpu_s : float
    note : str
        Why it was skipped (`NOT_NEEDED`, or what is missing) or stopped, or what it says of its
        packing, in one sentence.
    """

    name: str
    memory: str
    status: str
    height_bytes: int | None = None
    lower_bound_bytes: int | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    note: str = ""


class MemoryUse(NamedTuple):
    """One memory after packing.

    Attributes
    ----------
    name : str
    buffers : int
    height_bytes : int
        Highest used address, of the lowest packing found even if that exceeds the capacity.
    lower_bound_bytes : int
        Proven for every packing of these buffers.
    live_bytes : int
        Most bytes in use at once.
    capacity_bytes : int or None
    """

    name: str
    buffers: int
    height_bytes: int
    lower_bound_bytes: int
    live_bytes: int
    capacity_bytes: int | None


@dataclass(frozen=True)
class PackResult:
    """The best packing found, checked, with bounds and the solvers' table.

    Attributes
    ----------
    problem : PackingProblem
    packing : Packing or None
        None if none within the capacities was found.
    status : Status
        With one memory about its height, with several about the displaced bytes.
    memories : tuple of MemoryUse
        In the problem's order.
    displaced_bytes, displaced_lower_bound_bytes : int
        Sizes of the buffers that lie in another memory than their first; 0 with one memory.
    moved : int
        Buffers with a hint that lie elsewhere.
    solver : str
        What found the packing.
    solvers : tuple of SolverReport
    wall_s : float
    interrupted : bool
        Stopped by the user; the packing is the best until then.
    notes : tuple of str
    """

    problem: PackingProblem
    packing: Packing | None
    status: Status
    memories: tuple[MemoryUse, ...]
    solver: str
    solvers: tuple[SolverReport, ...] = ()
    displaced_bytes: int = 0
    displaced_lower_bound_bytes: int = 0
    moved: int = 0
    wall_s: float = 0.0
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def height_bytes(self) -> int:
        """The largest height of a memory."""
        return max((memory.height_bytes for memory in self.memories), default=0)

    @property
    def lower_bound_bytes(self) -> int:
        """The largest proven bound on the height of a memory."""
        return max((memory.lower_bound_bytes for memory in self.memories), default=0)

    @property
    def offsets(self) -> dict[str, int]:
        """Offset of each buffer by its name; empty if no packing was found."""
        if self.packing is None:
            return {}
        names = (buffer.name for buffer in self.problem.buffers)
        return dict(zip(names, self.packing.offset.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``plan pack --json`` prints; a height not known is null."""
        single = len(self.memories) == 1
        # Heights are 0 where nothing was found; buffers take a byte at least.
        unknown = [m for m in self.memories if m.buffers and not m.height_bytes]
        return {
            "format": "planner.pack-result",
            "version": 1,
            "buffers": len(self.problem.buffers),
            "height_bytes": None if unknown and not self.height_bytes else self.height_bytes,
            "lower_bound_bytes": self.lower_bound_bytes,
            "capacity_bytes": self.memories[0].capacity_bytes if single else None,
            "status": self.status.value,
            "fits": self.packing is not None,
            "solver": self.solver,
            "displaced_bytes": self.displaced_bytes,
            "displaced_lower_bound_bytes": self.displaced_lower_bound_bytes,
            "moved": self.moved,
            "checked": self.packing is not None,
            "interrupted": self.interrupted,
            "wall_s": round(self.wall_s, 6),
            "memories": [
                memory._asdict() | ({"height_bytes": None} if memory in unknown else {})
                for memory in self.memories
            ],
            "solvers": [report._asdict() for report in self.solvers],
            "notes": list(self.notes),
        }
