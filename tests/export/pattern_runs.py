"""Schedules of random graphs whose operators write bytes that depend on all the bytes they read.

The same in Python, each storage with bytes of its own, says what every operator has to see.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.export.model_calls import ModelCalls, OperatorCall
from planner.graph import StorageKind

if TYPE_CHECKING:
    from planner.export.c import CFiles
    from planner.graph import Graph
    from planner.plans import Plan

PATTERN_C = Path(__file__).with_name("pattern_operators.h").read_text(encoding="utf-8")


def calls_of(graph: Graph) -> ModelCalls:
    """Operands as the graph has them; every third operator with an omitted and a repeated one."""
    operators = []
    for index, node in enumerate(graph.operators):
        scratch = [
            t
            for t in node.outputs
            if graph.storages[graph.tensors[t].storage].kind is StorageKind.WORKSPACE
        ]
        inputs = node.inputs
        if index % 3 == 0:
            inputs = (*inputs[:1], -1, *inputs[1:], inputs[0])
        outputs = tuple(t for t in node.outputs if t not in scratch)
        operators.append(OperatorCall(inputs, outputs, scratch[0] if scratch else -1))
    return ModelCalls(graph, tuple(operators), tuple(given(graph)), tuple(taken(graph)))


def given(graph: Graph) -> list[int]:
    """Tensors that the caller writes."""
    return [
        index
        for index, tensor in enumerate(graph.tensors)
        if graph.producer[index] < 0 and graph.storages[tensor.storage].kind is StorageKind.INPUT
    ]


def taken(graph: Graph) -> list[int]:
    """For each storage that survives, the first tensor that is all of it."""
    found: dict[int, int] = {}
    for index, tensor in enumerate(graph.tensors):
        storage = graph.storages[tensor.storage]
        if storage.is_output and tensor.size_bytes == storage.size_bytes:
            found.setdefault(tensor.storage, index)
    return list(found.values())


def content(tensor: int, size: int) -> bytes:
    """What the caller puts into an input or constant."""
    return bytes((tensor * 37 + at * 11 + 5) & 255 for at in range(size))


def hashed(data: bytes, seed: int) -> int:
    """FNV-1a, 32 bits."""
    for byte in data:
        seed = (seed ^ byte) * 16777619 & 0xFFFFFFFF
    return seed


def expected(model: ModelCalls, plan: Plan) -> list[str]:
    """What the C program has to print: what each operator reads, then the outputs."""
    graph = model.graph
    memory = [bytearray(storage.size_bytes) for storage in graph.storages]

    def span(tensor: int) -> slice:
        of = graph.tensors[tensor]
        return slice(of.offset_bytes, of.offset_bytes + of.size_bytes)

    def read(tensor: int) -> bytes:
        return bytes(memory[graph.tensors[tensor].storage][span(tensor)])

    for index, tensor in enumerate(graph.tensors):
        kind = graph.storages[tensor.storage].kind
        if graph.producer[index] < 0 and kind in (StorageKind.INPUT, StorageKind.CONSTANT):
            memory[tensor.storage][span(index)] = content(index, tensor.size_bytes)
    lines = []
    for operator in plan.order:
        if graph.is_view(operator):
            continue
        call, value = model.operators[operator], 2166136261 ^ operator
        for tensor in call.inputs:
            value = hashed(b"" if tensor < 0 else read(tensor), (value + 1) & 0xFFFFFFFF)
        lines.append(f"{operator} {value:08x}")
        for position, tensor in enumerate(call.outputs):
            of = graph.tensors[tensor]
            memory[of.storage][span(tensor)] = bytes(
                ((value >> (at + position) % 4 * 8) + at * 31 + position * 17) & 255
                for at in range(of.size_bytes)
            )
    for tensor in model.outputs:
        of = graph.tensors[tensor]
        is_used = len(graph.storage_users.row(of.storage)) > 0
        data = read(tensor)
        lines.append(f"output {hashed(data, 7):08x}" if data and is_used else "output nowhere")
    return lines


def program(files: CFiles, model: ModelCalls) -> str:
    """Return a C function that runs the model in each way of copying and prints what it sees."""
    graph, prefix, upper = model.graph, files.prefix, files.prefix.upper()
    constants = [
        index
        for index, tensor in enumerate(graph.tensors)
        if graph.storages[tensor.storage].kind is StorageKind.CONSTANT and tensor.size_bytes
    ]
    memories = [
        line.split()[1].removeprefix(f"{upper}_ARENA_BYTES_")
        for line in files.header.splitlines()
        if line.startswith(f"#define {upper}_ARENA_BYTES_")
    ]
    functions = {
        line.split("(")[0].removeprefix("int ")
        for line in files.header.splitlines()
        if line.startswith(f"int {prefix}_op_")
    }
    arenas = "\n".join(
        f"    instance.memory[{upper}_MEMORY_{name}] = (uint8_t *)exact_block("
        f"{upper}_ARENA_BYTES_{name}, {upper}_ARENA_ALIGNMENT_{name});"
        for name in memories
    )
    written = "\n".join(
        f"        fill({prefix}_input(&instance, {at}), {prefix}_input_tensors[{at}]->bytes, "
        f"{tensor});"
        for at, tensor in enumerate(given(graph))
    )
    filled = "\n".join(
        f"    constants[{at}] = filled_block({prefix}_constant_tensors[{at}]->bytes, {tensor});"
        for at, tensor in enumerate(constants)
    )
    reads = "\n".join(
        f"        print_output({prefix}_output(&instance, {at}), "
        f"{prefix}_output_tensors[{at}]->bytes);"
        for at in range(len(model.outputs))
    )
    bodies = "\n".join(
        f"int {function}(const planner_call *call) {{ return pattern(call); }}"
        for function in sorted(functions)
    )
    return f"""
{bodies}
static void run_{prefix}(void)
{{
    static const void *constants[{upper}_CONSTANT_COUNT + 1];
    {prefix}_instance instance = {{{{0}}, NULL, NULL, NULL, NULL, NULL}};
    int way;
{arenas}
{filled}
    instance.constants = constants;
    for (way = 0; way < 3; way++) {{
        instance.copy_begin = way == 0 ? NULL : way == 1 ? late_begin : early_begin;
        instance.copy_end = way == 0 ? NULL : way == 1 ? late_end : early_end;
        instance.move = way == 1 ? memmove : NULL;
{written}
        printf("run {prefix}\\n");
        require({prefix}_run(&instance) == 0);
{reads}
    }}
}}
"""
