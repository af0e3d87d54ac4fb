"""Well-known networks as ONNX models without weights: the right graph, nothing to download.

Weights have dims and element type, and data in a file that does not exist. A model of 100 million
parameters takes some 100 kB; planning needs no more. Same arguments, same bytes.

Every network takes ``batch`` and ``dtype``: ``float32``, ``float16``, ``bfloat16``, or ``int8``,
which stands for one byte per activation and weight. ONNX has no int8 ``Conv``, and in the operator
set used here no bfloat16 one: such models can be planned, with true sizes, and not executed.
Convolutional networks that a deployed graph would simplify take ``fold_batchnorm``.
"""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol

from frontends.zoo.amoebanet import amoebanet_d
from frontends.zoo.bert import bert_base
from frontends.zoo.builder import parameters
from frontends.zoo.darts import darts
from frontends.zoo.densenet import densenet121
from frontends.zoo.gpt2 import gpt2_decode, gpt2_prefill
from frontends.zoo.mobilenet import mobilenet_v2, mobilenet_v3_large
from frontends.zoo.nasnet import nasnet_a_large, nasnet_a_mobile
from frontends.zoo.pnasnet import pnasnet5_large, pnasnet5_mobile
from frontends.zoo.randwire import randwire
from frontends.zoo.resnet import resnet8, resnet50, resnext50
from frontends.zoo.segmentation import deeplabv3_resnet50, fcn_resnet50, lraspp
from frontends.zoo.transformer import transformer
from frontends.zoo.unet import unet
from frontends.zoo.video import r2plus1d_18, s3d
from frontends.zoo.vit import vit_b_16
from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx import ModelProto

__all__ = [
    "amoebanet_d",
    "bert_base",
    "build",
    "darts",
    "deeplabv3_resnet50",
    "densenet121",
    "fcn_resnet50",
    "gpt2_decode",
    "gpt2_prefill",
    "lraspp",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "names",
    "nasnet_a_large",
    "nasnet_a_mobile",
    "options",
    "parameters",
    "pnasnet5_large",
    "pnasnet5_mobile",
    "r2plus1d_18",
    "randwire",
    "resnet8",
    "resnet50",
    "resnext50",
    "s3d",
    "transformer",
    "unet",
    "vit_b_16",
]


class _Network(Protocol):
    __name__: str

    def __call__(self, *, batch: int, dtype: str) -> ModelProto: ...


_NETWORKS: dict[str, _Network] = {
    network.__name__: network
    for network in (
        amoebanet_d,
        bert_base,
        darts,
        deeplabv3_resnet50,
        densenet121,
        fcn_resnet50,
        gpt2_decode,
        gpt2_prefill,
        lraspp,
        mobilenet_v2,
        mobilenet_v3_large,
        nasnet_a_large,
        nasnet_a_mobile,
        pnasnet5_large,
        pnasnet5_mobile,
        r2plus1d_18,
        randwire,
        resnet50,
        resnet8,
        resnext50,
        s3d,
        transformer,
        unet,
        vit_b_16,
    )
}


def names() -> tuple[str, ...]:
    """Names of the networks, in alphabetical order."""
    return tuple(sorted(_NETWORKS))


def options(name: str) -> dict[str, int | bool]:
    """Defaults of a network's options beside ``batch`` and ``dtype``.

    Raises
    ------
    UsageError
        If there is no such network.
    """
    signature = inspect.signature(_network(name))
    return {
        option: parameter.default
        for option, parameter in signature.parameters.items()
        if option not in ("batch", "dtype")
    }


def build(
    name: str, *, batch: int = 1, dtype: str = "float32", **network_options: int | bool
) -> ModelProto:
    """Build a network by name.

    Parameters
    ----------
    name : str
        One of `names`.
    batch : int
        First dimension of every input.
    dtype : str
        Element type of activations and weights.
    **network_options
        What `options` lists for the network.

    Raises
    ------
    UsageError
        If name, element type or an option is unknown, or a value is out of range.
    """
    network = _network(name)
    defaults = options(name)
    for option, value in {"batch": batch, **network_options}.items():
        if option not in defaults and option != "batch":
            raise UsageError(
                f"{name} has no option {option!r}. It has: batch, dtype, {', '.join(defaults)}."
                + _suggestion(option, defaults)
            )
        expected = type(defaults.get(option, 1))
        if type(value) is not expected:
            raise UsageError(
                f"{name}: {option}={value!r} is not {'a bool' if expected is bool else 'an int'}."
            )
    return network(batch=batch, dtype=dtype, **network_options)


def _network(name: str) -> _Network:
    if name not in _NETWORKS:
        raise UsageError(
            f"the zoo has no network {name!r}. It has: {', '.join(names())}."
            + _suggestion(name, _NETWORKS)
        )
    return _NETWORKS[name]


def _suggestion(word: str, known: Iterable[str]) -> str:
    matches = get_close_matches(word.lower(), known, n=1)
    return f" Did you mean {matches[0]}?" if matches else ""
