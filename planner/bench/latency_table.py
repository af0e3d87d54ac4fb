"""What the latency suite prints: programs, methods, families, the parts of the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.latency_methods import (
    BEST_STATIC,
    EXACT,
    GAME,
    KEY_SEARCH,
    PROGRAM_ORDER,
    REFERENCE,
)
from planner.bench.latency_results import (
    OPEN_GAP,
    REFERENCES,
    SHARED_BUDGETS,
    comparison,
    latencies,
    open_programs,
    parts_worth,
    proven,
    runs_of,
    summaries,
)
from planner.bench.latency_runs import Budget
from planner.bench.text_table import Table, render_titled
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.latency_results import Summary
    from planner.bench.latency_runs import ProgramResult
    from planner.bench.latency_statistics import Comparison

_NAME_WIDTH = 48
# Methods with a column of their own in the table of programs.
_SHOWN = (REFERENCE, BEST_STATIC, KEY_SEARCH, GAME, PROGRAM_ORDER, EXACT)
_BUDGET_TEXT = {
    Budget.NONE: "",
    Budget.DECODES: "equal decodes",
    Budget.TIME: "equal time",
}


def tables(results: Sequence[ProgramResult]) -> list[Table]:
    """Return all tables, the largest first."""
    found = [_programs(results), _methods(results, "all programs")]
    among_open = open_programs(results)
    which = _counted("open", among_open)
    if among_open:
        found.append(_methods(among_open, which))
    found += [_families(results), _parts(results, "all programs")]
    if among_open:
        found.append(_parts(among_open, which))
    return found


def _counted(kind: str, results: Sequence[ProgramResult]) -> str:
    graphs = len({result.graph for result in results})
    return f"{len(results)} {kind} programs of {graphs} graphs"


def render_tables(results: Sequence[ProgramResult], missing: Sequence[str]) -> str:
    """Return all tables as text, with how to read them."""
    return render_titled(tables(results), explanations(missing))


def explanations(missing: Sequence[str]) -> list[str]:
    """Return a paragraph for each thing that the tables do not say by themselves."""
    found = [
        "Latency is that of the cost model, under the program's own order. Score: 0 where "
        "everything is slow, 1 where everything is fast, which no legal mapping may reach. Gap: "
        "above the lower bound.",
        "Ratios are geometric means over programs, less than 1 is faster; intervals are 95 %, from "
        "a bootstrap over graphs. Won and lost: shares of programs more than 0.05 % faster and "
        f"slower than {BEST_STATIC}. Equal time: as many decodes as cost what {GAME}, or "
        f"without it {KEY_SEARCH}, took for its own; what they did cost is in the table.",
        f"A program is open if {BEST_STATIC} is more than {100 * OPEN_GAP:.1f} % above its lower "
        "bound, as far as that was proven. In the others hardly anything is left to gain by any "
        "method, so that ratios over all programs say more of the programs than of the methods.",
    ]
    if missing:
        found.append(f"Not there, and therefore missing: {', '.join(missing)}.")
    return found


def _programs(results: Sequence[ProgramResult]) -> Table:
    columns = (
        "program",
        "rows",
        "buffers",
        "slow ms",
        "fast ms",
        "bound ms",
        *_SHOWN,
        "score",
        "gap %",
        "open",
    )
    open_names = {result.name for result in open_programs(results)}
    rows = []
    for result in results:
        bound = max(result.lower_bound, 1)
        row = {
            "program": printable(result.name, _NAME_WIDTH),
            "rows": f"{result.rows:,}",
            "buffers": f"{result.buffers:,}",
            "slow ms": _milliseconds(result, result.all_slow),
            "fast ms": _milliseconds(result, result.all_fast),
            "bound ms": _milliseconds(result, result.lower_bound),
            "score": f"{result.score(result.best):.4f}",
            "gap %": f"{100 * (result.best / bound - 1):.2f}",
            "open": "yes" if result.name in open_names else "",
        }
        for method in _SHOWN:
            ticks = latencies([result], method, Budget.DECODES)[0]
            mark = "" if method != EXACT or ticks is None or proven(result) else "*"
            row[method] = "" if ticks is None else f"{_milliseconds(result, ticks)}{mark}"
        rows.append(row)
    return Table(
        "Programs: latency in ms at equal decodes; score and gap of the best. * is not proven.",
        columns,
        rows,
        {"program"},
    )


def _milliseconds(result: ProgramResult, ticks: float) -> str:
    return f"{ticks * result.tick_s * 1e3:.4g}"


def _methods(results: Sequence[ProgramResult], which: str) -> Table:
    columns = (
        *("method", "budget", "programs", "decodes", "CPU s", "score", "gap %"),
        *(f"÷ {reference}" for reference in REFERENCES),
        *("won", "lost", "worst", "by seed"),
    )
    exact = [result for result in results if runs_of(result, EXACT, Budget.NONE)]
    title = f"Methods, {which}"
    if exact:
        title += f"; {EXACT} proved {sum(map(proven, exact))} of {len(exact)} optimal"
    return Table(
        title,
        columns,
        [_method_row(summary) for summary in summaries(results)],
        {"method", "budget"},
    )


def _method_row(summary: Summary) -> dict[str, str]:
    static = summary.against.get(BEST_STATIC)
    row = {
        "method": summary.method,
        "budget": _BUDGET_TEXT[summary.budget],
        "programs": f"{summary.programs}",
        "decodes": f"{summary.decodes:,.0f}",
        "CPU s": f"{summary.cpu_s:.4f}",
        "score": _rounded(summary.score),
        "gap %": "" if summary.gap != summary.gap else f"{100 * summary.gap:.2f}",
        "won": "" if static is None else f"{static.wins:.2f}",
        "lost": "" if static is None else f"{static.losses:.2f}",
        "worst": "" if static is None else f"{static.worst:.3f}",
        "by seed": "",
    }
    if summary.budget is not Budget.NONE and summary.programs:
        row["by seed"] = f"{summary.seeds_low:.4f}-{summary.seeds_high:.4f}"
    for reference in REFERENCES:
        row[f"÷ {reference}"] = _ratio(summary.against.get(reference))
    return row


def _families(results: Sequence[ProgramResult]) -> Table:
    families = list(dict.fromkeys(result.family for result in results))
    rows = []
    for summary in summaries(results):
        if summary.budget is Budget.TIME or summary.method == REFERENCE:
            continue
        row = {"method": summary.method}
        for family in families:
            among = [result for result in results if result.family == family]
            found = comparison(among, summary.method, REFERENCE, Budget.DECODES)
            row[family] = "" if found is None else f"{found.ratio:.4f}"
        rows.append(row)
    counts = dict.fromkeys(("method", *families), "")
    counts["method"] = "programs / graphs"
    for family in families:
        among = [result for result in results if result.family == family]
        counts[family] = f"{len(among)} / {len({result.graph for result in among})}"
    return Table(
        f"Families: latency ÷ {REFERENCE} at equal decodes",
        ("method", *families),
        [counts, *rows],
        {"method"},
    )


def _parts(results: Sequence[ProgramResult], which: str) -> Table:
    rows = []
    for worth in parts_worth(results):
        row = {
            "part": worth.part.name,
            "with": worth.part.with_it,
            "without": worth.part.without_it,
        }
        for budget in SHARED_BUDGETS:
            row[_BUDGET_TEXT[budget]] = _ratio(worth.ratio[budget]) or "missing"
        rows.append(row)
    columns = ("part", "with", "without", *(_BUDGET_TEXT[budget] for budget in SHARED_BUDGETS))
    return Table(
        f"Every part's worth, {which}: latency with it ÷ without it",
        columns,
        rows,
        {"part", "with", "without"},
    )


def _ratio(found: Comparison | None) -> str:
    return "" if found is None else f"{found.ratio:.4f} ({found.low:.4f}-{found.high:.4f})"


def _rounded(value: float) -> str:
    return "" if value != value else f"{value:.4f}"
