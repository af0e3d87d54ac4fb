"""MEMO's two levels on a training step of a transformer, against packing everything at once.

Writes the step's allocation log, which `plan pack LOG --solver bilevel` reads as well, packs it
flat and on two levels, and prints what the two levels cost.

python examples/memo_bilevel.py [LAYERS [LOG]]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from planner.packing.race import offset_problem_of
from planner.registry import SOLVERS

TIME_LIMIT_S = 10.0

BATCH, SEQUENCE, HIDDEN, HEADS, VOCABULARY = 1, 2048, 1024, 16, 32000
BYTES = 2  # 16-bit activations
UNIT = BATCH * SEQUENCE * HIDDEN * BYTES
STATISTICS = BATCH * SEQUENCE * 4  # one 32-bit number a token
CHUNKS = 8  # the loss is computed on one part of the tokens after the other
LOGITS = BATCH * SEQUENCE // CHUNKS * VOCABULARY * BYTES

SIZES = {
    # Saved for the backward pass ("skeletal"), 16 units a layer as MEMO counts them.
    "input": UNIT,
    "norm1": UNIT,
    "q": UNIT,
    "k": UNIT,
    "v": UNIT,
    "attention": UNIT,
    "residual": UNIT,
    "norm2": UNIT,
    "up": 4 * UNIT,
    "gelu": 4 * UNIT,
    "softmax_statistics": HEADS * STATISTICS,
    # Gone by the end of the pass ("transient").
    "norm1_mean": STATISTICS,
    "qkv": 3 * UNIT,
    "q_rotated": UNIT,
    "k_rotated": UNIT,
    "attention_workspace": 2 * UNIT,
    "projection": UNIT,
    "norm2_mean": STATISTICS,
    "up_bias": 4 * UNIT,
    "down": UNIT,
    "d_down": UNIT,
    "d_gelu": 4 * UNIT,
    "d_up": 4 * UNIT,
    "d_norm2": UNIT,
    "d_residual": UNIT,
    "d_projection": UNIT,
    "d_attention": UNIT,
    "d_workspace": 4 * STATISTICS * HEADS,
    "d_qkv": 3 * UNIT,
    "d_q": UNIT,
    "d_k": UNIT,
    "d_v": UNIT,
    "d_norm1": UNIT,
}

# One line an operator: + allocates, - frees.
FORWARD = """
+input
+norm1_mean +norm1 -norm1_mean
+qkv
+q +k +v
-qkv
+q_rotated +k_rotated
+attention_workspace +attention +softmax_statistics -attention_workspace -q_rotated -k_rotated
+projection
+residual -projection
+norm2_mean +norm2 -norm2_mean
+up_bias +up -up_bias
+gelu
+down
-down
"""
BACKWARD = """
+d_down
+d_gelu -gelu
+d_up -d_gelu -up
+d_norm2 -d_up -norm2
+d_residual -d_norm2 -d_down -residual
+d_projection
+d_attention -d_projection
+d_workspace +d_q +d_k +d_v -d_workspace -d_attention -attention -softmax_statistics -q -k -v
+d_qkv -d_q -d_k -d_v
+d_norm1 -d_qkv -norm1
-d_norm1 -d_residual -input
"""


def training_step(layers: int) -> list[str]:
    """The log of embedding, ``layers`` forward, head and loss, ``layers`` backward."""
    lines = [f"# {layers} layers, batch {BATCH}, sequence {SEQUENCE}, hidden {HIDDEN}"]

    def run(operators: str, layer: int) -> None:
        for event in operators.split():
            name = event[1:]
            if event[0] == "+":
                lines.append(f"malloc layer{layer}.{name} {SIZES[name]}")
            else:
                lines.append(f"free layer{layer}.{name}")

    lines.append(f"malloc embedding {UNIT}")
    for layer in range(layers):
        run(FORWARD, layer)
    lines.append(f"malloc d_output {UNIT}")
    for chunk in range(CHUNKS):
        lines += [
            f"malloc chunk{chunk}.logits {LOGITS}",
            f"malloc chunk{chunk}.probabilities {LOGITS}",
            f"free chunk{chunk}.logits",
            f"malloc chunk{chunk}.d_logits {LOGITS}",
            f"free chunk{chunk}.probabilities",
            f"free chunk{chunk}.d_logits",
        ]
    for layer in reversed(range(layers)):
        run(BACKWARD, layer)
    return [*lines, "free d_output", "free embedding"]


def main(layers: int, log: Path) -> None:
    from frontends.buffers.malloc_log import read_malloc_log
    from solvers.protocol import Deadline

    log.write_text("\n".join(training_step(layers)) + "\n", encoding="utf-8")
    problem = offset_problem_of(read_malloc_log(log))
    outcomes = {}
    print(f"{'packing':<8} {'height':>15} {'x bound':>8} {'status':<9} {'seconds':>8}")
    for name in ("greedy", "exact", "bilevel"):
        solver = SOLVERS["offsets"][name].load()
        started = time.monotonic()
        outcome = outcomes[name] = solver.solve(problem, deadline=Deadline(TIME_LIMIT_S))
        print(
            f"{name:<8} {outcome.solution.height:>15,} "
            f"{outcome.solution.height / outcome.lower_bound:>8.4f} {outcome.status:<9} "
            f"{time.monotonic() - started:>8.2f}"
        )
    levels = outcomes["bilevel"].statistics
    print(f"{len(problem.size):,} buffers at once, or on two levels:")
    for count, transients, height in zip(
        levels["layers_of_kind"],
        levels["transients_of_kind"],
        levels["block_heights"],
        strict=True,
    ):
        print(
            f"  level 1: {transients} transients in a block of {height:,} bytes, for {count} layers"
        )
    print(f"  level 2: {levels['level_2_buffers']:,} buffers and blocks")
    print(levels["note"])


if __name__ == "__main__":
    layers = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    if len(sys.argv) > 2:
        main(layers, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(layers, Path(directory) / "step.log")
