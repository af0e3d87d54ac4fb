"""The networks of COSMA's evaluation, from the zoo, and bare graphs from a directory."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import BadFileError, UsageError
from planner.graph import StorageKind
from planner.regular_file import read_regular

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from planner.graph import Graph

BUDGETS_FILE = "budgets.txt"
DTYPE = "int8"
_LARGEST_BUDGETS_FILE = 1024**2
_LARGEST_CAPACITY = 1 << 53


class Group(StrEnum):
    """How a network was found; means are over one group."""

    HUMAN = "human-designed"
    SEARCH = "architecture search"
    LARGE = "architecture search, 331 pixels"
    GIVEN = "given graphs"


class Capacities(NamedTuple):
    """Bytes of the scratchpad: least possible, no traffic needed, and halfway."""

    least: int
    halfway: int
    peak: int


class Network(NamedTuple):
    """One network of the suite.

    Attributes
    ----------
    name, title : str
        For the command line and for tables.
    group : Group
    load : callable
        Builds the graph.
    capacities : Capacities or None
        Where somebody has given them.
    options : mapping
        Of the zoo, where they are not its defaults.
    """

    name: str
    title: str
    group: Group
    load: Callable[[], Graph]
    capacities: Capacities | None = None
    options: Mapping[str, int] = MappingProxyType({})


# Batch 1 and the zoo's defaults: images 1x3x224x224, videos 1x3x16x224x224. Networks from
# architecture search have their published size in the title: cells @ filters. What was published
# for larger images as well is in a group of its own, so that a mean has each network once. The
# Transformer ends where torch.nn.Transformer does: its classifier would be M_R and M_P alike.
_PUBLISHED: tuple[tuple[str, str, Group, Mapping[str, int]], ...] = (
    ("resnet50", "ResNet-50", Group.HUMAN, {}),
    ("densenet121", "DenseNet-121", Group.HUMAN, {}),
    ("resnext50", "ResNeXt-50", Group.HUMAN, {}),
    ("r2plus1d_18", "R2Plus1D-18", Group.HUMAN, {}),
    ("s3d", "S3D", Group.HUMAN, {}),
    ("fcn_resnet50", "FCN", Group.HUMAN, {}),
    ("lraspp", "L-RASPP", Group.HUMAN, {}),
    ("deeplabv3_resnet50", "DeepLabV3", Group.HUMAN, {}),
    ("transformer", "Transformer", Group.HUMAN, {"vocabulary": 0}),
    ("vit_b_16", "ViT-B/16", Group.HUMAN, {}),
    ("pnasnet5_mobile", "PNASNet-5 3@54", Group.SEARCH, {}),
    ("amoebanet_d", "AmoebaNet-D 18@208", Group.SEARCH, {}),
    ("nasnet_a_mobile", "NASNet-A 4@1056", Group.SEARCH, {}),
    ("darts", "DARTS 14@48", Group.SEARCH, {}),
    ("pnasnet5_large", "PNASNet-5 4@216", Group.LARGE, {}),
    ("nasnet_a_large", "NASNet-A 6@4032", Group.LARGE, {}),
)


def published_networks(names: Sequence[str] | None) -> list[Network]:
    """Return the evaluation's fourteen networks and two large variants, or those named.

    Raises
    ------
    UsageError
        If a name is unknown, or there is none.
    """
    networks = [
        Network(name, title, group, partial(_from_zoo, name, options), options=options)
        for name, title, group, options in _PUBLISHED
    ]
    return _chosen(networks, names)


def _from_zoo(name: str, options: Mapping[str, int]) -> Graph:
    from frontends import zoo
    from planner.api import load

    return load(zoo.build(name, batch=1, dtype=DTYPE, **options))


def networks_in(
    directory: str | os.PathLike[str],
    names: Sequence[str] | None,
    on_unreadable: Callable[[str], None],
) -> list[Network]:
    """Read the bare graphs of a directory, by name.

    Where it has a ``budgets.txt`` (lines of graph, operators, M_R, M_P, M_H, after one of heads),
    the graphs named there with their budgets. What cannot be read is told and left out.

    Raises
    ------
    BadFileError
        If there is no such directory, no graph in it can be read, or its budgets are malformed.
    UsageError
        If a name is unknown.
    """
    directory = Path(directory)
    if not directory.is_dir():
        kind = "is not a directory" if directory.exists() else "does not exist"
        raise BadFileError(f"{directory} {kind}. Give a directory of bare graphs, *.txt.")
    budgets_file = directory / BUDGETS_FILE
    given = _budgets(budgets_file) if budgets_file.is_file() else {}
    paths = [directory / f"{name}.txt" for name in given] or sorted(
        path for path in directory.glob("*.txt") if path.name != BUDGETS_FILE
    )
    if not paths:
        raise BadFileError(f"{directory}: no bare graph, *.txt. There is nothing to plan.")
    return list(_readable(directory, paths, names, given, on_unreadable))


def _readable(
    directory: Path,
    paths: Sequence[Path],
    names: Sequence[str] | None,
    given: Mapping[str, Capacities],
    on_unreadable: Callable[[str], None],
) -> Iterator[Network]:
    from frontends.bare_graph import read_bare_graph

    networks = [
        Network(path.stem, path.stem, Group.GIVEN, partial(read_bare_graph, path), capacities)
        for path in paths
        for capacities in [given.get(path.stem)]
    ]
    reasons: list[str] = []
    chosen = _chosen(networks, names)
    for network in chosen:
        try:
            graph = network.load()
            if not graph.operators:
                raise BadFileError(f"{directory / network.name}.txt: it has no operators.")
        except BadFileError as error:
            reasons.append(str(error))
            on_unreadable(str(error))
        else:
            yield network._replace(load=partial(_same, graph))
    if len(reasons) == len(chosen):
        raise BadFileError(f"{directory}: none of its graphs can be read. {reasons[0]}")


def _same(graph: Graph) -> Graph:
    return graph


def _budgets(path: Path) -> dict[str, Capacities]:
    budgets = {}
    text = read_regular(path, _LARGEST_BUDGETS_FILE).decode(errors="replace")
    for number, line in enumerate(text.splitlines()[1:], 2):
        words = line.split()
        if not words:
            continue
        try:
            name, _, least, peak, halfway = words
            budgets[name] = Capacities(int(least), int(halfway), int(peak))
            if not all(0 <= capacity <= _LARGEST_CAPACITY for capacity in budgets[name]):
                raise ValueError(f"{name}: no capacities")
        except ValueError:
            raise BadFileError(
                f"{path}:{number}: expected a graph's name and four whole numbers: operators, "
                "M_R, M_P, M_H."
            ) from None
    return budgets


def _chosen(networks: Sequence[Network], names: Sequence[str] | None) -> list[Network]:
    if names is None:
        return list(networks)
    known = {network.name: network for network in networks}
    for name in names:
        if name not in known:
            raise UsageError(f"no network {name!r}. There are: {', '.join(known)}.")
    if not names:
        raise UsageError(f"no network is named. There are: {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)]


def input_text(network: Network, graph: Graph) -> str:
    """Types and shapes of the inputs, and the network's options: ``int8 1x3x224x224``."""
    inputs = (
        f"{tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}"
        for tensor in graph.tensors
        if graph.storages[tensor.storage].kind is StorageKind.INPUT
    )
    return ", ".join([*inputs, *(f"{name}={value}" for name, value in network.options.items())])
