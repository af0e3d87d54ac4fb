"""From models to a target of this processor, and how far it can be believed."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from frontends import zoo
from frontends.onnx.executable import load_executable
from planner.calibration.fit import fit_classes, fit_roofline
from planner.calibration.leave_one_out import predict_each
from planner.calibration.measure import Measurer, merged_samples
from planner.errors import BadFileError, LoweringError, PlannerError, UsageError
from planner.execution.sessions import RuntimeRefusalError, runtime
from planner.measured import MeasuredCosts, OperatorFit
from planner.target import Compute, Memory, Target

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from onnx import ModelProto

    from planner.calibration.leave_one_out import Prediction
    from planner.calibration.measure import MeasuredModel, Sample

# What times are worth: more digits would be noise, and bytes in every plan.
_DIGITS = 4
_ALIGNMENT_BYTES = 64
_LARGEST_SEED = (1 << 32) - 1
_PROCESSORS = Path("/proc/cpuinfo")


class Skipped(NamedTuple):
    """A model that could not be measured."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found.

    Attributes
    ----------
    target : Target
        This processor: one memory, measured times, fits and a roofline behind them.
    models : tuple of MeasuredModel
    predictions : tuple of Prediction
        One per model, from all the others; empty where there is one model only.
    skipped : tuple of Skipped
    """

    target: Target
    models: tuple[MeasuredModel, ...]
    predictions: tuple[Prediction, ...]
    skipped: tuple[Skipped, ...]


def calibrate(
    models: Sequence[str | os.PathLike[str]] = (),
    *,
    name: str = "calibrated",
    seed: int = 0,
    repeat: int = 5,
    on_progress: Callable[[str, str], None] = lambda model, doing: None,
) -> Calibration:
    """Time the operators of models with ONNX Runtime, on one thread without optimisation.

    Parameters
    ----------
    models : sequence of path
        ONNX files; none: the networks of `frontends.zoo`, batch 1, float32.
    name : str
        Of the target.
    seed : int
        Of weights that are absent, and of operands.
    repeat : int
        Runs of each operator, of which the fastest counts.
    on_progress : callable
        Told the model, and what is done with it.

    Raises
    ------
    UsageError
        If ONNX Runtime is not installed, ``repeat`` is not positive, or ``seed`` is negative.
    BadFileError
        If a model file does not exist.
    PlannerError
        If none of the models can be measured: what was wrong with the first.
    """
    if repeat < 1:
        raise UsageError(f"--repeat {repeat:,}: must be at least 1.")
    if not 0 <= seed <= _LARGEST_SEED:
        raise UsageError(f"--seed {seed}: must lie from 0 to {_LARGEST_SEED:,}.")
    for path in models:
        if not Path(path).is_file():
            raise BadFileError(f"{path}: no such model file. Nothing was measured.")
    version = runtime().__version__
    measurer = Measurer(seed=seed, repeat=repeat)
    measured: list[MeasuredModel] = []
    skipped: list[Skipped] = []
    first_error: PlannerError | None = None
    for label, source in [(Path(p).name, p) for p in models] or [(n, n) for n in zoo.names()]:
        on_progress(label, "loading")
        try:
            executable = load_executable(source if models else _network(source), seed=seed)
            measured.append(measurer.measure(label, executable, on_progress))
        except PlannerError as error:
            first_error = first_error or type(error)(f"{label}: {error}")
            skipped.append(Skipped(label, str(error)))
        except RuntimeRefusalError as error:
            first_error = first_error or LoweringError(f"{label}: ONNX Runtime refuses it: {error}")
            skipped.append(Skipped(label, f"ONNX Runtime refuses it: {error}"))
    if first_error is not None and not measured:
        raise first_error
    source = (
        f"onnxruntime {version} on {processor_name()}, one thread, processor time, least of "
        f"{repeat:,} runs, seed {seed}"
    )
    return Calibration(
        target_of(list(merged_samples(measured).values()), name=name, source=source),
        tuple(measured),
        tuple(predict_each(measured)) if len(measured) > 1 else (),
        tuple(skipped),
    )


def target_of(samples: Sequence[Sample], *, name: str, source: str = "") -> Target:
    """Return the target that these measured operators describe."""
    roofline = fit_roofline(samples)
    bandwidth = _rounded(roofline.bandwidth)
    return Target(
        name=name,
        memories=(
            Memory(
                "ram",
                alignment_bytes=_ALIGNMENT_BYTES,
                read_bandwidth=bandwidth,
                write_bandwidth=bandwidth,
            ),
        ),
        compute=Compute(
            mac_rate={dtype: _rounded(rate) for dtype, rate in roofline.mac_rate.items()},
            vector_rate=_rounded(roofline.vector_rate),
            launch_overhead_s=_rounded(roofline.overhead_s),
            measured=MeasuredCosts(
                source=source,
                seconds={
                    sample.signature: _rounded(sample.seconds)
                    for sample in sorted(samples, key=lambda sample: sample.signature)
                },
                fits={kind: _rounded_fit(fit) for kind, fit in fit_classes(samples).items()},
            ),
        ),
        description=f"measured: {source}" if source else "",
    )


def processor_name() -> str:
    """Name of the processor, as far as the system tells it."""
    try:
        lines = _PROCESSORS.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(named, "") or platform.processor() or platform.machine() or "unknown processor"
    return "".join(letter for letter in name if letter.isprintable())


def _network(name: str | os.PathLike[str]) -> ModelProto:
    return zoo.build(str(name))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _rounded_fit(fit: OperatorFit) -> OperatorFit:
    rates = {
        key: None if (rate := getattr(fit, key)) is None else _rounded(rate)
        for key in ("mac_rate", "vector_rate", "bandwidth")
    }
    return replace(fit, overhead_s=_rounded(fit.overhead_s), **rates)
