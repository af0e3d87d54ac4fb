"""Every case of the training suite, one at a time: torch's sweep, our race, the execution."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.cpu_time import cpu_seconds
from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from frontends.torch.joint import JointProgram
    from planner.bench.training_cases import TrainingCase
    from planner.torch.step_trials import Trial
    from planner.training.result import TrainingContender, TrainingResult
    from planner.training.seed import Seed

BELOW_TORCH = "below torch"
# Who takes part in the race but is no search of ours.
_GIVEN = ("save-all", "torch", "bound", "offload")


class SweepPoint(NamedTuple):
    """What PyTorch's partitioner saves at a budget, recomputed just in time.

    Attributes
    ----------
    budget : str
        The largest ``activation_memory_budget`` at which it saves this.
    peak_bytes, recompute_ps : int
    """

    budget: str
    peak_bytes: int
    recompute_ps: int


class StepResult(NamedTuple):
    """A training step before it is planned to a target.

    Attributes
    ----------
    case : TrainingCase
    nodes : int
        Of the joint graph that AOTAutograd makes.
    operators, storages : int
        Of the training problem.
    static_bytes : int
        Parameters, buffers and inputs.
    step_ps : int
        Of every operator once.
    unplanned_bytes : int
        Predicted peak in eager PyTorch.
    eager_bytes : int or None
        The measured one; None if the step is not executed.
    least_bytes : int
        No schedule has a lower peak.
    sweep : tuple of SweepPoint
        By falling budget.
    trace_s, lowering_s, cuts_s, sweep_s : float
        CPU seconds: of tracing, of lowering, of PyTorch's minimum cuts that `planner.torch.plan`
        starts from, and of those at all budgets.
    """

    case: TrainingCase
    nodes: int
    operators: int
    storages: int
    static_bytes: int
    step_ps: int
    unplanned_bytes: int
    eager_bytes: int | None
    least_bytes: int
    sweep: tuple[SweepPoint, ...]
    trace_s: float
    lowering_s: float
    cuts_s: float
    sweep_s: float

    @property
    def before_race_s(self) -> float:
        """CPU seconds of planning that no target adds to."""
        return self.trace_s + self.lowering_s + self.cuts_s


class TargetResult(NamedTuple):
    """One step planned to one target.

    Attributes
    ----------
    step : StepResult
    label : str
        Which target: a share of the unplanned peak, or `BELOW_TORCH`.
    target_bytes : int
    status : str
        Of the plan, as in `planner.training.result.TrainingResult`.
    peak_bytes, recompute_ps : int
        Of the plan; where none fits, of the one of the least peak.
    bound_ps : int
        No schedule within the target recomputes less.
    bound_name, contender : str
    race_s : float
        CPU seconds of the race.
    frontier : tuple of (int, int)
        Peaks and recomputation of our plans for all budgets; empty where time cut them short.
    parts : tuple of TrainingContender
        The searches of the race.
    alone : tuple of TrainingContender
        Solvers that were named, each raced by itself, without PyTorch's plans to start from.
    trial : Trial or None
        The execution; None where there was none.
    failure : str
        Why the execution failed.
    """

    step: StepResult
    label: str
    target_bytes: int
    status: str
    peak_bytes: int
    recompute_ps: int
    bound_ps: int
    bound_name: str
    contender: str
    race_s: float
    frontier: tuple[tuple[int, int], ...]
    parts: tuple[TrainingContender, ...]
    alone: tuple[TrainingContender, ...] = ()
    trial: Trial | None = None
    failure: str = ""

    @property
    def fits(self) -> bool:
        """Whether the plan keeps the target."""
        return self.peak_bytes <= self.target_bytes

    @property
    def best_torch(self) -> SweepPoint | None:
        """The point of PyTorch's sweep that keeps the target at the least recomputation."""
        fitting = [p for p in self.step.sweep if p.peak_bytes <= self.target_bytes]
        return min(fitting, key=lambda point: point.recompute_ps, default=None)

    @property
    def reduction(self) -> float | None:
        """Share of PyTorch's recomputation that ours saves; None where it has none or no plan."""
        best = self.best_torch
        if best is None or not best.recompute_ps or not self.fits:
            return None
        return 1 - self.recompute_ps / best.recompute_ps


def chosen_solvers(names: Sequence[str] | None) -> list[str]:
    """Return the names of solvers to race by themselves beside the race of all; none if None.

    Raises
    ------
    UsageError
        If a name is unknown, or there is none.
    """
    from solvers.training.catalogue import CONTENDERS, refuse_unknown

    if names is not None and not names:
        known = ", ".join(contender.name for contender in CONTENDERS)
        raise UsageError(f"no solver is named. There are: {known}.")
    refuse_unknown(names or ())
    return list(dict.fromkeys(names or ()))


def run_cases(
    cases: Iterable[TrainingCase],
    solvers: Sequence[str],
    *,
    time_limit_s: float,
    seed: int,
    on_progress: Callable[[str], None],
) -> Iterator[TargetResult]:
    """Plan everything one after the other, so that each has the machine to itself.

    Parameters
    ----------
    solvers : sequence of str
        Raced by themselves beside the race of all.
    time_limit_s : float
        For each race.
    on_progress : callable
        Receives a line before each run.

    Raises
    ------
    KeyboardInterrupt
        When interrupted; a target whose race has begun comes before.
    """
    from frontends.torch.zoo import built
    from planner.torch.joint_capture import capture

    on_progress("loading")
    capture(*built("mlp", batch=4, blocks=1))
    for case in cases:
        yield from _run_case(case, solvers, time_limit_s, seed, on_progress)


def _run_case(
    case: TrainingCase,
    solvers: Sequence[str],
    time_limit_s: float,
    seed: int,
    on_progress: Callable[[str], None],
) -> Iterator[TargetResult]:
    from frontends.torch.zoo import built
    from planner.training.race import plan_training

    on_progress(f"{case.name}: tracing, PyTorch's partitions")
    model, inputs = built(case.network, has_data=case.is_executed, **case.sizes)
    joint, seeds, step = _stated(case, model, inputs)
    for label, target in _targets(step):
        where = f"{case.name}, {target:,} bytes"
        on_progress(f"{where}: planning")
        started = cpu_seconds()
        result = plan_training(
            joint.problem, target, seeds=seeds, time_limit=time_limit_s, seed=seed
        )
        row = _row(step, label, result, cpu_seconds() - started)
        interrupted = result.interrupted
        alone: list[TrainingContender] = []
        for name in solvers:
            if interrupted:
                break
            on_progress(f"{where}: {name}")
            its_result = plan_training(
                joint.problem, target, time_limit=time_limit_s, seed=seed, solvers=[name]
            )
            interrupted = its_result.interrupted
            alone += [c for c in its_result.contenders if c.name == name]
        row = row._replace(alone=tuple(alone))
        if interrupted:
            yield row
            raise KeyboardInterrupt
        if case.is_executed and row.fits:
            on_progress(f"{where}: executing")
            row = _executed(row, model, inputs, result)
        yield row


def _stated(
    case: TrainingCase, model: Any, inputs: Any
) -> tuple[JointProgram, tuple[Seed, ...], StepResult]:
    """Trace and lower the step, and ask PyTorch's partitioner."""
    from planner.torch.joint_capture import capture
    from planner.torch.peak_estimate import estimate_of
    from planner.torch.planning import lowered
    from planner.torch.saved_sets import affordable_budgets, torch_seeds
    from planner.torch.step_trials import eager_peak
    from solvers.training.bounds import peak_bound

    times = [cpu_seconds()]
    captured = capture(model, inputs)
    nodes = len(captured.module.graph.nodes)
    times.append(cpu_seconds())
    joint = lowered(captured)
    times.append(cpu_seconds())
    seeds = torch_seeds(joint, affordable_budgets(joint))
    times.append(cpu_seconds())
    sweep = torch_seeds(joint)
    times.append(cpu_seconds())
    problem = joint.problem
    points = tuple(
        SweepPoint(seed.name.removeprefix("torch "), seed.peak_bytes, seed.recompute_ps)
        for seed in sweep
    )
    trace_s, lowering_s, cuts_s, sweep_s = (after - before for before, after in pairwise(times))
    step = StepResult(
        case=case,
        nodes=nodes,
        operators=len(problem.duration_ps),
        storages=len(problem.size_bytes),
        static_bytes=problem.static_bytes,
        step_ps=int(problem.duration_ps.sum()),
        unplanned_bytes=estimate_of(joint).peak_bytes,
        eager_bytes=eager_peak(model, inputs) if case.is_executed else None,
        least_bytes=peak_bound(problem),
        sweep=points,
        trace_s=trace_s,
        lowering_s=lowering_s,
        cuts_s=cuts_s,
        sweep_s=sweep_s,
    )
    return joint, seeds, step


def _targets(step: StepResult) -> Iterator[tuple[str, int]]:
    for share in step.case.shares:
        yield f"{100 * share:g} %", int(share * step.unplanned_bytes)
    least = min((point.peak_bytes for point in step.sweep), default=0)
    if least > step.least_bytes:
        yield BELOW_TORCH, (least + step.least_bytes) // 2


def _row(step: StepResult, label: str, result: TrainingResult, race_s: float) -> TargetResult:
    from planner.training.schedule import recompute_ps

    frontier = tuple((point.peak_bytes, point.recompute_ps) for point in result.frontier)
    return TargetResult(
        step=step,
        label=label,
        target_bytes=result.budget_bytes,
        status=result.status.value,
        peak_bytes=result.predicted_peak_bytes,
        recompute_ps=recompute_ps(result.problem, result.schedule),
        bound_ps=result.extra_bound_ps,
        bound_name=result.bound_name,
        contender=result.contender,
        race_s=race_s,
        frontier=frontier if result.frontier_complete else (),
        parts=tuple(c for c in result.contenders if c.name not in _GIVEN),
    )


def _executed(row: TargetResult, model: Any, inputs: Any, result: TrainingResult) -> TargetResult:
    from planner.torch.step_trials import tried

    try:
        return row._replace(trial=tried(model, inputs, result.schedule))
    except Exception as error:  # the plan is a result, whatever became of its execution
        lines = str(error).splitlines()
        return row._replace(failure=f"{type(error).__name__}: {lines[0] if lines else ''}")
