"""The programs of the latency suite: real networks, by size, target and fast memory.

Capacities in per cent are of all bytes of the network, its weights included; of a crop, of its
buffers. Every program has at least 2 % to gain between everything slow and everything fast.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.latency_networks import (
    CHIP,
    DEEP_NETWORKS,
    EDGE,
    NETWORKS,
    model_problem,
    zoo_problem,
)
from planner.errors import BadFileError, LoweringError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from planner.bench.latency_networks import Network, Sizes
    from planner.mapping_problem import MappingProblem

GIVEN = "given"
# All slow divided by all fast, at least.
LEAST_GAIN = 1.02

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}
# In turn, for the sizes of a network on the chip.
_CHIP_CAPACITIES = (("2%", "10%", "50%"), ("5%", "20%", "128MiB"))
# Besides, for its first size on either target: where choices are hardest.
_SCARCE_CHIP_CAPACITIES = ("1%", "3%", "7%")
_SCARCE_EDGE_CAPACITIES = ("512KiB", "2MiB")
_EDGE_CAPACITIES = ("1MiB", "4MiB")
# Of what that makes: less than 2 % to gain.
_WITHOUT_GAIN = frozenset(("unet-b1 npu-edge-4m 512KiB", "r2plus1d_18-b1-i112 npu-edge-4m 512KiB"))
_CROP_CAPACITIES = ("5%", "10%", "20%", "40%")
_CROP_ROWS = (24, 32, 40, 48)
# Up to this many rows a whole network counts as small.
_SMALL_ROWS = 60
# How often a network is run in a row to get a large program, by graph.
_REPEATED: Mapping[str, int] = {
    "gpt2_decode": 8,
    "bert_base": 6,
    "gpt2_prefill": 6,
    "resnet50": 16,
    "mobilenet_v2": 24,
    "densenet121": 6,
    "lraspp": 16,
    "s3d": 12,
}


class Program(NamedTuple):
    """One program of the suite.

    Attributes
    ----------
    name : str
        ``resnet50-b8 tpuv4i 20%``.
    graph : str
        Which network it is of, whatever its sizes.
    family : str
    target : str
        A shipped one.
    build : callable
        States the problem.
    """

    name: str
    graph: str
    family: str
    target: str
    build: Callable[[], MappingProblem]


def full_programs() -> list[Program]:
    """Every network in its sizes on both targets, 12 to 1000 rows, and with scarce memory."""
    return [program for network in NETWORKS for program in (*_whole(network), *_scarce(network))]


def quick_programs() -> list[Program]:
    """One program of each graph, in turn another size, target or capacity."""
    found = []
    for turn, network in enumerate(NETWORKS):
        programs = _whole(network)
        found.append(programs[(5 * turn + 1) % len(programs)])
    return found


def small_programs() -> list[Program]:
    """Small networks, and stretches of the others that an exact solver can prove."""
    found = []
    for turn, network in enumerate(NETWORKS):
        if network.rows <= _SMALL_ROWS:
            found += _whole(network)
        else:
            found += _crops(network, turn)
    return found


def large_programs() -> list[Program]:
    """Thousands of rows: deep networks, and networks run several times in a row."""
    found = []
    for network in DEEP_NETWORKS:
        found += [_program(network, {"batch": 1}, CHIP, capacity) for capacity in ("5%", "20%")]
        found.append(_program(network, {"batch": 1}, EDGE, "4MiB"))
    for network in NETWORKS:
        times = _REPEATED.get(network.graph, 0)
        if times:
            sizes = network.chip[0]
            found += [_repeated(network, sizes, CHIP, c, times) for c in ("5%", "20%")]
            found.append(_repeated(network, network.edge[0], EDGE, "4MiB", times))
    return found


SETS: Mapping[str, Callable[[], list[Program]]] = {
    "quick": quick_programs,
    "full": full_programs,
    "small": small_programs,
    "large": large_programs,
}


def chosen_programs(which: str, graphs: Sequence[str] | None) -> list[Program]:
    """Return the programs of a set, or those of the graphs named.

    Raises
    ------
    UsageError
        If a set or graph is unknown, or no graph is named.
    """
    if which not in SETS:
        raise UsageError(f"no set of programs {which!r}. There are: {', '.join(SETS)}.")
    programs = SETS[which]()
    if graphs is None:
        return programs
    known = dict.fromkeys(program.graph for program in programs)
    for graph in graphs:
        if graph not in known:
            raise UsageError(f"no network {graph!r}. There are: {', '.join(known)}.")
    if not graphs:
        raise UsageError(f"no network is named. There are: {', '.join(known)}.")
    return [program for program in programs if program.graph in graphs]


def programs_in(
    directory: str | os.PathLike[str],
    dims: Mapping[str, Sizes],
    on_unread: Callable[[str], None],
) -> list[Program]:
    """Return programs of the model files of a directory, each a graph of the family ``given``.

    Models that cannot be lowered, and programs with less than 2 % to gain, are told and left out.

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
        raise BadFileError(f"{directory}: no model, *.onnx. There is nothing to map.")
    for name in dims:
        if name not in paths:
            raise UsageError(f"--dim {name}/...: there is no {name}.onnx in {directory}.")
    return [
        program
        for name, path in paths.items()
        for program in _given(name, path, dims.get(name, {}), on_unread)
    ]


def _given(
    name: str, path: Path, dims: Sizes, on_unread: Callable[[str], None]
) -> Iterator[Program]:
    cases = [(CHIP, "5%"), (CHIP, "20%"), *((EDGE, capacity) for capacity in _EDGE_CAPACITIES)]
    for target, capacity in cases:
        program = Program(
            f"{name} {target} {capacity}",
            name,
            GIVEN,
            target,
            partial(_sized, partial(model_problem, path, dims, target), capacity),
        )
        try:
            problem = program.build()
        except (BadFileError, LoweringError, UsageError) as error:
            on_unread(f"{name} is left out: {error}")
            return
        if problem.all_slow < LEAST_GAIN * problem.all_fast:
            on_unread(f"{program.name} is left out: it has less than 2 % to gain.")
        else:
            yield program


def without_family(programs: Iterable[Program], family: str) -> tuple[list[Program], list[Program]]:
    """Split programs into those to train on, and the family that is tested: no graph is in both.

    Raises
    ------
    UsageError
        If no program is of the family.
    """
    programs = list(programs)
    unseen = [program for program in programs if program.family == family]
    if not unseen:
        known = dict.fromkeys(program.family for program in programs)
        raise UsageError(f"no program is of the family {family!r}. There are: {', '.join(known)}.")
    return [program for program in programs if program.family != family], unseen


def _whole(network: Network) -> list[Program]:
    found = []
    for turn, sizes in enumerate(network.chip):
        capacities = _CHIP_CAPACITIES[turn % len(_CHIP_CAPACITIES)]
        found += [_program(network, sizes, CHIP, capacity) for capacity in capacities]
    for sizes in network.edge:
        found += [_program(network, sizes, EDGE, capacity) for capacity in _EDGE_CAPACITIES]
    return found


def _scarce(network: Network) -> Iterator[Program]:
    """Its first sizes with less memory than most of its choices ask for."""
    cases = (
        (CHIP, network.chip[:1], _SCARCE_CHIP_CAPACITIES),
        (EDGE, network.edge[:1], _SCARCE_EDGE_CAPACITIES),
    )
    for target, first, capacities in cases:
        for sizes in first:
            for capacity in capacities:
                program = _program(network, sizes, target, capacity)
                if program.name not in _WITHOUT_GAIN:
                    yield program


def _program(network: Network, sizes: Sizes, target: str, capacity: str) -> Program:
    return Program(
        f"{network.label(sizes)} {target} {capacity}",
        network.graph,
        network.family,
        target,
        partial(_sized, partial(zoo_problem, network, sizes, target), capacity),
    )


def _repeated(network: Network, sizes: Sizes, target: str, capacity: str, times: int) -> Program:
    one = _program(network, sizes, target, capacity)
    name = f"{network.label(sizes)} x{times} {target} {capacity}"
    return one._replace(name=name, build=partial(_in_a_row, one.build, times))


def _crops(network: Network, turn: int) -> Iterator[Program]:
    cases = [(CHIP, network.chip[0]), (CHIP, network.chip[1]), (EDGE, network.edge[0])]
    for index, (target, sizes) in enumerate(cases):
        for half in range(2):
            at = turn + index + 2 * half
            rows, capacity = _CROP_ROWS[at % 4], _CROP_CAPACITIES[(at // 2) % 4]
            start = (network.rows - rows) * (2 * half + 1 + index) // 6
            end = start + rows
            yield Program(
                f"{network.label(sizes)} {target} rows {start}-{end} {capacity}",
                network.graph,
                network.family,
                target,
                partial(
                    _stretch, partial(zoo_problem, network, sizes, target), start, end, capacity
                ),
            )


def _sized(whole: Callable[[], MappingProblem], capacity: str) -> MappingProblem:
    from solvers.mapping.variants import with_capacity

    problem = whole()
    return with_capacity(problem, min(_bytes(capacity, problem.capacity), problem.capacity))


def _in_a_row(one: Callable[[], MappingProblem], times: int) -> MappingProblem:
    from solvers.mapping.variants import repeated

    return repeated(one(), times)


def _stretch(
    whole: Callable[[], MappingProblem], start: int, end: int, capacity: str
) -> MappingProblem:
    from solvers.mapping.variants import cropped, with_capacity

    problem = cropped(whole(), start, end)
    return with_capacity(problem, _bytes(capacity, int(problem.size.sum())))


def _bytes(capacity: str, whole: int) -> int:
    if capacity.endswith("%"):
        return whole * int(capacity[:-1]) // 100
    for unit, size in _UNITS.items():
        if capacity.endswith(unit):
            return int(capacity.removesuffix(unit)) * size
    raise ValueError(f"no capacity: {capacity!r}")
