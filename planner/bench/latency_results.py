"""What the latency suite found: comparisons of methods, parts of the agent, defects, the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.latency_methods import BEST_STATIC, EXACT, GAME, KEY_SEARCH, PARTS, REFERENCE
from planner.bench.latency_runs import Budget
from planner.bench.latency_statistics import compared, geometric_mean
from planner.bench.results_envelope import envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.latency_methods import Part
    from planner.bench.latency_runs import LatencyRun, ProgramResult
    from planner.bench.latency_statistics import Comparison

SHARED_BUDGETS = (Budget.DECODES, Budget.TIME)
# What every method is divided by.
REFERENCES = (REFERENCE, BEST_STATIC, KEY_SEARCH)
# The best static decode of an open program is more than this above the lower bound, as a share.
OPEN_GAP = 0.005


class Summary(NamedTuple):
    """One method within one budget, over all programs and seeds.

    Attributes
    ----------
    method : str
    budget : Budget
    programs : int
        With a legal mapping from every seed.
    decodes, cpu_s : float
        Means of a run.
    score : float
        Mean, 0 where everything is slow and 1 where everything is fast.
    gap : float
        Mean of what the latency is above the lower bound, as a share of the bound.
    against : dict of str to Comparison
        By reference; methods with a budget are compared with others within the same one.
    seeds_low, seeds_high : float
        Least and largest geometric mean of latency by reference of a single seed.
    """

    method: str
    budget: Budget
    programs: int
    decodes: float
    cpu_s: float
    score: float
    gap: float
    against: dict[str, Comparison]
    seeds_low: float
    seeds_high: float


class PartWorth(NamedTuple):
    """A part of the agent: latency with it by latency without it.

    By budget; None where a method is missing.
    """

    part: Part
    ratio: dict[Budget, Comparison | None]


def latencies(results: Sequence[ProgramResult], method: str, budget: Budget) -> list[float | None]:
    """Ticks of each program: geometric mean over the seeds, None where one has no mapping."""
    found: list[float | None] = []
    for result in results:
        ticks = [run.latency for run in runs_of(result, method, budget)]
        known = [tick for tick in ticks if tick is not None]
        if not known or len(known) < len(ticks):
            found.append(None)
        elif len(set(known)) == 1:
            found.append(float(known[0]))  # the mean would be off by a rounding error
        else:
            found.append(geometric_mean(known))
    return found


def runs_of(result: ProgramResult, method: str, budget: Budget) -> list[LatencyRun]:
    """Return the runs of a method within a budget; of one without budgets, its only run."""
    return [
        run for run in result.runs if run.method == method and run.budget in (budget, Budget.NONE)
    ]


def open_programs(results: Sequence[ProgramResult]) -> list[ProgramResult]:
    """Return those in which a search may gain something.

    That is where the best of all static decodes is more than `OPEN_GAP` above the lower bound;
    elsewhere no method can be much faster. Also where the bound was cut short, so that it is
    lower than it might be; not where that method has no mapping.
    """
    static = latencies(results, BEST_STATIC, Budget.NONE)
    return [
        result
        for result, ticks in zip(results, static, strict=True)
        if ticks is not None and ticks > (1 + OPEN_GAP) * result.lower_bound
    ]


def comparison(
    results: Sequence[ProgramResult], method: str, other: str, budget: Budget
) -> Comparison | None:
    """Divide a method's latencies by another's; None without programs of both."""
    pairs = [
        (mine / its, result.graph)
        for mine, its, result in zip(
            latencies(results, method, budget),
            latencies(results, other, budget),
            results,
            strict=True,
        )
        if mine is not None and its is not None
    ]
    return compared([ratio for ratio, _ in pairs], [graph for _, graph in pairs])


def summaries(results: Sequence[ProgramResult]) -> list[Summary]:
    """Summarise each method, those without a budget first, in the order in which they ran."""
    kinds = dict.fromkeys((run.method, run.budget) for result in results for run in result.runs)
    ordered = sorted(kinds, key=lambda kind: list(Budget).index(kind[1]))
    return [_summary(results, method, budget) for method, budget in ordered]


def _summary(results: Sequence[ProgramResult], method: str, budget: Budget) -> Summary:
    ticks = latencies(results, method, budget)
    pairs = [
        (tick, result) for tick, result in zip(ticks, results, strict=True) if tick is not None
    ]
    runs = [run for result in results for run in runs_of(result, method, budget)]
    # Those without a budget are what they are beside either.
    beside = Budget.DECODES if budget is Budget.NONE else budget
    against = {}
    for reference in REFERENCES:
        found = None
        if reference != method:
            found = comparison(results, method, reference, beside)
        if found is not None:
            against[reference] = found
    by_seed = _means_by_seed(results, method, budget)
    return Summary(
        method=method,
        budget=budget,
        programs=len(pairs),
        decodes=_mean([run.decodes for run in runs]),
        cpu_s=_mean([run.cpu_s for run in runs]),
        score=_mean([result.score(tick) for tick, result in pairs]),
        gap=_mean([tick / max(result.lower_bound, 1) - 1 for tick, result in pairs]),
        against=against,
        seeds_low=min(by_seed, default=float("nan")),
        seeds_high=max(by_seed, default=float("nan")),
    )


def _means_by_seed(results: Sequence[ProgramResult], method: str, budget: Budget) -> list[float]:
    """Geometric mean of latency by the reference's, seed by seed."""
    ratios: dict[int, list[float]] = {}
    references = latencies(results, REFERENCE, Budget.NONE)
    for result, reference in zip(results, references, strict=True):
        for run in runs_of(result, method, budget):
            if run.latency is not None and reference is not None:
                ratios.setdefault(run.seed, []).append(run.latency / reference)
    return [geometric_mean(values) for values in ratios.values()]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def parts_worth(results: Sequence[ProgramResult]) -> list[PartWorth]:
    """What every part of the agent is worth, at equal decodes and at equal time."""
    return [
        PartWorth(
            part,
            {
                budget: comparison(results, part.with_it, part.without_it, budget)
                for budget in SHARED_BUDGETS
            },
        )
        for part in PARTS
    ]


def defects(results: Sequence[ProgramResult]) -> list[str]:
    """Return what cannot be or must not: illegal mappings, failures, bounds."""
    found = []
    cut_short = [result for result in results if not has_complete_bound(result)]
    if cut_short:
        found.append(
            f"the bounds of {len(cut_short)} programs are not complete; with a longer --time-limit "
            "their gaps may be smaller."
        )
    for result in results:
        where = result.name
        found += [f"{where}, {run.method}: {run.note}." for run in result.runs if run.note]
        static = latencies([result], BEST_STATIC, Budget.NONE)[0]
        for run in result.runs:
            if run.latency is None:
                continue
            if run.latency < result.lower_bound:
                found.append(
                    f"{where}: {run.method} takes {run.latency:,} ticks, the lower bound is "
                    f"{result.lower_bound:,}. Please report it."
                )
            if run.method == GAME and static is not None and run.latency > static:
                found.append(
                    f"{where}: {GAME}, seed {run.seed}, is slower than the best static decode."
                )
    return found


def has_complete_bound(result: ProgramResult) -> bool:
    """Whether the time sufficed for the bound."""
    return result.proven_bound is not None and result.proven_bound.is_complete


def proven(result: ProgramResult) -> bool:
    """Whether the exact solver met its own bound."""
    return any(
        run.latency is not None and run.lower_bound is not None and run.latency <= run.lower_bound
        for run in runs_of(result, EXACT, Budget.NONE)
    )


def results_object(
    results: Sequence[ProgramResult],
    *,
    programs: str,
    decodes: int,
    seeds: Sequence[int],
    time_limit_s: float,
    missing: Sequence[str],
    notes: Sequence[str],
    interrupted: bool,
) -> dict[str, Any]:
    """Return the object that ``plan bench latency --json`` prints."""
    among_open = open_programs(results)
    return {
        **envelope(
            "latency",
            notes=notes,
            interrupted=interrupted,
            programs=programs,
            decodes=decodes,
            seeds=list(seeds),
            time_limit_s=time_limit_s,
        ),
        "missing_methods": list(missing),
        "summaries": [_summary_object(summary) for summary in summaries(results)],
        "parts": [_part_object(worth) for worth in parts_worth(results)],
        "open_gap": OPEN_GAP,
        "open_programs": len(among_open),
        "open_graphs": len({result.graph for result in among_open}),
        "open_summaries": [_summary_object(summary) for summary in summaries(among_open)],
        "open_parts": [_part_object(worth) for worth in parts_worth(among_open)],
        "results": [_result_object(result) for result in results],
    }


def _summary_object(summary: Summary) -> dict[str, Any]:
    described = summary._asdict()
    for name in ("decodes", "cpu_s", "score", "gap", "seeds_low", "seeds_high"):
        described[name] = _number(described[name])
    described["budget"] = summary.budget.value
    described["against"] = {
        reference: _comparison_object(found) for reference, found in summary.against.items()
    }
    return described


def _part_object(worth: PartWorth) -> dict[str, Any]:
    return {
        "part": worth.part.name,
        "with": worth.part.with_it,
        "without": worth.part.without_it,
        **{budget.value: _comparison_object(found) for budget, found in worth.ratio.items()},
    }


def _comparison_object(found: Comparison | None) -> dict[str, Any] | None:
    return None if found is None else found._asdict()


def _result_object(result: ProgramResult) -> dict[str, Any]:
    described = result._asdict()
    del described["proven_bound"], described["runs"], described["tick_s"]
    for name in ("all_slow", "all_fast"):
        described[f"{name}_s"] = described.pop(name) * result.tick_s
    return {
        **described,
        "lower_bound_s": result.lower_bound * result.tick_s,
        "lower_bound_complete": has_complete_bound(result),
        "open": bool(open_programs([result])),
        "runs": [_run_object(result, run) for run in result.runs],
    }


def _run_object(result: ProgramResult, run: LatencyRun) -> dict[str, Any]:
    bound = max(result.lower_bound, 1)
    legal = run.latency is not None
    return {
        "method": run.method,
        "budget": run.budget.value,
        "seed": run.seed,
        "latency_s": run.latency * result.tick_s if run.latency is not None else None,
        "score": result.score(run.latency) if run.latency is not None else None,
        "gap": run.latency / bound - 1 if run.latency is not None else None,
        "decodes": run.decodes,
        "cpu_s": round(run.cpu_s, 6),
        "legal": legal,
        "note": run.note,
    }


def _number(value: float) -> float | None:
    """Return None for what there is nothing to average of: JSON has no NaN."""
    return None if value != value else value
