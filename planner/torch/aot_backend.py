"""A backend of ``torch.compile`` that runs planned training steps operator by operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch._dynamo.backends.common import aot_autograd

from planner.torch.boxed import boxed
from planner.torch.joint_partitioner import PeakPartitioner
from planner.torch.plan_options import PlanOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.fx import GraphModule

    from planner.target import Target
    from planner.torch.planned_step import PlannedStep


class PlannedBackend:
    """Compiles by planning; operators are run as eager PyTorch runs them.

    Attributes
    ----------
    plans : list of PlannedStep
        Of all graphs compiled so far. Of graphs that need no backward half there is none.
    """

    __name__ = "planner"

    def __init__(self, options: PlanOptions) -> None:
        self._partitioner = PeakPartitioner(options)
        self._compile = aot_autograd(
            fw_compiler=boxed, bw_compiler=boxed, partition_fn=self._partitioner
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return PlannedBackend, (self._partitioner.options,)

    def __deepcopy__(self, memo: dict[int, Any]) -> PlannedBackend:
        return self

    @property
    def plans(self) -> list[PlannedStep]:
        """Plans of all graphs compiled so far."""
        return self._partitioner.plans

    def __call__(self, module: GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile a graph, as ``torch.compile`` asks of a backend."""
        return self._compile(module, example_inputs)


def backend(
    *,
    budget_bytes: int,
    target: str | Target | None = None,
    host_bytes: int = 0,
    time_limit: float = 30.0,
    seed: int = 0,
) -> PlannedBackend:
    """Return a backend for ``torch.compile(model, backend=...)`` that needs no Inductor.

    Every graph that ``torch.compile`` cuts out of the program is planned to the budget on its own.
    A graph of symbolic sizes is planned for those that it was traced with: compile with
    ``dynamic=False`` if larger ones may follow.
    Results and gradients equal those of eager PyTorch bit for bit where its operators give the same
    results every time.

    Parameters
    ----------
    budget_bytes : int
        Most bytes live at once, above parameters, buffers and inputs.
    target, host_bytes, time_limit, seed
        See `planner.torch.plan`.

    Raises
    ------
    planner.errors.UsageError
        If an option is wrong.
    """
    return PlannedBackend(PlanOptions(budget_bytes, target, host_bytes, time_limit, seed))
