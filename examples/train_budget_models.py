"""The models that train_budget.py trains: a small GPT-2 and a small ResNet."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH, TOKENS, WIDTH, HEADS, VOCABULARY = 2, 256, 192, 4, 2048
IMAGES, PIXELS, CHANNELS, CLASSES = 16, 32, 16, 10


class GptBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.projection = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU("tanh"), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))

    def attention(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        heads = self.qkv(x).view(batch, tokens, 3, HEADS, width // HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // HEADS)
        weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
        return self.projection((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


class Gpt(nn.Module):
    """GPT-2 without dropout: learned positions, norm before each part, tied embeddings."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(GptBlock() for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        mask = places[:, None] >= places
        x = self.tokens(ids) + self.positions(places)
        for block in self.blocks:
            x = block(x, mask)
        return functional.cross_entropy(self.head(self.norm(x)).flatten(0, 1), labels.flatten())


class ResidualBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = after // before
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential()
        if before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """A ResNet for small images: three widths, batch norm, sums into in-place ReLUs."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        widths = [CHANNELS, *(CHANNELS * factor for factor in (1, 2, 4) for _ in range(layers))]
        self.stem = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(*(ResidualBlock(*pair) for pair in pairwise(widths)))
        self.head = nn.Linear(widths[-1], CLASSES)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features = self.blocks(self.stem(images)).mean((2, 3))
        return functional.cross_entropy(self.head(features), labels)


class Task(NamedTuple):
    """A model whose call returns the loss, and the batch that it is to learn by heart."""

    title: str
    model: nn.Module
    batch: tuple[Tensor, Tensor]


def gpt2(layers: int = 4) -> Task:
    ids = torch.randint(VOCABULARY, (BATCH, TOKENS + 1))
    batch = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    return Task(f"GPT-2-like: {layers} layers, {BATCH} x {TOKENS} tokens", Gpt(layers), batch)


def resnet(layers: int = 2) -> Task:
    batch = torch.randn(IMAGES, 3, PIXELS, PIXELS), torch.randint(CLASSES, (IMAGES,))
    title = f"ResNet-like: {3 * layers} blocks, {IMAGES} images of {PIXELS} x {PIXELS}"
    return Task(title, ResNet(layers), batch)


TASKS: dict[str, Callable[..., Task]] = {"gpt2": gpt2, "resnet": resnet}
