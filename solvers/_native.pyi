"""Types of the C++ kernels."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

class CancelFlag:
    """Asks running kernels to stop and hand back the best they have."""

    def __init__(self) -> None: ...
    def set(self) -> None:
        """Ask for a stop. Safe from any thread."""
    def clear(self) -> None:
        """Withdraw the request."""
    def is_set(self) -> bool:
        """Whether a stop was asked for."""

class SharedBest:
    """The best packing of one problem and the best bound on it, shared by solvers that race.

    Any thread may call anything. What is offered has to be legal, or proven, for the problem.
    """

    def __init__(self) -> None: ...
    def offer(self, offsets: NDArray[np.int64], height: int) -> bool:
        """Offer a legal packing; true if it is lower than what was there."""
    def offer_bound(self, bound: int) -> None:
        """Offer a proven lower bound on the height."""
    @property
    def height(self) -> int:
        """Height of the lowest packing offered; 2**62 while there is none."""
    @property
    def lower_bound(self) -> int:
        """Highest bound offered; 0 at first."""
    def offsets(self) -> NDArray[np.int64] | None:
        """Offsets of the lowest packing offered, or None."""

class JointModel:
    """A checked problem of order and residency. Immutable; any thread may use it."""

def joint_model(
    *,
    operators: int,
    capacity: int,
    alignment: int,
    size: NDArray[np.int64],
    has_copy: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    predecessor_offsets: NDArray[np.int64],
    predecessors: NDArray[np.int32],
    starter_offsets: NDArray[np.int64],
    starters: NDArray[np.int32],
    user_offsets: NDArray[np.int64],
    users: NDArray[np.int32],
    writer_offsets: NDArray[np.int64],
    writers: NDArray[np.int32],
    in_place_offsets: NDArray[np.int64],
    in_place: NDArray[np.int32],
) -> JointModel:
    """Check the arrays of a planner.joint_problem.JointProblem; ValueError says what is wrong."""

def joint_exact(
    model: JointModel,
    *,
    cut_offsets: NDArray[np.int64],
    cut_members: NDArray[np.int32],
    lower_bound: int = 0,
    upper: int | None = None,
    time_limit_s: float,
    cancel: CancelFlag,
    memory_bytes: int,
) -> tuple[NDArray[np.int32] | None, int, int, bool, dict[str, Any]]:
    """Least traffic over all orders: (order or None, traffic, bound, finished, statistics)."""

def operator_beyond_capacity(model: JointModel) -> tuple[int, int] | None:
    """Return the operator that needs most beyond the capacity and its bytes, or None."""

def order_traffic(
    model: JointModel,
    order: NDArray[np.int32],
    rule: Literal["furthest-use", "copies-first", "smallest-cover", "fewest-uses", "least-price"]
    | None = None,
) -> int | None:
    """Traffic of an order by capacity alone; None if the operands of a step do not fit.

    Of one eviction rule, or else the best of all, improved.
    """

def joint_beam(
    model: JointModel,
    starts: list[NDArray[np.int32]],
    *,
    time_limit_s: float,
    cancel: CancelFlag,
    first_width: int,
    last_width: int,
    goal: int = 0,
) -> tuple[NDArray[np.int32], int | None, dict[str, Any]]:
    """Beam search over orders and residency: (order, traffic or None, statistics)."""

def joint_annealing(
    model: JointModel,
    starts: list[NDArray[np.int32]],
    *,
    time_limit_s: float,
    cancel: CancelFlag,
    seed: int = 0,
    most_evaluations: int = 0,
    goal: int = 0,
) -> tuple[NDArray[np.int32], int | None, dict[str, Any]]:
    """Annealing over orders: (order, traffic or None if no order fits, statistics)."""

class SpillOracle:
    """Decides how often which storages have to be absent. For one thread at a time."""

    def __init__(self, model: JointModel, *, memory_bytes: int) -> None: ...
    def most_absences(self) -> NDArray[np.int32]:
        """Of each storage, how often it can be absent at most."""
    def decide(
        self,
        levels: NDArray[np.int32],
        *,
        expansions: int,
        max_nodes: int,
        time_limit_s: float,
        cancel: CancelFlag,
    ) -> Literal["feasible", "infeasible", "limit"]:
        """Whether some order keeps the levels."""
    def cuts(
        self,
        levels: NDArray[np.int32],
        *,
        expansions: int,
        growth: int,
        max_nodes: int,
        time_limit_s: float,
        cancel: CancelFlag,
    ) -> tuple[
        list[tuple[int, list[tuple[int, int, int]]]],
        list[tuple[list[tuple[int, int, int]], list[tuple[int, int, int]], list[int]]],
        Literal["feasible", "infeasible", "limit"],
    ]:
        """Cuts that the levels do not meet: demand, and (storage, level, weight) of the members.

        One without members if no levels are feasible. Then clauses behind them: some of these pairs
        (storage, point, point) is not in one stay, or some of those is, or some storage is absent.
        Then the answer of `decide` on the levels that the cuts leave.
        """
    def shared_stay(self, storage: int, first: int, second: int) -> list[int]:
        """Points in one stay of the storage with two that are: these and all between."""
    def peak_cut(
        self, peak_bound: int, *, expansions: int, time_limit_s: float, cancel: CancelFlag
    ) -> tuple[int, list[tuple[int, int, int]]]:
        """Return the cut that follows from a proven bound on the peak without absences."""
    def offer(self, order: NDArray[np.int32]) -> None:
        """Evaluate an order, all storages free to leave."""
    def best(self) -> tuple[NDArray[np.int32], int, NDArray[np.int32]] | None:
        """Of all orders met, the one of least traffic: (order, traffic, absences); or None."""
    def statistics(self) -> dict[str, int]:
        """Decisions, searches behind them and their states so far."""

def minimum_hitting_set(
    *,
    first_cost: NDArray[np.int64],
    more_cost: NDArray[np.int64],
    cuts: Sequence[tuple[int, Sequence[tuple[int, int, int]]]],
    max_nodes: int,
    time_limit_s: float,
    cancel: CancelFlag,
) -> tuple[NDArray[np.int32], int, int, int]:
    """Cheapest levels that meet every cut: (levels, cost, bound, nodes)."""

class OrderModel:
    """A checked ordering problem. Immutable; any thread may use it."""

def order_model(
    *,
    operators: int,
    size: NDArray[np.int64],
    predecessor_offsets: NDArray[np.int64],
    predecessors: NDArray[np.int32],
    starter_offsets: NDArray[np.int64],
    starters: NDArray[np.int32],
    user_offsets: NDArray[np.int64],
    users: NDArray[np.int32],
    kept: NDArray[np.bool_],
    in_place_offsets: NDArray[np.int64],
    in_place: NDArray[np.int32],
) -> OrderModel:
    """Check the arrays of a planner.problem.OrderProblem; ValueError says what is wrong."""

def list_order(
    model: OrderModel,
    rule: Literal["default", "lpmf", "depth-first", "breadth-first"],
) -> tuple[NDArray[np.int32], int, int]:
    """Order by a list rule: (order, peak, largest footprint of an operator)."""

def exact_order(
    model: OrderModel,
    *,
    time_limit_s: float,
    cancel: CancelFlag,
    seed: int = 0,
    incumbent: NDArray[np.int32] | None = None,
    dominance: bool = True,
    climbs: bool = True,
    decompose: bool = True,
    memory_bytes: int,
) -> tuple[NDArray[np.int32], int, int, dict[str, Any]]:
    """Order of the smallest peak: (order, peak, proven lower bound, statistics)."""

class OffsetInstance:
    """An offset problem on its sections. Immutable; any thread may use it."""

def offset_instance(
    *,
    lower: NDArray[np.int64],
    upper: NDArray[np.int64],
    size: NDArray[np.int64],
    alignment: NDArray[np.int64],
    fixed: NDArray[np.int64],
    use_rows: NDArray[np.int64],
    use_lower: NDArray[np.int64],
    use_upper: NDArray[np.int64],
    use_begin: NDArray[np.int64],
    use_end: NDArray[np.int64],
    rule_first: NDArray[np.int64],
    rule_second: NDArray[np.int64],
    rule_shared: NDArray[np.int64],
    rule_rows: NDArray[np.int64],
    forbidden_low: NDArray[np.int64],
    forbidden_high: NDArray[np.int64],
) -> OffsetInstance:
    """Take the arrays of a solvers.offsets.arrays.OffsetArrays."""

def offsets_lower_bound(instance: OffsetInstance) -> int:
    """Return a proven bound on the height of every packing."""

def offsets_pack(
    instance: OffsetInstance,
    hint: NDArray[np.int64],
    capacity: int,
    search: bool,
    time_limit_s: float,
    cancel: CancelFlag,
    shared: SharedBest | None = None,
    call_limit: int = 0,
) -> tuple[NDArray[np.int64], int, int, str, int, int, int, tuple[int, int] | None]:
    """Return offsets, height, proven bound, winning order, components, nodes, searches and clash.

    A clash is two buffers whose fixed offsets exclude each other; then there is no packing. A
    negative capacity asks for the lowest height; an empty hint is none; a positive call limit ends
    the search after as many steps on every machine.
    """

def offsets_squeeze(
    instance: OffsetInstance,
    start_offsets: NDArray[np.int64],
    goal: int,
    seed: int,
    time_limit_s: float,
    cancel: CancelFlag,
    shared: SharedBest | None = None,
) -> tuple[NDArray[np.int64], int, int]:
    """Return offsets, height and steps of squeezing a legal packing down to the goal or bound."""

MAPPING_FEATURES: int
MAPPING_STATIC_KEYS: int

class MappingModel: ...

def mapping_model(
    *,
    capacity: int,
    alignment: int,
    size: NDArray[np.int64],
    has_copy: NDArray[np.bool_],
    copy_in: NDArray[np.int64],
    copy_out: NDArray[np.int64],
    access_row: NDArray[np.int32],
    access_buffer: NDArray[np.int32],
    writes: NDArray[np.bool_],
    fast: NDArray[np.int64],
    slow: NDArray[np.int64],
    arithmetic: NDArray[np.int64],
    overhead: NDArray[np.int64],
    other_fast: NDArray[np.int64],
    other_slow: NDArray[np.int64],
    touches_fast: NDArray[np.bool_],
    touches_slow: NDArray[np.bool_],
    fast_latency: int,
    slow_latency: int,
    ready_in: NDArray[np.int64],
    ready_out: NDArray[np.int64],
) -> MappingModel: ...
def mapping_decode_keys(
    model: MappingModel,
    *,
    static_key: int,
    keys: NDArray[np.float64],
    window: int,
    fifo: bool,
    addresses: bool,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int64], int, int]: ...
def mapping_decode_weights(
    model: MappingModel,
    *,
    weights: NDArray[np.float64],
    residual: NDArray[np.float64],
    window: int,
    fifo: bool,
    addresses: bool,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int64], int, int]: ...
def mapping_search(
    model: MappingModel,
    *,
    weights: NDArray[np.float64],
    windows: NDArray[np.int32],
    evolution: int,
    attempts: int,
    fifo: bool,
    addresses: bool,
    seed: int,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int64], int, int]: ...
def mapping_refine(
    model: MappingModel,
    *,
    residencies: NDArray[np.int64],
    weights: NDArray[np.float64],
    window: int,
    fifo: bool,
    addresses: bool,
    attempts: int,
    seed: int,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int64], int, int]: ...
def mapping_evolve_keys(
    model: MappingModel,
    *,
    decodes: int,
    window: int,
    fifo: bool,
    seed: int,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int64], int, int]: ...

MAPPING_GAME_FEATURES: int
MAPPING_GAME_OFFERED: int
MAPPING_GAME_SHOWN: int

class MappingGame:
    def __init__(self, model: MappingModel, mode: str, window: int) -> None: ...
    def copy(self) -> MappingGame: ...
    def play(self, action: int) -> int: ...
    def play_random(
        self, seed: int, *, observe: bool, time_limit_s: float, cancel: CancelFlag | None
    ) -> int: ...
    def mask(self) -> NDArray[np.bool_]: ...
    def observation(self) -> NDArray[np.float32]: ...
    def residencies(self) -> NDArray[np.int64]: ...
    @property
    def done(self) -> bool: ...
    @property
    def actions(self) -> int: ...
    @property
    def latency(self) -> int: ...
    @property
    def backups(self) -> int: ...

def mapping_play_program_order(
    model: MappingModel,
    *,
    hidden: Sequence[int],
    parameters: NDArray[np.float32],
    window: int,
    simulations: int,
    horizon: int,
    noise: float,
    discount: float,
    sharpness: float,
    seed: int,
    record: bool,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[
    NDArray[np.int64],
    int,
    int,
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.int32],
]: ...

PIPELINE_NO_LIMIT: int

class PipelineModel:
    def __init__(
        self,
        *,
        forward: NDArray[np.int64],
        backward: NDArray[np.int64],
        weight: NDArray[np.int64],
        activation: NDArray[np.int64],
        kept: NDArray[np.int64],
        hop: NDArray[np.int64],
        device_of: NDArray[np.int32],
        limit: NDArray[np.int64],
        microbatches: int,
        makespan: bool,
    ) -> None: ...
    @property
    def passes(self) -> int: ...
    @property
    def period(self) -> int: ...

def pipeline_order_by_rank(
    model: PipelineModel,
    rank: NDArray[np.int64],
    *,
    reach_at_start: int,
    reach_between: int,
    reach_at_end: int,
    lazy_weights: bool,
    weight_delay: int,
    longest_stage: int,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int32], int, int] | None:
    """Order passes by rank, one a pass, within memory: order, longest stage, makespan."""

def pipeline_cost(
    model: PipelineModel, order: NDArray[np.int32]
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]: ...
def pipeline_fault(model: PipelineModel, order: NDArray[np.int32]) -> str: ...
def pipeline_shapes(
    model: PipelineModel,
    *,
    time_limit_s: float,
    cancel: CancelFlag,
    seed: int = 0,
    schedules: int,
    keep: int = 1,
    goal: int = 0,
) -> tuple[list[tuple[int, NDArray[np.int32]]], int]: ...
def pipeline_schedule(
    model: PipelineModel,
    target: NDArray[np.int64],
    *,
    wait: float = 0.0,
    weight_wait: float = 0.0,
    make_room: bool = False,
) -> NDArray[np.int32]: ...
def pipeline_annealing(
    model: PipelineModel,
    order: NDArray[np.int32],
    releases: NDArray[np.int64],
    *,
    time_limit_s: float,
    cancel: CancelFlag,
    seed: int = 0,
    steps: int,
    hottest: float = 0.02,
    coldest: float = 0.0005,
    goal: int = 0,
) -> tuple[NDArray[np.int32], int, dict[str, int]]: ...
def pipeline_suffix_bound(
    stages: NDArray[np.int64],
    microbatches: int,
    *,
    device: int,
    all_ends: bool,
    enough: int,
    most_nodes: int,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[int, int, list[NDArray[np.uint8]]]: ...
def zero_bubble_search(
    model: PipelineModel,
    *,
    budget: int,
    seed: int,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int32], int, int]: ...

class TrainingModel:
    """A checked training step. Immutable; any thread may use it."""

    def __init__(
        self,
        *,
        is_backward: NDArray[np.bool_],
        in_forward: NDArray[np.bool_],
        recomputable: NDArray[np.bool_],
        read_offsets: NDArray[np.int64],
        reads: NDArray[np.int32],
        write_offsets: NDArray[np.int64],
        writes: NDArray[np.int32],
        workspace: NDArray[np.int64],
        duration: NDArray[np.int64],
        size: NDArray[np.int64],
        forward_outputs: NDArray[np.int32],
        gradients: NDArray[np.int32],
        tangents: NDArray[np.int32],
    ) -> None: ...

class TrainingEvaluator:
    """What a training step keeps, changed step by step, and what that costs."""

    def __init__(self, model: TrainingModel) -> None: ...
    def evaluate(self, saved: NDArray[np.int32], repeated: NDArray[np.int32]) -> tuple[int, int]:
        """(peak bytes, recompute picoseconds) of saved storages and repeated operators."""
    def flip(self, saved: NDArray[np.int32], repeated: NDArray[np.int32]) -> tuple[int, int]:
        """The same after changing whether these are saved and repeated."""
    def time_flips(self, flips: int) -> float:
        """Seconds for so many flips of single storages."""

def training_greedy_drop(
    model: TrainingModel,
    saved: NDArray[np.int32],
    *,
    target: int,
    time_limit_s: float,
    cancel: CancelFlag | None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Drop saved storages while the peak is above the target: (saved, repeated)."""

class TrainingSearch:
    """Annealing that remembers the cheapest choice seen at each of many peaks."""

    def __init__(self, model: TrainingModel, greatest_peak: int) -> None:
        """Peaks are told apart in parts of the greatest one; ValueError if that is negative."""
    def offer(self, saved: NDArray[np.int32], repeated: NDArray[np.int32]) -> None:
        """Remember a choice."""
    def walk(
        self,
        *,
        target: int,
        evaluations: int,
        seed: int,
        price: float,
        whole_profile: bool,
        hottest: float,
        coldest: float,
        time_limit_s: float,
        cancel: CancelFlag | None,
    ) -> None:
        """Anneal recomputation plus priced bytes above a target, from what is known to be best."""
    def frontier(self) -> list[tuple[tuple[NDArray[np.int32], NDArray[np.int32]], int, int]]:
        """[((saved, repeated), peak, recompute)] by falling peak and growing recomputation."""
    def figures(self) -> list[int]:
        """Peak and recompute of each choice of the frontier, in one row."""
    @property
    def evaluations(self) -> int:
        """Moves tried."""
