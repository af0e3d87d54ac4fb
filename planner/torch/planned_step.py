"""A planned training step of a PyTorch model: what it costs, and what becomes of each tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from frontends.torch.module_paths import module_path

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from frontends.torch.joint import JointProgram
    from planner.problem import Status
    from planner.training.result import TrainingResult
    from planner.training.schedule import TrainingSchedule

_LISTED = 20


class Decision(NamedTuple):
    """What becomes of one tensor of the forward half that the backward half needs.

    Attributes
    ----------
    name : str
    action : str
        ``keep``, ``recompute`` or ``offload``.
    size_bytes : int
    module : str
        Path of the module that computes it; empty where that is unknown.
    executions : int
        How often its operator runs in the backward half.
    """

    name: str
    action: str
    size_bytes: int
    module: str
    executions: int


@dataclass(frozen=True, eq=False, repr=False)
class PlannedStep:
    """A training step planned to a budget of bytes, and what is proven about it.

    Attributes
    ----------
    joint : JointProgram
        The traced step.
    result : TrainingResult
        The race, with its bounds and its frontier.
    compiled_peak_bytes : int or None
        The most bytes live at once in the code that Inductor generates for the step; None where
        Inductor does not compile it.
    """

    joint: JointProgram
    result: TrainingResult
    compiled_peak_bytes: int | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether the peak is that of code which Inductor generates; then nothing is proven."""
        return self.compiled_peak_bytes is not None

    @property
    def budget_bytes(self) -> int:
        """The budget, above parameters, buffers and inputs."""
        return self.result.budget_bytes

    @property
    def predicted_peak_bytes(self) -> int:
        """The most bytes live at once, above parameters, buffers and inputs."""
        if self.compiled_peak_bytes is not None:
            return self.compiled_peak_bytes
        return self.result.predicted_peak_bytes

    @property
    def static_bytes(self) -> int:
        """Parameters, buffers and inputs."""
        return self.result.problem.static_bytes

    @property
    def recompute_s(self) -> float:
        """Seconds of what is computed more than once, at the target's rates."""
        return self.result.recompute_s

    @property
    def host_bytes(self) -> int:
        """The most bytes on the host at once."""
        return self.result.host_bytes

    @property
    def peak_bound_bytes(self) -> int:
        """No schedule of this step has a lower peak."""
        return self.result.peak_bound_bytes

    @property
    def extra_bound_s(self) -> float:
        """No schedule within the budget takes less extra time than this."""
        return self.result.extra_bound_s

    @property
    def status(self) -> Status:
        """Whether it is proven that no schedule within the budget takes less extra time."""
        return self.result.status

    @property
    def schedule(self) -> TrainingSchedule:
        """What runs, in order."""
        return self.result.schedule

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """What becomes of each tensor that the backward half needs, largest first."""
        problem, schedule = self.joint.problem, self.schedule
        saved = {*schedule.saved, *problem.forward_outputs.tolist()}
        offloaded = {offload.storage for offload in schedule.offloads}
        executions = dict.fromkeys(range(len(problem.operator_names)), 0)
        read = set(problem.gradients.tolist())
        for operator in schedule.backward:
            executions[operator] += 1
            read.update(problem.reads.row(operator).tolist())
        decisions = []
        for storage in sorted(read):
            operator = int(problem.producer[storage])
            if operator < 0 or problem.is_backward[operator]:
                continue
            action = "keep" if storage in saved else "recompute"
            decisions.append(
                Decision(
                    problem.storage_names[storage],
                    "offload" if storage in offloaded else action,
                    int(problem.size_bytes[storage]),
                    module_path(self.joint.nodes[operator]),
                    executions[operator],
                )
            )
        return tuple(sorted(decisions, key=lambda d: (-d.size_bytes, d.name)))

    def halves(self) -> tuple[GraphModule, GraphModule]:
        """Return the forward and the backward module, as AOTAutograd wants them."""
        from planner.torch.emission import planned_halves

        return planned_halves(self.joint, self.schedule)

    def text(self) -> str:
        """Return a report for people."""
        lines = self._in_generated_code() if self.is_compiled else self._as_traced()
        for action in ("keep", "recompute", "offload"):
            chosen = [d for d in self.decisions if d.action == action]
            size = sum(d.size_bytes for d in chosen)
            lines.append(f"{action}: {len(chosen):,} tensors, {size:,} bytes")
            lines += [f"  {d.size_bytes:>14,}  {d.name}" for d in chosen[:_LISTED]]
            if len(chosen) > _LISTED:
                lines.append(f"  and {len(chosen) - _LISTED:,} smaller")
        return "\n".join(lines)

    def _as_traced(self) -> list[str]:
        result = self.result
        return [
            f"peak {self.predicted_peak_bytes:,} of {self.budget_bytes:,} bytes above "
            f"{self.static_bytes:,} of parameters, buffers and inputs, at {result.peak_step}",
            f"recomputation {1e3 * self.recompute_s:,.3f} ms and stalls "
            f"{1e3 * result.stall_s:,.3f} ms beside {1e3 * result.step_s:,.3f} ms; at least "
            f"{1e3 * self.extra_bound_s:,.3f} ms are needed "
            f"({result.status.value}, by {result.contender})",
            f"least possible peak: {self.peak_bound_bytes:,} bytes or more; "
            f"on the host: {self.host_bytes:,} bytes",
        ]

    def _in_generated_code(self) -> list[str]:
        result = self.result
        return [
            f"peak {self.predicted_peak_bytes:,} of {self.budget_bytes:,} bytes above "
            f"{self.static_bytes:,} of parameters, buffers and inputs, in Inductor's code",
            f"recomputation {1e3 * self.recompute_s:,.3f} ms and stalls "
            f"{1e3 * result.stall_s:,.3f} ms beside {1e3 * result.step_s:,.3f} ms, before fusion "
            f"(by {result.contender}); on the host: {self.host_bytes:,} bytes",
        ]

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<PlannedStep of {self.predicted_peak_bytes:,} of {self.budget_bytes:,} bytes>"
