"""Executions as text and as one JSON object."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from planner.bench.text_table import render_columns
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.execution_cases import ExecutionCase
    from planner.execution.result import Execution

LONG_RUNTIME_S = 0.1
"""Ratios to ONNX Runtime say something about models that take longer than this."""

_COLUMNS = (
    *("network", "ops", "memory", "in place", "arena B", "measured B", "spilled B"),
    *("compared", "ORT s", "warm s", "ratio", "first ms/op", "verdict"),
)
_LEFT = frozenset({"network", "memory", "verdict"})
_NAME_WIDTH = 28
_VERDICT_WIDTH = 70


def render_table(cases: Sequence[ExecutionCase]) -> str:
    """Return a line for each model and plan."""
    return render_columns(_COLUMNS, [_row(case) for case in cases], left=_LEFT)


def render_summary(cases: Sequence[ExecutionCase]) -> str:
    """Return what holds for all: verdicts, and the cost of executing."""
    ran = [case for case in cases if case.first is not None]
    exact = sum(case.verdict == "exact" for case in ran)
    equal = sum(case.arena_bytes == case.measured_bytes for case in ran)
    lines = [
        f"{exact:,} of {len(ran):,} executions are exact; the measured arena is the planned one in "
        f"{equal:,}."
    ]
    ratios = [r for case in ran if _is_long(case) and (r := _ratio(case)) is not None]
    if ratios:
        lines.append(
            f"Models above {LONG_RUNTIME_S:g} s: warm execution, reference and comparisons "
            f"included, takes {median(ratios):.2f} (median), at most {max(ratios):.2f} times the "
            "CPU seconds of unoptimised ONNX Runtime."
        )
    firsts = [_first_ms(case) for case in ran]
    if firsts:
        lines.append(
            f"The first execution takes {median(firsts):.2f} ms CPU an operator more than the next "
            f"(median), at most {max(firsts):.2f}."
        )
    return "\n".join(lines)


def results_object(
    cases: Sequence[ExecutionCase],
    *,
    time_limit_s: float,
    seed: int,
    notes: Sequence[str],
    interrupted: bool,
) -> dict[str, Any]:
    """Return everything as one JSON object."""
    return {
        "format": "planner.bench.execution",
        "version": 1,
        "time_limit_s": time_limit_s,
        "seed": seed,
        "interrupted": interrupted,
        "notes": list(notes),
        "cases": [_object(case) for case in cases],
    }


def _row(case: ExecutionCase) -> dict[str, str]:
    row = {
        **dict.fromkeys(_COLUMNS, ""),
        "network": printable(case.network, _NAME_WIDTH),
        "ops": f"{case.operators:,}" if case.operators else "",
        "memory": "no limit" if case.capacity_bytes is None else f"{case.capacity_bytes:,}",
        "verdict": printable(case.verdict, _VERDICT_WIDTH),
    }
    if case.first is None or case.warm is None:
        return row
    ratio = _ratio(case)
    return {
        **row,
        "in place": f"{case.first.overwritten:,}" if case.in_place else "off",
        "arena B": f"{case.arena_bytes:,}",
        "measured B": f"{case.measured_bytes:,}",
        "spilled B": f"{case.traffic_bytes:,}" if case.is_limited else "",
        "compared": f"{case.first.compared:,}",
        "ORT s": f"{case.warm.runtime_s:.3f}",
        "warm s": f"{_seconds(case.warm):.3f}",
        "ratio": "" if ratio is None else f"{ratio:.2f}",
        "first ms/op": f"{_first_ms(case):.2f}",
    }


def _object(case: ExecutionCase) -> dict[str, Any]:
    found: dict[str, Any] = {
        "network": case.network,
        "operators": case.operators,
        "capacity_bytes": case.capacity_bytes,
        "in_place": case.in_place,
        "verdict": case.verdict,
    }
    if case.first is not None and case.warm is not None:
        found |= {
            "arena_bytes": case.arena_bytes,
            "measured_bytes": case.measured_bytes,
            "traffic_bytes": case.traffic_bytes,
            "overwritten": case.first.overwritten,
            "views": case.first.views,
            "compared": case.first.compared,
            "skipped": case.first.skipped,
            "runtime_cpu_s": case.warm.runtime_s,
            "first_cpu_s": _seconds(case.first),
            "warm_cpu_s": _seconds(case.warm),
        }
    return found


def _seconds(outcome: Execution) -> float:
    """CPU seconds of an execution, those of its reference included."""
    return outcome.arena_s + outcome.reference_s


def _ratio(case: ExecutionCase) -> float | None:
    if case.warm is None or case.warm.runtime_s <= 0:
        return None
    return _seconds(case.warm) / case.warm.runtime_s


def _is_long(case: ExecutionCase) -> bool:
    return case.warm is not None and case.warm.runtime_s > LONG_RUNTIME_S


def _first_ms(case: ExecutionCase) -> float:
    """Milliseconds per operator by which the first execution takes longer than the next."""
    if case.first is None or case.warm is None or not case.operators:
        return 0.0
    return 1e3 * (_seconds(case.first) - _seconds(case.warm)) / case.operators
