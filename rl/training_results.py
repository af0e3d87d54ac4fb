"""What a run of training hands over: the weights file, its score as a table, JSON and curves."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING, Any

from planner.bench.latency_statistics import compared
from planner.bench.pictures import COLOURS, plain, saved, style
from planner.bench.text_table import render_columns
from planner.version import VERSION
from rl.portfolio import portfolio_bytes
from rl.portfolio_scores import BUDGETS
from rl.training_run import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.latency_statistics import Comparison
    from rl.portfolio_scores import ProgramScore
    from rl.training_run import Run

_ALGORITHM = "greedy portfolio by separable CMA-ES"
_DIGITS = 5
_ALL = "all of them"


def weights_file(run: Run) -> bytes:
    """Return the portfolio with how it was trained and what such portfolios score."""
    training = {
        "algorithm": _ALGORITHM,
        "version": VERSION,
        "steps": sum(1 for point in next(iter(run.trainings.values())).curve),
        **run.identity,
    }
    return portfolio_bytes(run.portfolio(), training=training, score=_score_object(run.scores))


def results_object(run: Run, weights: bytes) -> dict[str, Any]:
    """Return the result as a JSON object, the curves and every program's score in it."""
    return {
        "planner_version": VERSION,
        "complete": run.is_complete,
        **run.identity,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "portfolio": [
            {"weights": entry.weights.tolist(), "window": entry.window} for entry in run.portfolio()
        ],
        "score": _score_object(run.scores),
        "programs_scored": [score._asdict() for score in run.scores],
        "curves": {
            name: [point._asdict() for point in training.curve]
            for name, training in run.trainings.items()
        },
    }


def curves_csv(run: Run) -> str:
    """Return every step of every training, one a line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["left_out", "entry", "step", "cost", "sigma"])
    for name, training in run.trainings.items():
        left_out = "" if name == EVERYTHING else name
        for point in training.curve:
            writer.writerow([left_out, *point])
    return stream.getvalue()


def render_summary(run: Run) -> str:
    """Return the score on families left out, as a table."""
    portfolio = run.portfolio()
    steps = sum(len(training.curve) for training in run.trainings.values())
    head = f"portfolio  {len(portfolio)} entries  {steps:,} steps"
    if not run.scores:
        return f"{head}\nno family was left out and scored"
    rows = []
    for family, scores in _by_family(run.scores).items():
        row = {
            "unseen family": family,
            "programs": str(len(scores)),
            "graphs": str(len({score.graph for score in scores})),
        }
        for budget, learned, static in _compared(scores):
            row[f"learned {budget}"] = _ratio(learned, family == _ALL)
            row[f"static {budget}"] = _ratio(static, family == _ALL)
        rows.append(row)
    return (
        f"{head}\n\nlatency of so many decodes ÷ that of the best of all static decodes:\n\n"
        + render_columns(list(rows[0]), rows, left=["unseen family"])
    )


def draw_training(run: Run) -> dict[str, bytes]:
    """Draw how the cost fell, and what the first entries are worth on unseen families.

    Returns
    -------
    dict of str to bytes
        The picture by suffix, ``svg`` and ``png``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter

        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            plain(axes)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.axhline(0.0, color="#888888", linewidth=0.8)
        for turn, (name, training) in enumerate(run.trainings.items()):
            costs = [point.cost for point in training.curve]
            label = "all families" if name == EVERYTHING else f"without {name}"
            left.plot(range(1, len(costs) + 1), costs, color=COLOURS[turn % 7], label=label)
        left.set_xlabel("steps")
        left.set_ylabel("latency above the best of all static decodes")
        left.set_title("Training programs")
        left.legend(frameon=False)
        if run.scores:
            rows = _compared(run.scores)
            for values, label in (
                ([learned.ratio - 1 for _, learned, _ in rows], "learned"),
                ([static.ratio - 1 for _, _, static in rows], "static"),
            ):
                colour = COLOURS[0 if label == "learned" else 1]
                right.plot([row[0] for row in rows], values, marker="o", color=colour, label=label)
            right.set_xticks([row[0] for row in rows])
            right.legend(frameon=False)
        right.set_xlabel("decodes")
        right.set_title("Unseen families")
        return saved(figure)


def _by_family(scores: Sequence[ProgramScore]) -> dict[str, list[ProgramScore]]:
    found: dict[str, list[ProgramScore]] = {}
    for score in scores:
        found.setdefault(score.family, []).append(score)
    return {**found, _ALL: list(scores)} if len(found) > 1 else found


def _compared(scores: Sequence[ProgramScore]) -> list[tuple[int, Comparison, Comparison]]:
    """Return, for each budget, the learned and the static decodes beside all static ones."""
    graphs = [score.graph for score in scores]
    found = []
    for column, budget in enumerate(BUDGETS[: len(scores[0].learned)]):
        learned = compared([score.learned[column] for score in scores], graphs)
        static = compared([score.static[column] for score in scores], graphs)
        if learned is not None and static is not None:
            found.append((budget, learned, static))
    return found


def _score_object(scores: Sequence[ProgramScore]) -> dict[str, Any]:
    """Return geometric means by unseen family and number of decodes."""
    return {
        family: {
            str(budget): {
                "learned": round(learned.ratio, _DIGITS),
                "interval": [round(learned.low, _DIGITS), round(learned.high, _DIGITS)],
                "static": round(static.ratio, _DIGITS),
            }
            for budget, learned, static in _compared(of_family)
        }
        for family, of_family in _by_family(scores).items()
        if of_family
    }


def _ratio(comparison: Comparison, with_interval: bool) -> str:
    if not with_interval:
        return f"{comparison.ratio:.4f}"
    return f"{comparison.ratio:.4f} ({comparison.low:.4f}-{comparison.high:.4f})"
