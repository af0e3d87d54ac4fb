"""What executing a plan showed, in a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.execution.result import Verdict
from planner.report.names import printable

if TYPE_CHECKING:
    from planner.execution.result import Execution
    from planner.plans import Plan


def execution_text(plan: Plan, outcome: Execution, violations: int) -> str:
    """Return the report of ``plan run``.

    Parameters
    ----------
    violations : int
        What `planner.check` found.
    """
    steps = len(plan.order)
    lines = [
        ("model", f"{printable(plan.model.name)}   {_count(steps, 'operator')}"),
        ("target", printable(plan.target.name)),
        (
            "checked",
            "legal"
            if not violations
            else f"illegal: {_count(violations, 'violation')}, which plan check lists",
        ),
    ]
    if outcome.verdict is Verdict.NOT_EXECUTED:
        lines.append(("reason", printable(outcome.reason, _LONGEST_REASON)))
    else:
        lines += _figures(outcome)
    lines += [("note", note) for note in map(printable, outcome.notes)]
    lines.append(("verdict", _verdict(outcome)))
    return "\n".join(f"{key:<10}{text}" for key, text in lines)


_LONGEST_REASON = 600


def _figures(outcome: Execution) -> list[tuple[str, str]]:
    computed = outcome.steps - outcome.views
    done = [f"{_count(computed, 'operator')} run"]
    if outcome.views:
        done.append(f"{_count(outcome.views, 'view')} moved no bytes")
    if outcome.overwritten:
        done.append(f"{_count(outcome.overwritten, 'result')} written over an operand")
    if outcome.copies:
        done.append(f"{_count(outcome.copies, 'copy')} of {outcome.copied_bytes:,} B")
    lines = [("executed", ", ".join(done))]
    for memory, predicted in outcome.arena_bytes.items():
        measured = outcome.measured_bytes[memory]
        relation = "equal" if measured == predicted else "not equal"
        text = f"{memory} {predicted:,} B predicted, {measured:,} B measured ({relation})"
        lines.append(("arena", text))
    compared = f"{_count(outcome.compared, 'tensor')} with unoptimised ONNX Runtime, bit for bit"
    if outcome.skipped:
        compared += f"; {outcome.skipped:,} skipped, they depend on random operators"
    lines.append(("compared", compared))
    lines.append(
        (
            "cpu",
            f"arena {outcome.arena_s:.3f} s, reference {outcome.reference_s:.3f} s; "
            f"the whole model at once {outcome.runtime_s:.3f} s",
        )
    )
    return lines


def _verdict(outcome: Execution) -> str:
    if outcome.mismatch is None:
        return str(outcome.verdict)
    return f"{outcome.verdict}: {printable(outcome.mismatch.message, _LONGEST_REASON)}"


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"
