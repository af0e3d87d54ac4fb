"""`planner.execute`: prove a plan by running its model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.errors import InvalidPlanError, UsageError
from planner.execution.result import Execution, Verdict
from planner.graph import Graph
from planner.plans import Plan
from planner.result import PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from planner.execution.model import RunnableModel
    from planner.execution.reference import Reference
    from planner.execution.whole_model import WholeRun


def execute(
    source: Any,
    plan: Plan,
    *,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Execution:
    """Run a model inside its planned memory and compare every tensor with ONNX Runtime.

    Operators run one by one in the planned order, every storage at its planned address in one byte
    array per memory, of the planned size. Transfers copy bytes, released bytes are poisoned. Every
    operand is compared, bit for bit, right before it is read, every result right after it is
    written, with the values that unoptimised ONNX Runtime gives for the whole model.

    Parameters
    ----------
    source : path or onnx.ModelProto
        The plan's model. Absent weights are drawn from the seed.
    plan : Plan
        Legal or not: an illegal one goes wrong, and the verdict says where.
    seed : int
        Of absent weights and of inputs that are not given.
    inputs : mapping of str to array
        Values of graph inputs. Others are drawn: floats normal, integers 0 and 1.
    on_step : callable taking (int, int)
        Told the step about to run, and their number.

    Returns
    -------
    Execution
        With the verdict ``not executed`` and the reason where ONNX Runtime refuses the model.

    Raises
    ------
    InvalidPlanError
        If the plan is for another model, or names what does not exist.
    UsageError
        If onnxruntime is not installed, or an input does not fit.
    PlannerError
        As `planner.load`.

    Examples
    --------
    >>> import planner
    >>> from frontends import zoo
    >>> model = zoo.build("resnet8")
    >>> planner.execute(model, planner.plan(model, target="mcu-256k").plan).verdict.value
    'exact'
    """
    from planner.execution.executor import execute_plan
    from planner.execution.sessions import RuntimeRefusalError

    _require_arguments(source, plan)
    try:
        prepared = prepare(source, plan, seed=seed, inputs=inputs)
        outcome = execute_plan(prepared.model, prepared.reference, plan, on_step)
    except RuntimeRefusalError as error:
        return Execution(Verdict.NOT_EXECUTED, reason=f"ONNX Runtime refuses the model: {error}")
    except MemoryError:
        sizes = ", ".join(f"{n:,} B of {m}" for m, n in plan.metrics.arena_bytes.items() if n)
        return Execution(Verdict.NOT_EXECUTED, reason=f"this machine cannot hold {sizes}")
    if outcome.mismatch is None:
        disagreement = prepared.whole.disagreement(prepared.reference)
        if disagreement is not None:
            outcome = replace(outcome, verdict=Verdict.MISMATCH, mismatch=disagreement)
    return replace(outcome, runtime_s=prepared.whole.cpu_s, notes=prepared.notes)


def _require_arguments(source: Any, plan: Any) -> None:
    """Refuse what is easily given instead of a model and its plan."""
    if not isinstance(plan, Plan):
        hint = " Give result.plan." if isinstance(plan, PlanResult) else ""
        raise UsageError(f"cannot execute a {type(plan).__name__}: a planner.Plan is needed.{hint}")
    if isinstance(source, Graph):
        raise UsageError(
            "a planner.Graph has no operators to run: give the path of the model or a ModelProto."
        )


class Prepared(NamedTuple):
    """A model that is ready to execute plans of one lowering.

    Attributes
    ----------
    model : RunnableModel
    reference : Reference
    whole : WholeRun
        What the model file gives as it is.
    notes : tuple of str
    """

    model: RunnableModel
    reference: Reference
    whole: WholeRun
    notes: tuple[str, ...]


def prepare(
    source: Any, plan: Plan, *, seed: int = 0, inputs: Mapping[str, Any] | None = None
) -> Prepared:
    """Lower a model as its plan says, choose inputs, and run the whole of it once.

    Parameters and errors as for `execute`; also RuntimeRefusalError if ONNX Runtime refuses it.
    """
    from frontends.onnx.executable import load_executable
    from planner.execution.inputs import inputs_from
    from planner.execution.model import RunnableModel
    from planner.execution.reference import Reference
    from planner.execution.sessions import ValueType, runtime
    from planner.execution.whole_model import run_whole_model
    from planner.graph import StorageKind
    from planner.parameters import with_parameters

    runtime()
    of = plan.model
    executable = load_executable(
        source,
        dims=dict(of.dims),
        shapes=dict(of.shapes),
        zero_copy=of.zero_copy,
        alignment_bytes=plan.target.nearest.alignment_bytes,
        seed=seed,
    )
    graph = with_parameters(executable.graph) if of.parameters else executable.graph
    require_same_model(graph, plan)
    model = RunnableModel(executable, graph)
    types: dict[str, ValueType] = {}
    for index, tensor in enumerate(executable.graph.tensors):
        kind = executable.graph.storages[tensor.storage].kind
        if kind is StorageKind.INPUT and executable.graph.producer[index] < 0:
            types[tensor.name] = model.type_of(index)
    chosen = inputs_from(types, dict(inputs or {}), seed)
    whole = run_whole_model(model, types, chosen, given=set(inputs or {}))
    model.inputs = whole.inputs
    return Prepared(model, Reference(model), whole, (*executable.notes, *whole.notes))


def require_same_model(graph: Graph, plan: Plan) -> None:
    """Refuse a plan whose indices and names are not those of a graph.

    Raises
    ------
    InvalidPlanError
        With the first thing that does not agree.
    """
    from planner.checker import check
    from planner.violation import ViolationKind

    fatal = (ViolationKind.MODEL, ViolationKind.UNKNOWN)
    for violation in check(graph, plan.target, plan):
        if violation.kind in fatal:
            raise InvalidPlanError(violation.message)
    if sorted(plan.order) != list(range(len(graph.operators))):
        raise InvalidPlanError("the plan does not run every operator of the model once.")
