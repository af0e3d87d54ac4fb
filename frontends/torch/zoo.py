"""Models whose call returns a loss, small by default, from torch.nn alone."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(
    *, batch: int = 256, width: int = 64, hidden: int = 256, blocks: int = 4, classes: int = 10
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Linear, GELU and layer norm, with residuals."""
    torch.manual_seed(0)
    model = _Classifier(
        nn.Sequential(
            *(
                _Residual(
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, hidden),
                        nn.GELU(),
                        nn.Linear(hidden, width),
                    )
                )
                for _ in range(blocks)
            ),
            nn.Linear(width, classes),
        )
    )
    return model, (torch.randn(batch, width), torch.randint(0, classes, (batch,)))


def gpt2(
    *,
    batch: int = 2,
    tokens: int = 64,
    width: int = 64,
    heads: int = 4,
    layers: int = 2,
    vocabulary: int = 512,
    dropout: float = 0.0,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A decoder with learned positions, eager attention, pre-norm and a tied head."""
    torch.manual_seed(0)
    model = _Gpt(tokens, width, heads, layers, vocabulary, dropout)
    inputs = torch.randint(0, vocabulary, (batch, tokens))
    return model, (inputs, torch.randint(0, vocabulary, (batch, tokens)))


def llama(
    *,
    batch: int = 2,
    tokens: int = 64,
    width: int = 64,
    heads: int = 4,
    key_heads: int = 2,
    layers: int = 2,
    vocabulary: int = 512,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A decoder with RMS norm, rotary positions, grouped queries, sdpa and SwiGLU."""
    torch.manual_seed(0)
    model = _Llama(tokens, width, heads, key_heads, layers, vocabulary)
    inputs = torch.randint(0, vocabulary, (batch, tokens))
    return model, (inputs, torch.randint(0, vocabulary, (batch, tokens)))


def bert(
    *,
    batch: int = 2,
    tokens: int = 64,
    width: int = 64,
    heads: int = 4,
    layers: int = 2,
    vocabulary: int = 512,
    dropout: float = 0.0,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """An encoder with eager masked attention, post-norm and a masked-token loss."""
    torch.manual_seed(0)
    model = _Bert(tokens, width, heads, layers, vocabulary, dropout)
    ids = torch.randint(0, vocabulary, (batch, tokens))
    mask = torch.ones(batch, tokens, dtype=torch.bool)
    mask[:, -tokens // 8 :] = False
    labels = torch.where(torch.rand(batch, tokens) < 0.15, ids, -100)
    labels[0, 0] = ids[0, 0]
    return model, (ids, mask, labels)


def resnet(
    *,
    batch: int = 4,
    image: int = 32,
    width: int = 16,
    stages: tuple[int, ...] = (2, 2, 2),
    classes: int = 10,
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Basic blocks with batch norm in training mode, in-place ReLU and in-place addition."""
    torch.manual_seed(0)
    channels = [width << index for index in range(len(stages))]
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    before = width
    for index, (count, after) in enumerate(zip(stages, channels, strict=True)):
        for block in range(count):
            layers.append(_BasicBlock(before, after, 2 if index and not block else 1))
            before = after
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)]
    model = _Classifier(nn.Sequential(*layers))
    return model, (torch.randn(batch, 3, image, image), torch.randint(0, classes, (batch,)))


NETWORKS = {"mlp": mlp, "gpt2": gpt2, "llama": llama, "bert": bert, "resnet": resnet}


def built(
    name: str, *, has_data: bool = True, **sizes: int
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return one of `NETWORKS` and its inputs; without data they lie on the ``meta`` device."""
    with torch.device("cpu" if has_data else "meta"):
        return NETWORKS[name](**sizes)


class _Classifier(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.body(x), labels)


class _Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _dropout(probability: float) -> nn.Module:
    # The tracer makes a copy of what a dropout that drops nothing passes on.
    return nn.Dropout(probability) if probability else nn.Identity()


class _EagerAttention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.dropout = _dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        split = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        weights = self.dropout(scores.masked_fill(~mask, float("-inf")).softmax(-1))
        return self.projection((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


def _feed_forward(width: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, 4 * width),
        nn.GELU(),
        nn.Linear(4 * width, width),
        _dropout(dropout),
    )


class _GptBlock(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _EagerAttention(width, heads, dropout)
        self.feed_forward = _feed_forward(width, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.feed_forward(self.norm2(x))


class _Gpt(nn.Module):
    def __init__(
        self, tokens: int, width: int, heads: int, layers: int, vocabulary: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(_GptBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        count = ids.shape[1]
        mask = torch.ones(count, count, dtype=torch.bool, device=ids.device).tril()
        x = self.tokens(ids) + self.positions(torch.arange(count, device=ids.device))
        for block in self.blocks:
            x = block(x, mask)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), labels.flatten())


class _RotaryAttention(nn.Module):
    cosine: Tensor
    sine: Tensor

    def __init__(self, tokens: int, width: int, heads: int, key_heads: int) -> None:
        super().__init__()
        self.heads, self.key_heads, self.size = heads, key_heads, width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, key_heads * self.size, bias=False)
        self.value = nn.Linear(width, key_heads * self.size, bias=False)
        self.projection = nn.Linear(width, width, bias=False)
        frequency = 10000.0 ** (-torch.arange(0, self.size, 2) / self.size)
        angle = torch.outer(torch.arange(tokens).float(), frequency).repeat(1, 2)
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        query = self._rotated(self.query(x).view(batch, tokens, self.heads, self.size))
        key = self._rotated(self.key(x).view(batch, tokens, self.key_heads, self.size))
        value = self.value(x).view(batch, tokens, self.key_heads, self.size).transpose(1, 2)
        group = self.heads // self.key_heads
        mixed = F.scaled_dot_product_attention(
            query,
            key.repeat_interleave(group, 1),
            value.repeat_interleave(group, 1),
            is_causal=True,
        )
        return self.projection(mixed.transpose(1, 2).reshape(batch, tokens, width))

    def _rotated(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        left, right = x.chunk(2, -1)
        tokens = x.shape[2]
        turned = torch.cat((-right, left), -1)
        return x * self.cosine[:tokens] + turned * self.sine[:tokens]


class _SwiGlu(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class _Llama(nn.Module):
    def __init__(
        self,
        tokens: int,
        width: int,
        heads: int,
        key_heads: int,
        layers: int,
        vocabulary: int,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                _Residual(
                    nn.Sequential(
                        nn.RMSNorm(width), _RotaryAttention(tokens, width, heads, key_heads)
                    )
                ),
                _Residual(nn.Sequential(nn.RMSNorm(width), _SwiGlu(width, 8 * width // 3))),
            )
            for _ in range(layers)
        )
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), labels.flatten())


class _BertBlock(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = _EagerAttention(width, heads, dropout)
        self.feed_forward = _feed_forward(width, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.feed_forward(x))


class _Bert(nn.Module):
    def __init__(
        self, tokens: int, width: int, heads: int, layers: int, vocabulary: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(tokens, width))
        self.norm = nn.LayerNorm(width)
        self.dropout = _dropout(dropout)
        self.blocks = nn.ModuleList(_BertBlock(width, heads, dropout) for _ in range(layers))
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        x = self.dropout(self.norm(self.tokens(ids) + self.positions[: ids.shape[1]]))
        for block in self.blocks:
            x = block(x, mask[:, None, None, :])
        logits = self.head(self.transform(x))
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


class _BasicBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y += self.shortcut(x)
        return y.relu_()
