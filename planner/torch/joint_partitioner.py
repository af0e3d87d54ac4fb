"""A partitioner of joint graphs that plans them to a peak in bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch._functorch.partitioners import default_partition
from torch._inductor.custom_graph_pass import CustomPartitionerFn

from frontends.torch.halves import results_of
from planner.errors import PlannerError
from planner.torch.compile_errors import as_compile_error
from planner.torch.joint_capture import captured_step
from planner.torch.plan_options import PlanOptions
from planner.torch.planning import plan_captured
from planner.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.fx import GraphModule

    from planner.target import Target
    from planner.torch.planned_step import PlannedStep


class PeakPartitioner(CustomPartitionerFn):
    """Cuts joint graphs in two halves whose step keeps a budget of bytes.

    Attributes
    ----------
    options : PlanOptions
    plans : list of PlannedStep
        Of all graphs planned so far. Of graphs that need no backward half there is none, nor of
        those that PyTorch's caches of compiled code provide: there the halves of an equal
        partitioner, with the same options and code, are taken as they are.
    """

    def __init__(self, options: PlanOptions) -> None:
        self.options = options
        self.plans: list[PlannedStep] = []

    # Inductor copies and pickles its configuration, this object included; plans hold fake tensors,
    # which allow neither.

    def __deepcopy__(self, memo: dict[int, Any]) -> PeakPartitioner:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return PeakPartitioner, (self.options,)

    def uuid(self) -> str:
        """Return what the halves depend on beside the graph: this code, and the options."""
        return hashlib.sha256(repr((_code_version(), self.options)).encode()).hexdigest()

    def __call__(
        self,
        gm: GraphModule,
        joint_inputs: Sequence[object],
        *,
        num_fwd_outputs: int,
        static_lifetime_input_indices: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> tuple[GraphModule, GraphModule]:
        """Plan a joint graph, and return its forward and its backward module.

        Raises
        ------
        planner.errors.DoesNotFitError
            If no plan keeps the budget.
        planner.errors.LoweringError
            If the graph's tensors have no known sizes.
        """
        if all(result is None for result in results_of(gm.graph)[num_fwd_outputs:]):
            return default_partition(
                gm,
                joint_inputs,
                num_fwd_outputs=num_fwd_outputs,
                static_lifetime_input_indices=list(static_lifetime_input_indices or ()),
            )
        step = captured_step(gm, num_fwd_outputs, static_lifetime_input_indices)
        try:
            if kwargs.get("compiler") == "inductor":
                # Imports the compiler, which other backends do without.
                from planner.torch.inductor_plan import plan_for_inductor as plan
            else:
                plan = plan_captured
            planned = plan(step, self.options)
        except PlannerError as error:
            raise as_compile_error(error) from None
        self.plans.append(planned)
        return planned.halves()


def partitioner(
    *,
    budget_bytes: int,
    target: str | Target | None = None,
    host_bytes: int = 0,
    time_limit: float = 30.0,
    seed: int = 0,
) -> PeakPartitioner:
    """Return a partitioner for ``torch._inductor.config.custom_partitioner_fn``.

    Every graph that ``torch.compile`` cuts out of the program is planned to the budget on its own.
    A graph of symbolic sizes is planned for those that it was traced with: compile with
    ``dynamic=False`` if larger ones may follow.
    Give it to one compilation, ``torch.compile(model, options={"custom_partitioner_fn": ...})``,
    or to all that follow, ``torch._inductor.config.custom_partitioner_fn = ...``; what
    is compiled already stays as it is until ``torch._dynamo.reset()``.

    Inductor fuses and schedules operators after planning. Its code is therefore generated for
    several plans, as it would be for the chosen one, and the cheapest is taken whose code keeps the
    budget: ``plans`` tell the peaks of code, not of operators as they were traced.

    Parameters
    ----------
    budget_bytes : int
        Most bytes live at once, above parameters, buffers and inputs.
    target, host_bytes, seed
        See `planner.torch.plan`.
    time_limit : float
        Seconds of planning, and about as many again of generating code.

    Returns
    -------
    PeakPartitioner
        Its ``plans`` tell what became of each compiled graph.

    Raises
    ------
    planner.errors.UsageError
        If an option is wrong.
    """
    return PeakPartitioner(PlanOptions(budget_bytes, target, host_bytes, time_limit, seed))


def _code_version() -> str:
    """Return the version of this package, and a digest of the code that plans and emits."""
    digest = hashlib.sha256(VERSION.encode())
    root = Path(__file__).parents[1]
    for folder in (root / "torch", root / "training", root.parent / "frontends" / "torch"):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
