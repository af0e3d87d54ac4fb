"""The networks that the latency suite's programs are made from: of the zoo, or given."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import TypeAlias

    from planner.mapping_problem import MappingProblem

    Sizes: TypeAlias = Mapping[str, int]

CHIP, EDGE = "tpuv4i", "npu-edge-4m"
# Two bytes per element on the chip, one on the edge target.
_ELEMENT_TYPES: Mapping[str, str] = {CHIP: "bfloat16", EDGE: "int8"}
_SHORT = {"batch": "b", "image": "i", "sequence": "s", "cached": "c"}
# Programs of one network follow one another.
_KEPT = 4


class Network(NamedTuple):
    """A graph of the suite, in all its sizes.

    Attributes
    ----------
    graph : str
        Its name: means and intervals are over graphs, not over their sizes.
    family : str
    network : str
        The zoo's name for it.
    rows : int
        Operators, which no size changes.
    chip, edge : sequences of mappings of str to int
        Sizes in which it is run on either target: batch, image and the like.
    structure : mapping of str to int
        Options that make the graph what it is.
    """

    graph: str
    family: str
    network: str
    rows: int
    chip: tuple[Sizes, ...] = ({"batch": 1}, {"batch": 8})
    edge: tuple[Sizes, ...] = ({"batch": 1},)
    structure: Sizes = MappingProxyType({})

    def label(self, sizes: Sizes) -> str:
        """Return the graph and its sizes: ``resnet50-b8``."""
        return "-".join(
            [self.graph, *(f"{_SHORT.get(name, name)}{size}" for name, size in sizes.items())]
        )


_WIDE: tuple[Sizes, ...] = ({"batch": 1}, {"batch": 32})
_IMAGES: tuple[Sizes, ...] = ({"batch": 1}, {"batch": 8}, {"batch": 1, "image": 448})
_SEQUENCES: tuple[Sizes, ...] = ({"batch": 1}, {"batch": 16}, {"batch": 1, "sequence": 384})

# Options that are not named are the zoo's defaults.
NETWORKS: tuple[Network, ...] = (
    # Its rows take the chip less than a copy's set-up.
    Network("resnet8", "cnn", "resnet8", 23, (), ({"batch": 32}, {"batch": 128})),
    Network("resnet50", "cnn", "resnet50", 122, _IMAGES, ({"batch": 1}, {"batch": 8})),
    Network("resnext50", "cnn", "resnext50", 122),
    Network("mobilenet_v2", "cnn", "mobilenet_v2", 100, _WIDE, ({"batch": 1}, {"batch": 8})),
    Network("mobilenet_v3_large", "cnn", "mobilenet_v3_large", 140, _WIDE),
    Network("densenet121", "cnn", "densenet121", 427, _WIDE, ({"batch": 1}, {"batch": 8})),
    Network("bert_base", "prefill", "bert_base", 385, _SEQUENCES),
    Network("gpt2_prefill", "prefill", "gpt2_prefill", 340, _SEQUENCES),
    Network("transformer", "prefill", "transformer", 511, ({"batch": 1}, {"batch": 8})),
    Network("vit_b_16", "prefill", "vit_b_16", 332, ({"batch": 1}, {"batch": 8})),
    Network(
        *("gpt2_decode", "decode", "gpt2_decode", 352),
        ({"batch": 1}, {"batch": 8}, {"batch": 32}, {"batch": 8, "cached": 1023}),
        ({"batch": 1}, {"batch": 8}),
    ),
    Network("unet", "segmentation", "unet", 49, ({"batch": 1}, {"batch": 1, "image": 512})),
    Network("fcn_resnet50", "segmentation", "fcn_resnet50", 123),
    Network("deeplabv3_resnet50", "segmentation", "deeplabv3_resnet50", 138),
    Network("lraspp", "segmentation", "lraspp", 146, _WIDE),
    Network(
        *("r2plus1d_18", "video", "r2plus1d_18", 82),
        ({"batch": 1}, {"batch": 4}),
        ({"batch": 1, "image": 112},),
    ),
    Network("s3d", "video", "s3d", 179, ({"batch": 1}, {"batch": 4})),
    Network("darts", "nas", "darts", 552),
    Network("nasnet_a_mobile", "nas", "nasnet_a_mobile", 719),
    Network("nasnet_a_large", "nas", "nasnet_a_large", 977),
    Network("pnasnet5_mobile", "nas", "pnasnet5_mobile", 575),
    Network("pnasnet5_large", "nas", "pnasnet5_large", 722),
    Network("amoebanet_d", "nas", "amoebanet_d", 782),
    Network("randwire", "nas", "randwire", 423),
    Network("randwire-seed2", "nas", "randwire", 421, structure={"seed": 2}),
    Network("randwire-seed3", "nas", "randwire", 425, structure={"seed": 3}),
)

# Of thousands of rows, by more cells, layers or nodes.
DEEP_NETWORKS: tuple[Network, ...] = (
    Network("transformer-36", "prefill", "transformer", 3031, structure={"layers": 36}),
    Network("darts-80", "nas", "darts", 3324, structure={"layers": 80}),
    Network("nasnet_a_large-18", "nas", "nasnet_a_large", 2525, structure={"cells": 18}),
    Network("pnasnet5_large-12", "nas", "pnasnet5_large", 1898, structure={"cells": 12}),
    Network("amoebanet_d-54", "nas", "amoebanet_d", 2042, structure={"cells": 54}),
    Network("randwire-128", "nas", "randwire", 1664, structure={"nodes": 128}),
)


def zoo_problem(network: Network, sizes: Sizes, target: str) -> MappingProblem:
    """Lower a network and state it with a fast memory as large as all of its bytes."""
    options = tuple(sorted({**network.structure, **sizes}.items()))
    return _zoo_problem(network.network, options, target)


@lru_cache(maxsize=_KEPT)
def _zoo_problem(name: str, options: tuple[tuple[str, int], ...], target: str) -> MappingProblem:
    from frontends import zoo

    return _stated(zoo.build(name, dtype=_ELEMENT_TYPES[target], **dict(options)), {}, target)


def model_problem(path: Path, dims: Sizes, target: str) -> MappingProblem:
    """Do the same with a model file.

    Raises
    ------
    BadFileError
        If it cannot be read.
    LoweringError
        If it cannot be lowered.
    UsageError
        If a dimension is unknown.
    """
    return _model_problem(path, tuple(sorted(dims.items())), target)


@lru_cache(maxsize=_KEPT)
def _model_problem(path: Path, dims: tuple[tuple[str, int], ...], target: str) -> MappingProblem:
    return _stated(str(path), dict(dims), target)


def _stated(source: object, dims: Sizes, target_name: str) -> MappingProblem:
    from planner.api import load
    from planner.problem import Objective, PlanningProblem
    from planner.target_file import read_target
    from solvers.mapping.program import mapping_program

    graph = load(source, dims=dims, parameters=True)
    target = read_target(target_name)
    unit = target.nearest.alignment_bytes
    whole = max(-(-sum(s.size_bytes for s in graph.storages) // unit), 1) * unit
    problem = PlanningProblem(
        graph, target.with_capacities({target.nearest.name: whole}), Objective.LATENCY
    )
    return mapping_program(problem, range(len(graph.operators))).problem
