"""Models run by the exported C, with plain kernels, inputs and weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from planner.export.c import load_planned_calls, write_c
from planner.export.c_schedule import schedule

from .c_compiler import build, execute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from onnx import ModelProto

    from planner.plans import Plan

KERNELS = {
    "Add": "add",
    "AveragePool": "average_pool",
    "Concat": "concat",
    "Conv": "conv",
    "Gemm": "gemm",
    "GlobalAveragePool": "average_pool",
    "MaxPool": "max_pool",
    "Relu": "relu",
    "Softmax": "softmax",
}
MAIN = """
#include "net.h"
#include <stdio.h>
#include <stdlib.h>
#include "{kernels}"
{functions}
static void load(FILE *file, void *bytes, size_t count)
{{
    if (fread(bytes, 1, count, file) != count) {{
        exit(2);
    }}
}}

int main(void)
{{
    PLANNER_ALIGNED({alignment}) static uint8_t arenas[NET_MEMORY_COUNT][{largest}];
    static const void *constants[NET_CONSTANT_COUNT + 1];
    net_instance instance = {{{{0}}, constants, NULL, NULL, NULL, NULL}};
    FILE *given = fopen("given.bin", "rb"), *taken = fopen("taken.bin", "wb");
    size_t at, constant_count = NET_CONSTANT_COUNT;
    int status;
    for (at = 0; at < NET_MEMORY_COUNT; at++) {{
        instance.memory[at] = arenas[at];
    }}
    for (at = 0; at < constant_count; at++) {{
        void *block = malloc(net_constant_tensors[at]->bytes);
        load(given, block, net_constant_tensors[at]->bytes);
        constants[at] = block;
    }}
    for (at = 0; at < NET_INPUT_COUNT; at++) {{
        load(given, net_input(&instance, at), net_input_tensors[at]->bytes);
    }}
    status = net_run(&instance);
    for (at = 0; at < NET_OUTPUT_COUNT; at++) {{
        fwrite(net_output(&instance, at), 1, net_output_tensors[at]->bytes, taken);
    }}
    fclose(given);
    fclose(taken);
    return status;
}}
"""


def run_exported(
    folder: Path, model: ModelProto, plan: Plan, inputs: Mapping[str, NDArray[Any]]
) -> list[NDArray[np.float32]]:
    """Outputs of the model, computed by the exported schedule."""
    calls = load_planned_calls(model, plan)
    files = write_c(calls, plan, folder / "net")
    graph, found = calls.graph, schedule(calls, plan)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor, elements in calls.known.items():
        of = graph.tensors[tensor]
        values[of.name] = np.array(elements, of.dtype)
    values.update(inputs)
    given = [graph.tensors[tensor].name for tensor, _ in found.inputs]
    data = b"".join(values[name].tobytes() for name in (*files.constants, *given))
    (folder / "given.bin").write_bytes(data)
    functions = "\n".join(
        f"int net_op_{type_}(const planner_call *call) {{ return {KERNELS[type_]}(call); }}"
        for type_ in dict.fromkeys(graph.operators[call.operator].type for call in found.calls)
    )
    main = MAIN.format(
        kernels=Path(__file__).with_name("reference_kernels.h"),
        functions=functions,
        alignment=max(memory.alignment_bytes for memory in plan.target.memories),
        largest=-(-max(1, *plan.metrics.arena_bytes.values()) // 64) * 64,
    )
    (folder / "main.c").write_text(main)
    execute(build(folder, ["main.c", f"{files.prefix}.c"], "-O1", "-DNET_POISON=0xFF"))
    taken = (folder / "taken.bin").read_bytes()
    outputs, begin = [], 0
    for tensor in calls.outputs:
        of = graph.tensors[tensor]
        part = taken[begin : begin + of.size_bytes]
        outputs.append(np.frombuffer(part, np.float32).reshape(of.shape))
        begin += of.size_bytes
    return outputs
