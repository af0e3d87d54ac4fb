"""Made-up measurements that follow known lines exactly."""

from __future__ import annotations

from collections import Counter

from planner.calibration.measure import MeasuredModel, Sample
from planner.measured import OperatorFit

LINES = {
    "Conv": OperatorFit(3e-6, mac_rate=5e10, bandwidth=2e10),
    "Conv depthwise": OperatorFit(1e-6, mac_rate=4e9),
    "Relu": OperatorFit(2e-7, vector_rate=8e9),
    "Transpose": OperatorFit(5e-7, bandwidth=6e9),
}


def sample(kind: str, size: int, dtype: str = "float32") -> Sample:
    """One operator of a class; its arithmetic and its bytes do not grow alike."""
    multiplies = kind.startswith("Conv")
    macs = 37 * size**2 if multiplies else 0
    vector_ops = 0 if multiplies else 11 * size
    size_bytes = 44 * size + 1_000
    seconds = LINES[kind].seconds(macs, vector_ops, size_bytes)
    signature = f"{kind} {dtype} {size} -> {size}"
    return Sample(signature, kind, dtype, macs, vector_ops, size_bytes, seconds)


def measured_model(name: str, *samples: Sample, repeats: int = 2) -> MeasuredModel:
    """A model that takes exactly as long as its operators together."""
    return MeasuredModel(
        name,
        repeats * sum(s.seconds for s in samples),
        Counter({s.signature: repeats for s in samples}),
        {s.signature: s for s in samples},
    )
