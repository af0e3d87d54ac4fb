"""What training of the program-order player hands over: weights, score, table, JSON and curves."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from typing import TYPE_CHECKING, Any

from planner.bench.latency_statistics import compared
from planner.bench.pictures import COLOURS, plain, saved, style
from planner.bench.text_table import render_columns
from planner.version import VERSION
from rl.program_order import weights_of
from rl.weights import weights_bytes

if TYPE_CHECKING:
    from planner.bench.latency_statistics import Comparison
    from rl.program_order_run import NetworkRun

_ALGORITHM = "Gumbel AlphaZero self-play"
_DIGITS = 5


def weights_file(run: NetworkRun) -> bytes:
    """Return the network with how it was trained and what it scores."""
    training = {
        "algorithm": _ALGORITHM,
        "version": VERSION,
        "steps": run.progress.steps,
        **run.identity,
    }
    return weights_bytes(
        weights_of(run.progress.network, training=training, score=_score_object(run))
    )


def results_object(run: NetworkRun, weights: bytes) -> dict[str, Any]:
    """Return the result as a JSON object, the curves and every program's score in it."""
    return {
        "planner_version": VERSION,
        "complete": run.is_complete,
        **run.identity,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "score": _score_object(run),
        "programs_scored": [score._asdict() for score in run.scores],
        "curves": [
            {**curve._asdict(), "score": None if math.isnan(curve.score) else curve.score}
            for curve in run.progress.curves
        ],
    }


def curves_csv(run: NetworkRun) -> str:
    """Return every step, one a line; the score is empty where none was taken."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["step", "policy_loss", "value_loss", "score"])
    for curve in run.progress.curves:
        score = "" if math.isnan(curve.score) else curve.score
        writer.writerow([curve.step, curve.policy_loss, curve.value_loss, score])
    return stream.getvalue()


def render_summary(run: NetworkRun) -> str:
    """Return the score on the family left out, as a table."""
    head = f"program-order network  {len(run.progress.network.parameters):,} parameters  "
    head += f"{run.progress.steps:,} steps"
    if not run.scores:
        return f"{head}\nno family was left out and scored"
    rows = [
        {
            "unseen family": run.identity["hold_out"],
            "player": name,
            "programs": str(comparison.programs),
            "graphs": str(comparison.graphs),
            "latency": f"{comparison.ratio:.4f} ({comparison.low:.4f}-{comparison.high:.4f})",
        }
        for name, comparison in _compared(run).items()
    ]
    return f"{head}\n\nlatency of one game ÷ that of the XLA-style decode:\n\n" + render_columns(
        list(rows[0]), rows, left=["unseen family", "player"]
    )


def draw_training(run: NetworkRun) -> dict[str, bytes]:
    """Draw how the policy's loss fell, and how the score did.

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

        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            plain(axes)
            axes.set_xlabel("steps")
        curves = run.progress.curves
        left.plot([c.step for c in curves], [c.policy_loss for c in curves], color=COLOURS[0])
        left.set_ylabel("cross-entropy less entropy")
        left.set_title("Loss of the policy")
        scored = [curve for curve in curves if not math.isnan(curve.score)]
        right.axhline(1.0, color="#888888", linewidth=0.8)
        right.plot(
            [curve.step for curve in scored],
            [curve.score for curve in scored],
            marker="o",
            color=COLOURS[0],
            label="seen families, drawn programs",
        )
        for turn, (name, comparison) in enumerate(_compared(run).items(), 1):
            label = f"unseen {run.identity['hold_out']}, {name}"
            right.axhline(comparison.ratio, color=COLOURS[turn], linestyle="--", label=label)
        right.set_ylabel("latency ÷ XLA-style decode")
        right.set_title("One game")
        if scored or run.scores:
            right.legend(frameon=False)
        return saved(figure)


def _compared(run: NetworkRun) -> dict[str, Comparison]:
    """Return both ways to play beside the XLA-style decode."""
    graphs = [score.graph for score in run.scores]
    ratios = {
        "policy": [score.policy for score in run.scores],
        "search": [score.search for score in run.scores],
    }
    found = {name: compared(of_programs, graphs) for name, of_programs in ratios.items()}
    return {name: comparison for name, comparison in found.items() if comparison is not None}


def _score_object(run: NetworkRun) -> dict[str, Any]:
    """Return geometric means of latency over that of the XLA-style decode."""
    last = run.progress.curves[-1].score if run.progress.curves else math.nan
    found: dict[str, Any] = {} if math.isnan(last) else {"validation": round(last, _DIGITS)}
    if run.scores:
        found[run.identity["hold_out"]] = {
            name: {
                "ratio": round(comparison.ratio, _DIGITS),
                "interval": [round(comparison.low, _DIGITS), round(comparison.high, _DIGITS)],
            }
            for name, comparison in _compared(run).items()
        }
    return found
