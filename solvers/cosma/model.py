"""COSMA's integer linear program, row by row.

"COSMA: Combined Scheduling, Memory Allocation and Tensor Replacement for Minimizing Off-Chip Data
Accesses of DNN Accelerators" (arXiv 2311.18246). Tensors a (storages here), steps t = 1..n, memory
of B bytes. Binaries C (created), P (preserved), S (spilled), R (retrieved) per tensor and step;
res = C + P + R says that it is resident. Integer address L per tensor and step.

    (1)     C + P + S + R <= 1
    (2)     P(a,t) <= C(a,t-1) + P(a,t-1) + R(a,t-1)
    (3)     S(a,t) <= C(a,t-1) + P(a,t-1)
    (4)     R(a,t) <= sum over k <= t of S(a,k)
    (5)     C(o,t) <= P(i,t) + R(i,t)         i an input of the operator that produces o
    (6)     C(a,t) = C(b,t)                   a, b outputs of one operator
    (7)     sum over t of C(a,t) = 1
    (8)     sum over t of S(a,t) <= 1
    (9-11)  addresses, see `solvers.cosma.addresses`
    (12)    minimise the sum of (S + R) size
    (13-15) smallest peak: S = R = 0, sum of (C + P) size <= M at each step, minimise M
    (16-17) fixed schedule: C is given

What these rows need in addition, and has been added:

- One operator per step. One binary x(v,t) per operator stands for C of all its outputs, so that (6)
  holds by itself; sum over v of x(v,t) <= 1.
- P, S and R are 0 before a tensor's first possible step: they have no variables there.
- Windows: x(v,t) exists for |ancestors of v| < t <= n - |descendants of v|, and a tensor's
  variables from its earliest creation to its latest use.
- Graph inputs that come from the farther memory are created at their first use, and so are weights:
  there (5) accepts C as well. C of several possible first users is a binary of its own, at most the
  sum of their x. They have a copy from the start: R without S, and no charge for a spill. So have
  results whose compulsory store makes the copy.
- Inputs in the memory from the start are preserved into step 1; results that have to end in the
  memory are resident at step n.
- The redundant row sum of res(a,t) size(a) <= B per step. Without it the linear relaxation is 0.
- Storages that several operators write, of which the paper has none, stay resident from the first
  to the last of them.
- Precedences that no tensor carries.

Part of a larger problem (divide and conquer): tensors enter it resident or absent, and those needed
later are resident at its end or pay the read that is due. In-place writes are not modelled, as in
the paper. Sizes count rounded up to the alignment in the memory, exactly in traffic.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from solvers.cosma.addresses import add_addresses
from solvers.milp.program import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.joint_problem import JointProblem
    from solvers.cosma.windows import Windows
    from solvers.milp.program import Program

Terms = list[tuple[int, float]]
# Of a storage and a step, counted from 1.
Columns = dict[tuple[int, int], int]


class Boundary(NamedTuple):
    """How a part of a problem meets the others.

    Storages without starters are those that enter it. A storage with a copy has it already.

    Attributes
    ----------
    resident : frozenset of int
        Those of them that are resident before the first step.
    given : frozenset of int
        Those of them that have to be resident at the first step, used or not.
    later : frozenset of int
        Storages needed after the last step.
    """

    resident: frozenset[int]
    given: frozenset[int]
    later: frozenset[int]


class CosmaModel(NamedTuple):
    """The program and what its columns mean.

    Attributes
    ----------
    program : Program
        Its cost counts ``traffic_unit`` bytes, or ``unit`` bytes of peak.
    unit : int
        Bytes; divides all rounded sizes. Addresses and the capacity count it.
    traffic_unit : int
        Bytes; divides all sizes.
    runs : dict of (operator, step) to column
    created, preserved, spilled, retrieved, address : dict of (storage, step) to column
        Steps count from 1; at step 0 ``created`` are those that are there from the start.
    """

    program: Program
    unit: int
    traffic_unit: int
    runs: Columns
    created: Columns
    preserved: Columns
    spilled: Columns
    retrieved: Columns
    address: Columns


def traffic_model(
    problem: JointProblem,
    windows: Windows,
    *,
    addresses: bool,
    boundary: Boundary | None = None,
) -> CosmaModel:
    """State the program of least traffic, equations (1)-(12), (16) and (17).

    Parameters
    ----------
    windows : Windows
        Of single steps where the schedule is fixed.
    addresses : bool
        Whether equations (9)-(11) are part of it. Without them it is a relaxation.
    """
    builder = _Builder(problem, windows, boundary, may_leave=True)
    builder.add_schedule()
    builder.add_residency()
    builder.add_traffic()
    builder.add_capacity()
    if addresses:
        builder.add_addresses()
    return builder.model()


def peak_model(problem: JointProblem, windows: Windows) -> CosmaModel:
    """State the program of the smallest peak, equations (13)-(15); the capacity plays no part."""
    builder = _Builder(problem, windows, None, may_leave=False)
    builder.add_schedule()
    builder.add_residency()
    builder.add_peak()
    return builder.model()


class _Builder:
    def __init__(
        self,
        problem: JointProblem,
        windows: Windows,
        boundary: Boundary | None,
        *,
        may_leave: bool,
    ) -> None:
        self.problem = problem
        self.windows = windows
        self.boundary = boundary
        self.may_leave = may_leave
        self.steps = problem.operators
        self.rows = Rows()
        self.size = problem.size.tolist()
        rounded = problem.ordering().size.tolist()
        counted = windows.counted
        self.unit = math.gcd(*(rounded[s] for s in counted)) or 1
        self.traffic_unit = math.gcd(*(self.size[s] for s in counted)) or 1
        self.units = {s: rounded[s] // self.unit for s in counted}
        self.starters = {s: problem.starters.row(s).tolist() for s in counted}
        self.users = {s: problem.users.row(s).tolist() for s in counted}
        self.copy = problem.has_copy.tolist()
        self.runs: Columns = {}
        self.created: Columns = {}
        self.preserved: Columns = {}
        self.spilled: Columns = {}
        self.retrieved: Columns = {}
        self.address: Columns = {}

    def model(self) -> CosmaModel:
        return CosmaModel(
            self.rows.program(),
            self.unit,
            self.traffic_unit,
            self.runs,
            self.created,
            self.preserved,
            self.spilled,
            self.retrieved,
            self.address,
        )

    def add_schedule(self) -> None:
        """Let each operator run once, (7), one per step, after its predecessors."""
        windows = self.windows.operators
        at: list[Terms] = [[] for _ in range(self.steps + 1)]
        for v, (first, last) in enumerate(windows):
            for t in range(first, last + 1):
                self.runs[v, t] = self.rows.binary(f"x_{v}_{t}")
                at[t].append((self.runs[v, t], 1.0))
            self.rows.add(f"once_{v}", self._ran(v, last), 1.0, 1.0)
        for t in range(1, self.steps + 1):
            self.rows.add(f"one_at_{t}", at[t], upper=1.0)
        carried = {
            (starters[0], user)
            for s, starters in self.starters.items()
            if len(starters) == 1
            for user in self.users[s]
        }
        for v in range(self.steps):
            for u in self.problem.predecessors.row(v).tolist():
                first, last = windows[v][0], min(windows[v][1], windows[u][1])
                for t in range(first, last + 1) if (u, v) not in carried else ():
                    before = [(column, -1.0) for column, _ in self._ran(u, t - 1)]
                    self.rows.add(f"before_{u}_{v}_{t}", [*self._ran(v, t), *before], upper=0.0)

    def _ran(self, v: int, until: int) -> Terms:
        """Whether an operator has run by a step."""
        first, last = self.windows.operators[v]
        return [(self.runs[v, t], 1.0) for t in range(first, min(last, until) + 1)]

    def add_residency(self) -> None:
        """Create, keep, spill and retrieve each storage, (1)-(8) but for (6)."""
        for s in self.windows.counted:
            self._add_creation(s)
            first, last = self.windows.storages[s]
            for t in range(first + 1, last + 1):
                self.preserved[s, t] = self.rows.binary(f"P_{s}_{t}")
            if self.may_leave:
                self._add_leaving(s, first, last)
            for t in range(first, last + 1):
                actions = (self.preserved, self.spilled, self.retrieved)
                choice = [*self._at(self.created, s, t), *self._at_all(actions, s, t)]
                self.rows.add(f"eq1_{s}_{t}", choice, upper=1.0)
                if (s, t) in self.preserved:
                    before = [(column, -1.0) for column, _ in self.resident(s, t - 1)]
                    kept = [(self.preserved[s, t], 1.0), *before]
                    self.rows.add(f"eq2_{s}_{t}", kept, upper=0.0)
            self._add_uses(s)
            self._add_ends(s, last)
            if len(self.problem.writers.row(s)) > 1:
                self._add_writes(s, first, last)

    def _add_creation(self, s: int) -> None:
        starters = self.starters[s]
        if not starters:
            here = self.boundary is None or s in self.boundary.resident
            self.created[s, 0] = self.rows.variable(f"C_{s}_0", here, here, integer=True)
            return
        first, last = self.windows.creations[s]
        for t in range(first, last + 1):
            by = [(self.runs[v, t], -1.0) for v in starters if (v, t) in self.runs]
            if len(starters) == 1:
                self.created[s, t] = by[0][0]
            elif by:
                self.created[s, t] = self.rows.binary(f"C_{s}_{t}")
                self.rows.add(f"created_{s}_{t}", [(self.created[s, t], 1.0), *by], upper=0.0)
        if len(starters) > 1:
            self.rows.add(f"eq7_{s}", self._up_to(self.created, s, last), 1.0, 1.0)

    def _add_leaving(self, s: int, first: int, last: int) -> None:
        later = self.boundary is not None and s in self.boundary.later
        if not self.copy[s]:
            for t in range(first + 1, last + later):
                self.spilled[s, t] = self.rows.binary(f"S_{s}_{t}")
        for t in range(first + 1 + (not self.copy[s]), last + 1):
            self.retrieved[s, t] = self.rows.binary(f"R_{s}_{t}")
        for t in range(first + 1, last + 1):
            if (s, t) in self.spilled:
                before = self._at_all((self.created, self.preserved), s, t - 1)
                left = [(self.spilled[s, t], 1.0), *((column, -1.0) for column, _ in before)]
                self.rows.add(f"eq3_{s}_{t}", left, upper=0.0)
            if (s, t) in self.retrieved:
                if not self.copy[s]:
                    copy = self._up_to(self.spilled, s, t)
                elif self.starters[s]:
                    copy = self._up_to(self.created, s, t - 1)
                else:
                    continue
                back = [(self.retrieved[s, t], 1.0), *((column, -1.0) for column, _ in copy)]
                self.rows.add(f"eq4_{s}_{t}", back, upper=0.0)
        if not self.copy[s]:
            self.rows.add(f"eq8_{s}", self._up_to(self.spilled, s, last), upper=1.0)

    def _add_uses(self, s: int) -> None:
        starters = self.starters[s]
        for v in self.users[s]:
            if starters == [v]:
                continue
            first, last = self.windows.operators[v]
            for t in range(first, last + 1):
                there = self._at_all((self.preserved, self.retrieved), s, t)
                if v in starters:
                    there += self._at(self.created, s, t)
                use = [(self.runs[v, t], 1.0), *((column, -1.0) for column, _ in there)]
                self.rows.add(f"eq5_{v}_{s}_{t}", use, upper=0.0)

    def _add_ends(self, s: int, last: int) -> None:
        """Demand what has to be there at the first and at the last step."""
        given = self.boundary is None or s in self.boundary.given
        if given and not self.starters[s]:
            self.rows.add(f"given_{s}", self.resident(s, 1), lower=1.0)
        if self.problem.kept[s] and (self.boundary is None or s not in self.boundary.later):
            self.rows.add(f"result_{s}", self.resident(s, self.steps), lower=1.0)
        if self.boundary is not None and s in self.boundary.later:
            due = self.rows.binary(f"due_{s}", self.size[s] / self.traffic_unit)
            self.rows.add(f"later_{s}", [*self.resident(s, self.steps), (due, 1.0)], lower=1.0)
            if not self.copy[s]:
                spilled = self._up_to(self.spilled, s, last)
                copy = [(due, 1.0), *((column, -1.0) for column, _ in spilled)]
                self.rows.add(f"copy_{s}", copy, upper=0.0)

    def _add_writes(self, s: int, first: int, last: int) -> None:
        """Keep a storage from the first to the last of several operators that write it."""
        for w in self.problem.writers.row(s).tolist():
            for t in range(max(first, 1), last + 1):
                begun = [(column, -1.0) for column, _ in self._up_to(self.created, s, t)]
                ran = self._ran(w, t - 1)
                stays = [*self.resident(s, t), *begun, *ran]
                self.rows.add(f"parts_{s}_{w}_{t}", _summed(stays), lower=0.0)
                leaves = self._at_all((self.spilled, self.retrieved), s, t)
                if leaves:
                    whole = [*leaves, *((column, -1.0) for column, _ in ran)]
                    self.rows.add(f"whole_{s}_{w}_{t}", whole, upper=0.0)

    def add_traffic(self) -> None:
        """Charge spills and retrieves, (12)."""
        for (s, _), column in (*self.spilled.items(), *self.retrieved.items()):
            self.rows.charge(column, self.size[s] / self.traffic_unit)

    def add_capacity(self) -> None:
        """Add the redundant rows: resident bytes fit."""
        limit = self.problem.capacity // self.unit
        for t in range(1, self.steps + 1):
            self.rows.add(f"fits_{t}", self._bytes_at(t), upper=limit)

    def add_peak(self) -> None:
        """Minimise the most bytes resident at once, (14)."""
        most = sum(self.units.values())
        peak = self.rows.variable("M", 0.0, most, integer=True, cost=1.0)
        for t in range(1, self.steps + 1):
            self.rows.add(f"eq14_{t}", [*self._bytes_at(t), (peak, -1.0)], upper=0.0)

    def add_addresses(self) -> None:
        """Give residents addresses, (9)-(11)."""
        self.address = add_addresses(
            self.rows,
            self.windows,
            self.units,
            self.problem.capacity // self.unit,
            lambda s, t: self.resident(s, t),
            self.preserved,
        )

    def _bytes_at(self, t: int) -> Terms:
        return _summed(
            (column, float(self.units[s]))
            for s in self.windows.at(t)
            for column, _ in self.resident(s, t)
        )

    def resident(self, s: int, t: int) -> Terms:
        """C + P + R."""
        return self._at_all((self.created, self.preserved, self.retrieved), s, t)

    def _at(self, columns: Columns, s: int, t: int) -> Terms:
        return [(columns[s, t], 1.0)] if (s, t) in columns else []

    def _at_all(self, kinds: Sequence[Columns], s: int, t: int) -> Terms:
        return [term for columns in kinds for term in self._at(columns, s, t)]

    def _up_to(self, columns: Columns, s: int, last: int) -> Terms:
        first = self.windows.storages[s][0]
        return [term for t in range(first, last + 1) for term in self._at(columns, s, t)]


def _summed(terms: Iterable[tuple[int, float]]) -> Terms:
    """Add up the terms of each column: one operator may create two storages."""
    total: dict[int, float] = {}
    for column, value in terms:
        total[column] = total.get(column, 0.0) + value
    return list(total.items())
