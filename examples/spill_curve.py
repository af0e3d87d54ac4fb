"""How much a model spills as its scratchpad shrinks, from its peak to its largest operator.

python examples/spill_curve.py [MODEL.onnx]
"""

from __future__ import annotations

import sys
from pathlib import Path

import planner

STEPS = 5


def main(model: str) -> None:
    graph = planner.load(model)
    target = planner.read_target("npu-1m")
    roomy = planner.plan(graph, target=target, memory={"sram": 1 << 40})
    metrics = roomy.plan.metrics
    largest = metrics.arena_bytes["sram"]
    print(f"{'sram':>14} {'spills and reloads':>20} {'bound':>12} {'simulated ms':>14}")
    for step in range(STEPS + 1):
        capacity = largest * (2 * STEPS - step) // (2 * STEPS)
        try:
            result = planner.plan(graph, target=target, memory={"sram": capacity})
        except planner.DoesNotFitError as error:
            print(f"{capacity:>14,} {error}")
            return
        metrics = result.plan.metrics
        print(
            f"{capacity:>14,} {metrics.traffic_bytes:>20,} "
            f"{metrics.traffic_lower_bound_bytes or 0:>12,} {(metrics.latency_s or 0) * 1e3:>14.3f}"
        )


if __name__ == "__main__":
    default = Path(__file__).parent / "models" / "resnet8.onnx"
    main(sys.argv[1] if len(sys.argv) > 1 else str(default))
