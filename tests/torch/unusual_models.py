"""Models that do what training steps seldom do, with their inputs, by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH, WIDTH = 128, 64

MODELS: dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...]]]] = {}


class Step(nn.Module):
    """A function of parts: modules, parameters and buffers."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, (nn.Module, nn.Parameter)):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


@dataclasses.dataclass
class Results:
    """What a model may return instead of a tensor."""

    loss: torch.Tensor
    hidden: torch.Tensor


class Swish(torch.autograd.Function):
    """With a backward of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return gradients[0] * (s + x * s * (1 - s))


def _linear(outputs: int = WIDTH) -> nn.Linear:
    return nn.Linear(WIDTH, outputs)


def _rows(count: int = BATCH) -> torch.Tensor:
    return torch.randn(count, WIDTH)


def _model(make: Callable[[], tuple[nn.Module, tuple[Any, ...]]]) -> Any:
    MODELS[make.__name__.replace("_", " ")] = make
    return make


@_model
def dropout():
    layers = (_linear(), nn.GELU(), nn.Dropout(0.3), _linear(), nn.Dropout(0.1), nn.GELU())
    return nn.Sequential(*layers, _linear(1)), (_rows(),)


@_model
def one_batch_norm_twice():
    def step(self, x):
        return self.norm(self.second(self.norm(self.first(x)).relu())).tanh().sum()

    return Step(step, first=_linear(), second=_linear(), norm=nn.BatchNorm1d(WIDTH)), (_rows(),)


@_model
def group_and_instance_norm():
    first = (nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.SiLU())
    second = (nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8, affine=True, track_running_stats=True))
    layers = (*first, *second, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 14 * 14, 1))
    return nn.Sequential(*layers), (torch.randn(4, 3, 16, 16),)


@_model
def tied_embedding():
    def step(self, words):
        hidden = self.norm(self.linear(self.embedding(words))).tanh()
        return functional.cross_entropy(
            functional.linear(hidden, self.embedding.weight), words.clamp(min=1)
        )

    parts = {"linear": nn.Linear(32, 32), "norm": nn.LayerNorm(32)}
    model = Step(step, embedding=nn.Embedding(100, 32, padding_idx=0), **parts)
    return model, (torch.randint(0, 100, (256,)),)


@_model
def frozen_but_the_last():
    layers = (_linear(), nn.GELU(), _linear(), nn.GELU(), _linear(4))
    for layer in layers[:-1]:
        layer.requires_grad_(False)
    return nn.Sequential(*layers), (_rows(),)


@_model
def unused_parameter():
    def step(self, x):
        return self.second(functional.gelu(self.first(x))).sum()

    return Step(step, first=_linear(), second=_linear(), third=nn.Linear(3, 3)), (_rows(),)


@_model
def results_in_a_dict():
    def step(self, x):
        hidden = functional.gelu(self.first(x))
        y = self.second(hidden).tanh()
        return {"loss": y.sum(), "hidden": hidden, "best": y.argmax(-1), "is": y > 0, "n": 3}

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def results_in_a_dataclass():
    def step(self, x):
        hidden = functional.gelu(self.first(x))
        return Results(self.second(hidden).pow(2).sum(), hidden.t())

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def results_that_are_inputs_views_and_twice_the_same():
    def step(self, x):
        hidden = functional.gelu(self.first(x))
        y = self.second(hidden).tanh()
        return x, y, y, y[:3], hidden.view(-1), self.first.weight.t()

    return Step(step, first=_linear(), second=_linear()), (_rows().requires_grad_(),)


@_model
def writes_in_place():
    def step(self, x):
        hidden = self.first(x).add_(1)
        hidden[:, 0] = 0
        hidden.relu_()
        y = self.second(hidden) * 2
        y.index_put_((torch.tensor([0, 1]),), torch.zeros(WIDTH))
        return y.tanh().sum()

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def moving_average():
    def step(self, x):
        hidden = self.first(x).tanh()
        self.mean.mul_(0.9).add_(hidden.detach().mean(0), alpha=0.1)
        self.steps += 1
        y = self.second(functional.gelu((hidden - self.mean) * self.mean.sigmoid()))
        return (y * y.sigmoid()).sum()

    buffers = {"mean": torch.zeros(WIDTH), "steps": torch.zeros((), dtype=torch.long)}
    return Step(step, first=_linear(), second=_linear(), **buffers), (_rows(),)


@_model
def parts_without_gradient():
    def step(self, x):
        hidden = self.first(x).tanh()
        with torch.no_grad():
            mask = functional.dropout(hidden, 0.5)
            goal = self.second(hidden).softmax(-1)
        return (self.second(functional.gelu(hidden)) * mask + goal).pow(2).sum()

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def autocast():
    def step(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.second(functional.gelu(self.first(x))).float().pow(2).sum()

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def complex_numbers():
    def step(self, x):
        return ((x.to(torch.complex64) @ self.weight).sin() @ self.weight).abs().mean()

    weight = 0.05 * torch.randn(WIDTH, WIDTH, dtype=torch.complex64)
    return Step(step, weight=nn.Parameter(weight)), (_rows(),)


@_model
def mixed_element_types():
    def step(self, x):
        hidden = self.first(x).tanh() * (torch.rand_like(x) > 0.5)
        return (hidden.double() * self.second(x).bfloat16() + hidden.long()).sigmoid().sum()

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def checkpoints_inside():
    def block(linear, x):
        return functional.dropout(functional.gelu(linear(x)), 0.2).tanh()

    def step(self, x):
        for linear in (self.first, self.second):
            x = checkpoint(block, linear, x, use_reentrant=False)
        return x.sum()

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def a_function_with_its_own_backward():
    def step(self, x):
        return self.second(Swish.apply(Swish.apply(self.first(x)))).sum()

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def a_scalar_parameter():
    def step(self, x):
        return ((self.linear(x) * self.scale).tanh() + self.scale).sum()

    return Step(step, linear=_linear(), scale=nn.Parameter(torch.tensor(0.3))), (_rows(),)


@_model
def an_empty_batch():
    return nn.Sequential(_linear(), nn.GELU(), _linear()), (_rows(0),)


@_model
def no_parameters():
    return Step(lambda self, x: (x.tanh().exp() * x).sigmoid().sum()), (_rows().requires_grad_(),)


@_model
def convolutions_of_one_dimension():
    layers = (nn.Conv1d(4, 8, 3), nn.GELU(), nn.ConvTranspose1d(8, 4, 3), nn.GELU())
    return nn.Sequential(*layers, nn.Conv1d(4, 1, 5)), (torch.randn(8, 4, 256),)


@_model
def convolutions_of_three_dimensions():
    layers = (nn.Conv3d(2, 4, 3), nn.GELU(), nn.ConvTranspose3d(4, 2, 3), nn.GELU())
    return nn.Sequential(*layers, nn.Conv3d(2, 1, 3)), (torch.randn(2, 2, 12, 12, 12),)


@_model
def attention_with_a_mask():
    def step(self, x):
        heads = self.first(x).view(4, 32, 3, 4, 16).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*heads, attn_mask=self.mask)
        return self.second(y.transpose(1, 2).reshape(4, 32, WIDTH)).pow(2).sum()

    mask = torch.ones(32, 32, dtype=torch.bool).tril()
    model = Step(step, first=_linear(3 * WIDTH), second=_linear(), mask=mask)
    return model, (torch.randn(4, 32, WIDTH),)


@_model
def chance_of_all_kinds():
    def step(self, x):
        hidden = self.first(x)
        hidden = (hidden + torch.randn_like(hidden)) * torch.bernoulli(torch.full_like(hidden, 0.5))
        hidden = functional.rrelu(functional.gumbel_softmax(hidden), training=True)
        return self.second(hidden * torch.rand(WIDTH)).pow(2).sum()

    return Step(step, first=_linear(), second=_linear()), (_rows(),)


@_model
def sorting():
    def step(self, x):
        y = self.linear(x).tanh()
        values, order = y.sort(-1)
        best, _ = y.topk(5)
        return values.sum() + best.exp().sum() + y.gather(1, order).pow(3).sum() + y.max(0)[0].sum()

    return Step(step, linear=_linear()), (_rows(),)
