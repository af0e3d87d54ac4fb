"""Every network with and without overwriting and zero copy: what each kind of sharing saves."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.cpu_time import cpu_seconds
from planner.errors import BadFileError, LoweringError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from planner.result import PlanResult

# What a plan may share beyond views: overwriting, zero copy.
SETTINGS: Mapping[str, tuple[bool, bool]] = {
    "views only": (False, False),
    "in place": (True, False),
    "zero copy": (False, True),
    "both": (True, True),
}


class Model(NamedTuple):
    """One network of the suite.

    Attributes
    ----------
    name : str
    source : callable
        Makes what `planner.plan` takes.
    dims : mapping of str to int
        Sizes of symbolic dimensions.
    """

    name: str
    source: Callable[[], Any]
    dims: Mapping[str, int]


class SharingRun(NamedTuple):
    """The plan of one network with one kind of sharing.

    Attributes
    ----------
    setting : str
        Of `SETTINGS`.
    peak_bytes, arena_bytes : int
    status : str
        Of the peak.
    shared, candidates : int
        Operators that do without a copy, and those that could.
    bytes_not_copied : int
    cpu_s : float
        Of all threads, from the model to the checked plan.
    is_checked : bool
        The checker found the plan legal.
    """

    setting: str
    peak_bytes: int
    arena_bytes: int
    status: str
    shared: int
    candidates: int
    bytes_not_copied: int
    cpu_s: float
    is_checked: bool


class SharingCase(NamedTuple):
    """One network with all kinds of sharing, in the order of `SETTINGS`."""

    network: str
    operators: int
    runs: tuple[SharingRun, ...]

    @property
    def views_only(self) -> SharingRun:
        """What the others are compared with."""
        return self.runs[0]


def saved_bytes(case: SharingCase, run: SharingRun) -> int:
    """Bytes of arena that a kind of sharing saves."""
    return case.views_only.arena_bytes - run.arena_bytes


def saved_share(case: SharingCase, run: SharingRun) -> float:
    """The same as a share of the arena without."""
    whole = case.views_only.arena_bytes
    return saved_bytes(case, run) / whole if whole else 0.0


def zoo_models(names: Sequence[str] | None) -> list[Model]:
    """Return the networks of the zoo, or those named.

    Raises
    ------
    UsageError
        If a name is unknown, or there is none.
    """
    from frontends import zoo

    known = zoo.names()
    for name in names or ():
        if name not in known:
            raise UsageError(f"no network {name!r}. There are: {', '.join(known)}.")
    if names is not None and not names:
        raise UsageError(f"no network is named. There are: {', '.join(known)}.")
    chosen = known if names is None else dict.fromkeys(names)
    return [Model(name, partial(zoo.build, name), {}) for name in chosen]


def models_in(
    directory: str | os.PathLike[str], dims: Mapping[str, Mapping[str, int]]
) -> list[Model]:
    """Return the model files of a directory, by name.

    Parameters
    ----------
    dims : mapping
        Sizes of symbolic dimensions, by the model's file name without its suffix.

    Raises
    ------
    BadFileError
        If there is no such directory, or no model in it.
    UsageError
        If sizes are given for a model that is not there.
    """
    directory = Path(directory)
    if not directory.is_dir():
        kind = "is not a directory" if directory.exists() else "does not exist"
        raise BadFileError(f"{directory} {kind}. Give a directory of models, *.onnx.")
    paths = {path.stem: path for path in sorted(directory.glob("*.onnx"))}
    if not paths:
        raise BadFileError(f"{directory}: no model, *.onnx. There is nothing to plan.")
    for name in dims:
        if name not in paths:
            raise UsageError(f"--dim {name}/...: there is no {name}.onnx in {directory}.")
    return [Model(name, partial(str, path), dims.get(name, {})) for name, path in paths.items()]


def run_sharing(
    models: Iterable[Model],
    *,
    time_limit_s: float,
    seed: int,
    on_unplanned: Callable[[str], None],
    on_progress: Callable[[str], None],
) -> Iterator[SharingCase]:
    """Plan everything one after the other on a machine with one memory, without spills.

    Parameters
    ----------
    time_limit_s : float
        For each plan.
    on_unplanned : callable
        Told of models that cannot be planned, which are left out.
    on_progress : callable
        Receives a line before each plan.

    Raises
    ------
    KeyboardInterrupt
        When interrupted; the network at hand is left out.
    """
    for model in models:
        runs: list[SharingRun] = []
        operators = 0
        try:
            for setting in SETTINGS:
                on_progress(f"{model.name}: {setting}")
                result, cpu_s = _planned(model, setting, time_limit_s, seed)
                if result.interrupted:
                    raise KeyboardInterrupt
                operators = len(result.graph.operators)
                runs.append(_run(result, setting, cpu_s))
        except (BadFileError, LoweringError, UsageError) as error:
            on_unplanned(f"{model.name} is left out: {error}")
            continue
        yield SharingCase(model.name, operators, tuple(runs))


def _planned(
    model: Model, setting: str, time_limit_s: float, seed: int
) -> tuple[PlanResult, float]:
    from planner.api import plan

    in_place, zero_copy = SETTINGS[setting]
    started = cpu_seconds()
    result = plan(
        model.source(),
        objective="peak",
        dims=model.dims,
        in_place=in_place,
        zero_copy=zero_copy,
        time_limit=time_limit_s,
        seed=seed,
    )
    return result, cpu_seconds() - started


def _run(result: PlanResult, setting: str, cpu_s: float) -> SharingRun:
    from planner.checker import check

    metrics, near = result.plan.metrics, result.plan.target.nearest.name
    sharing = result.zero_copy
    return SharingRun(
        setting=setting,
        peak_bytes=metrics.peak_bytes.get(near, 0),
        arena_bytes=metrics.arena_bytes.get(near, 0),
        status=result.status.value,
        shared=0 if sharing is None else len(sharing.operators),
        candidates=0 if sharing is None else sharing.candidates,
        bytes_not_copied=0 if sharing is None else sharing.bytes_not_copied,
        cpu_s=cpu_s,
        is_checked=not check(result.graph, result.plan.target, result.plan),
    )
