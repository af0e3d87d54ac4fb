"""Trainings as JSON and back, number for number: a training goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.errors import BadFileError, UsageError
from planner.json_text import dump_json, parse_json
from planner.regular_file import read_regular
from planner.whole_files import write_whole
from rl.evolution import Evolution
from rl.portfolio import Entry
from rl.portfolio_training import Step, Training
from solvers._native import MAPPING_FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rl.portfolio_training import Settings, TrainingProgram

_SCHEMA_VERSION = 1
_LARGEST_BYTES = 1 << 26


def programs_digest(programs: Sequence[TrainingProgram]) -> str:
    """Return the SHA-256 of programs: of their names, and all that is in them."""
    digest = hashlib.sha256()
    for program in programs:
        digest.update(f"{program.name}\n{program.graph}\n{program.family}\n".encode())
        for field in fields(program.problem):
            digest.update(np.asarray(getattr(program.problem, field.name)).tobytes())
    return digest.hexdigest()


def identity(
    programs: Sequence[TrainingProgram], settings: Settings, seed: int, hold_out: str | None
) -> dict[str, Any]:
    """Return all that the result of a run depends on."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "settings": settings._asdict(),
        "seed": seed,
        "hold_out": hold_out,
        "programs": programs_digest(programs),
    }


def write_checkpoint(path: Path, of: Mapping[str, Any], trainings: Mapping[str, Training]) -> None:
    """Write how far a run is, whole or not at all.

    Raises
    ------
    BadFileError
        If it cannot be written.
    """
    document = {**of, "trainings": {name: _encoded(t) for name, t in trainings.items()}}
    write_whole({path: dump_json(document)})


def read_checkpoint(path: Path, of: Mapping[str, Any]) -> dict[str, Training]:
    """Read how far a run was.

    Raises
    ------
    BadFileError
        If the file is missing or damaged.
    UsageError
        If it is of another run: other settings, another seed, other programs.
    """
    document = parse_json(read_regular(path, _LARGEST_BYTES), str(path))
    if not isinstance(document, dict):
        raise BadFileError(f"{path}: not a checkpoint of plan train-agent.")
    for name, value in of.items():
        if document.get(name) != value:
            raise UsageError(
                f"{path}: its {name.replace('_', ' ')} is not that of this run. Give the options "
                "that it was begun with, or another directory."
            )
    try:
        return {name: _decoded(value) for name, value in document["trainings"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadFileError(f"{path}: damaged: {type(error).__name__}: {error}.") from None


def _encoded(training: Training) -> dict[str, Any]:
    evolution = training.evolution
    return {
        "entries": [_encoded_entry(entry) for entry in training.entries],
        "evolution": None
        if evolution is None
        else {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in evolution._asdict().items()
        },
        "best": None if training.best is None else _encoded_entry(training.best),
        "best_cost": None if training.best is None else training.best_cost,
        "curve": [list(step) for step in training.curve],
    }


def _decoded(value: Any) -> Training:
    evolution, best = value["evolution"], value["best"]
    if evolution is not None:
        mean, variance, step_path, variance_path = (
            _vector(evolution[name], MAPPING_FEATURES + 1)
            for name in ("mean", "variance", "step_path", "variance_path")
        )
        sigma, steps = float(evolution["sigma"]), int(evolution["steps"])
        evolution = Evolution(mean, variance, step_path, variance_path, sigma, steps)
    return Training(
        tuple(_decoded_entry(entry) for entry in value["entries"]),
        evolution,
        None if best is None else _decoded_entry(best),
        math.inf if best is None else float(value["best_cost"]),
        tuple(
            Step(int(entry), int(step), float(cost), float(sigma))
            for entry, step, cost, sigma in value["curve"]
        ),
    )


def _encoded_entry(entry: Entry) -> dict[str, Any]:
    return {"weights": entry.weights.tolist(), "window": entry.window}


def _decoded_entry(value: Any) -> Entry:
    return Entry(_vector(value["weights"], MAPPING_FEATURES), int(value["window"]))


def _vector(values: Any, size: int) -> np.ndarray:
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (size,):
        raise ValueError(f"a vector of shape {vector.shape}, not of {size} numbers")
    return vector
