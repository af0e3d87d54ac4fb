"""The cases of the training suite: models of the torch zoo, each with five targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUICK, FULL = "quick", "full"
SETS = {
    QUICK: "five small models, planned and executed",
    FULL: "those, and two large ones, planned without data",
}


class TrainingCase(NamedTuple):
    """One training step.

    Attributes
    ----------
    name : str
    network : str
        A function of ``frontends.torch.zoo``.
    sizes : mapping of str to int
        Its arguments.
    shares : tuple of float
        Targets, as shares of the peak that the step has in eager PyTorch.
    is_executed : bool
        Whether its plans are executed; if not, its tensors have no data.
    """

    name: str
    network: str
    sizes: Mapping[str, int]
    shares: tuple[float, ...]
    is_executed: bool = True


_TRANSFORMER = {"batch": 2, "tokens": 256, "width": 192, "layers": 4, "vocabulary": 4096}
_MLP = {"batch": 512, "width": 256, "hidden": 1024, "blocks": 6}
_RESNET = {"batch": 8, "image": 64, "width": 32}
_GPT2_SMALL = {
    "batch": 4,
    "tokens": 1024,
    "width": 768,
    "heads": 12,
    "layers": 12,
    "vocabulary": 50257,
}
_DEEP = {**_TRANSFORMER, "layers": 36}

# Most are above the least peak that PyTorch's own partitioner reaches, some below.
_SMALL = (
    TrainingCase("mlp", "mlp", _MLP, (0.8, 0.65, 0.6, 0.58, 0.55)),
    TrainingCase("gpt2", "gpt2", _TRANSFORMER, (0.8, 0.65, 0.5, 0.45, 0.42)),
    TrainingCase("llama", "llama", _TRANSFORMER, (0.8, 0.7, 0.6, 0.55, 0.51)),
    TrainingCase("bert", "bert", _TRANSFORMER, (0.8, 0.65, 0.5, 0.45, 0.43)),
    TrainingCase("resnet", "resnet", _RESNET, (0.95, 0.92, 0.89, 0.8, 0.7)),
)
_LARGE = (
    TrainingCase("gpt2-small", "gpt2", _GPT2_SMALL, (0.8, 0.6, 0.45, 0.35, 0.3), False),
    TrainingCase("gpt2-deep", "gpt2", _DEEP, (0.8, 0.6, 0.45, 0.35, 0.3), False),
)


def chosen_cases(which: str, names: Sequence[str] | None) -> list[TrainingCase]:
    """Return the cases of a set, those of some names or all.

    Raises
    ------
    UsageError
        If there is no such set or model.
    """
    if which not in SETS:
        raise UsageError(f"no set of cases {which!r}. There are: {', '.join(SETS)}.")
    cases = [*_SMALL, *_LARGE] if which == FULL else [*_SMALL]
    known = ", ".join(case.name for case in cases)
    if names is None:
        return cases
    for name in names:
        if all(case.name != name for case in cases):
            raise UsageError(f"no network {name!r} in {which}. There are: {known}.")
    if not names:
        raise UsageError(f"no network is named. There are: {known}.")
    return [case for case in cases if case.name in names]
