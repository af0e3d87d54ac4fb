"""What each kind of sharing saves: the table, the summary, the JSON object."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from planner.bench.results_envelope import envelope
from planner.bench.sharing_cases import SETTINGS, saved_bytes, saved_share
from planner.bench.text_table import render_columns
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.sharing_cases import SharingCase, SharingRun

_NAME_WIDTH = 28
_LINE_WIDTH = 120
_VIEWS_ONLY, *_SHARING = SETTINGS
_FIRST = ("network", "ops")
_LAST = ("operators", "not copied", "CPU s", "plans")


def render_table(cases: Sequence[SharingCase]) -> str:
    """Return a line for each network; ``saved`` is about the arena without any sharing."""
    columns = [
        *_FIRST,
        *(f"{_VIEWS_ONLY} {kind}" for kind in ("peak", "arena")),
        *(f"{setting} {kind}" for setting in _SHARING for kind in ("peak", "arena", "saved", "%")),
        *_LAST,
    ]
    heads = {name: name if name.endswith(" peak") else name.split()[-1] for name in columns}
    heads |= {"not copied": "bytes not copied", "operators": "without copy", "CPU s": "CPU s"}
    return render_columns(
        columns, [_row(case) for case in cases], left={"network", "plans"}, heads=heads
    )


def _row(case: SharingCase) -> dict[str, str]:
    both = case.runs[-1]
    row = {
        "network": printable(case.network, _NAME_WIDTH),
        "ops": f"{case.operators:,}",
        "operators": f"{both.shared:,}/{both.candidates:,}",
        "not copied": f"{both.bytes_not_copied:,}",
        "CPU s": f"{sum(run.cpu_s for run in case.runs):.2f}",
        "plans": "legal" if all(run.is_checked for run in case.runs) else "ILLEGAL",
    }
    for run in case.runs:
        mark = "" if run.status == "optimal" else "*"
        row[f"{run.setting} peak"] = f"{run.peak_bytes:,}{mark}"
        row[f"{run.setting} arena"] = f"{run.arena_bytes:,}"
        if run is not case.views_only:
            row[f"{run.setting} saved"] = f"{saved_bytes(case, run):,}"
            row[f"{run.setting} %"] = f"{100 * saved_share(case, run):.1f}"
    return row


def render_summary(cases: Sequence[SharingCase]) -> str:
    """Return how many networks each kind of sharing helps, and how to read the table."""
    lines = []
    for index, setting in enumerate(SETTINGS):
        runs = [(case, case.runs[index]) for case in cases]
        if setting != _VIEWS_ONLY:
            mean = sum(saved_share(*pair) for pair in runs) / len(runs)
            lower = sum(saved_bytes(*pair) > 0 for pair in runs)
            lines.append(
                f"{setting}: arena smaller on {lower} of {len(runs)} networks, "
                f"by {100 * mean:.1f} % in the mean of all"
            )
    both = [case.runs[-1] for case in cases]
    lines.append(
        f"with both, {sum(run.shared for run in both):,} of "
        f"{sum(run.candidates for run in both):,} operators do without a copy, "
        f"{sum(run.bytes_not_copied for run in both):,} bytes"
    )
    lines.append("")
    lines += textwrap.wrap(
        "Views (Reshape, Squeeze and the like) always share. In place: results overwrite dying "
        "operands. Zero copy: Concat, Split, Slice and Gather share storage where it pays. Saved: "
        "bytes of the arena with views only, and per cent of it. Operators without a copy and "
        "bytes not copied: with both. A peak marked * is not proven to be the smallest of its "
        "lowering.",
        _LINE_WIDTH,
    )
    return "\n".join(lines)


def defects(cases: Sequence[SharingCase]) -> list[str]:
    """Return what cannot be: illegal plans, and zero copy that costs."""
    found = []
    for case in cases:
        found += [
            f"{case.network}, {run.setting}: the plan is illegal. Please report it."
            for run in case.runs
            if not run.is_checked
        ]
        for without, run in zip(case.runs[:2], case.runs[2:], strict=True):
            if run.peak_bytes > without.peak_bytes:
                found.append(
                    f"{case.network}: {run.setting} has a peak of {run.peak_bytes:,} bytes, "
                    f"{without.setting} of {without.peak_bytes:,}. Give it more time."
                )
    return found


def results_object(
    cases: Sequence[SharingCase],
    *,
    time_limit_s: float,
    seed: int,
    notes: Sequence[str],
    interrupted: bool,
) -> dict[str, Any]:
    """Return the object that ``plan bench sharing --json`` prints."""
    return {
        **envelope(
            "sharing", notes=notes, interrupted=interrupted, time_limit_s=time_limit_s, seed=seed
        ),
        "cases": [
            {
                "network": case.network,
                "operators": case.operators,
                "plans": [_run_object(case, run) for run in case.runs],
            }
            for case in cases
        ],
    }


def _run_object(case: SharingCase, run: SharingRun) -> dict[str, Any]:
    in_place, zero_copy = SETTINGS[run.setting]
    return {
        "in_place": in_place,
        "zero_copy": zero_copy,
        "peak_bytes": run.peak_bytes,
        "arena_bytes": run.arena_bytes,
        "saved_bytes": saved_bytes(case, run),
        "saved_share": saved_share(case, run),
        "status": run.status,
        "operators_without_copy": run.shared,
        "candidates": run.candidates,
        "bytes_not_copied": run.bytes_not_copied,
        "checked": run.is_checked,
        "cpu_s": round(run.cpu_s, 6),
    }
