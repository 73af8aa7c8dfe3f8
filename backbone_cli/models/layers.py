"""Layers that at least three families share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial, wraps
from typing import Any, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs.plain import PlainConfig
from ..errors import UnsupportedModel, did_you_mean

P = ParamSpec("P")
T = TypeVar("T")

Norm = type[nn.LayerNorm] | type[nn.RMSNorm]


class Pointwise(nn.Module):
    """An activation that torch has no module for."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def clipped_gelu(x: Tensor) -> Tensor:
    return F.gelu(x).clamp(-10, 10)


def laplace(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf((x - 0.707107) / (0.282095 * 2**0.5)))


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def squared_relu(x: Tensor) -> Tensor:
    return F.relu(x).square()


TANH_GELU = partial(nn.GELU, approximate="tanh")

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_10": partial(Pointwise, clipped_gelu),
    "gelu_accurate": TANH_GELU,
    "gelu_fast": TANH_GELU,
    "gelu_new": TANH_GELU,
    "gelu_python": nn.GELU,
    "gelu_python_tanh": TANH_GELU,
    "gelu_pytorch_tanh": TANH_GELU,
    "hardswish": nn.Hardswish,
    "laplace": partial(Pointwise, laplace),
    "leaky_relu": nn.LeakyReLU,
    "linear": nn.Identity,
    "mish": nn.Mish,
    "quick_gelu": partial(Pointwise, quick_gelu),
    "relu": nn.ReLU,
    "relu2": partial(Pointwise, squared_relu),
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """The activation with this name in config.json."""
    if name not in ACTIVATIONS:
        raise UnsupportedModel(f"The activation '{name}' is not supported.{did_you_mean(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class Mlp(nn.Module):
    """Two linear layers around an activation, on the last axis."""

    def __init__(self, dim: int, hidden: int, act: str, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias)
        self.act = activation(act)
        self.fc2 = nn.Linear(hidden, dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class GatedMlp(nn.Module):
    """Two linear layers; in between, one half of the channels, activated, gates the other."""

    def __init__(self, dim: int, hidden: int, act: str, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 2 * hidden, bias)
        self.act = activation(act)
        self.fc2 = nn.Linear(hidden, dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, x = self.fc1(x).chunk(2, -1)
        return self.fc2(self.act(gate) * x)


class Attention(nn.Module):
    """Attention between all tokens, with an optional bias (1 heads N N) on the scores."""

    def __init__(self, dim: int, heads: int, qkv_bias: bool = True, proj_bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, qkv_bias)
        self.proj = nn.Linear(dim, dim, proj_bias)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:  # B N C
        q, k, v = split_heads(self.qkv(x), self.heads)
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, v, bias)))


class RotaryAttention(Attention):
    """Attention with rotary positions: queries and keys are rotated by their tokens' angles."""

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # type: ignore[override]  # B N C, N D, N D
        qkv = split_heads(self.qkv(x), self.heads)  # 3 B heads N D
        q, k = qkv[:2] * cos + rotate_half(qkv[:2]) * sin
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, qkv[2])))


class StageNorms(nn.ModuleDict):
    """A LayerNorm over the channels (B C H W) for each requested stage, by name."""

    def __init__(self, stages: Sequence[str], channels: Sequence[int], eps: float = 1e-5) -> None:
        super().__init__({name: nn.LayerNorm(dim, eps) for name, dim in zip(stages, channels, strict=True)})

    def forward(self, stage: str, x: Tensor) -> Tensor:
        return channels_first(self[stage](channels_last(x)))


class LayerScale(nn.Module):
    """A learned factor for each channel of the last axis."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class ViTBlock(nn.Module):
    """Pre-norm attention and MLP, each added to its input, optionally after a layer scale."""

    def __init__(
        self, dim: int, eps: float, attn: nn.Module, mlp: nn.Module, scaled: bool, norm: Norm = nn.LayerNorm
    ) -> None:
        super().__init__()
        self.norm1 = norm(dim, eps)
        self.attn = attn
        self.scale1 = LayerScale(dim) if scaled else nn.Identity()
        self.norm2 = norm(dim, eps)
        self.mlp = mlp
        self.scale2 = LayerScale(dim) if scaled else nn.Identity()

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """`context` is passed on to the attention: a bias, rotation angles."""
        x = x + self.scale1(self.attn(self.norm1(x), *context))
        return x + self.scale2(self.mlp(self.norm2(x)))


def split_heads(qkv: Tensor, heads: int) -> Tensor:
    """B N 3C -> queries, keys and values, each B heads N D."""
    return qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)


def join_heads(x: Tensor) -> Tensor:
    """B heads N D -> B N C."""
    x = x.transpose(1, 2)
    if torch.compiler.is_compiling():
        # A view would hold for the memory layout of one attention kernel only; ONNX and others take another kernel.
        x = x.clone(memory_format=torch.contiguous_format)
    return x.flatten(2)


def rotate_half(x: Tensor) -> Tensor:
    """Rotate channel pairs (i, i + D/2) by a right angle."""
    first, second = x.chunk(2, -1)
    return torch.cat([-second, first], -1)


def prepend_tokens(patches: Tensor, *prefix: Tensor) -> Tensor:
    """Prefix tokens shared by all images (1 n C), then each image's patches (B N C)."""
    return torch.cat([*(tokens.expand(patches.shape[0], -1, -1) for tokens in prefix), patches], 1)


def token_map(tokens: Tensor, config: PlainConfig, size: tuple[int, int]) -> Tensor:
    """The patch tokens of a plain ViT (B N C) as a map (B C H W), for pixels of this size."""
    if config.keeps_prefix_tokens and not config.reshape_hidden_states:
        return tokens
    patches = tokens[:, config.num_prefix_tokens : tokens.shape[1] - config.num_suffix_tokens]
    return channels_first(patches.unflatten(1, config.patch_grid(*size))) if config.reshape_hidden_states else patches


def resize_positions(
    table: Tensor, made_for: tuple[int, int], grid: tuple[int, int], antialias: bool = False
) -> Tensor:
    """Resize learned positions (1 N C) from one patch grid to another: 1 H W C.

    As published, a table that can be square is read as square.
    """
    side = math.isqrt(table.shape[1])
    square = table.unflatten(1, (side, side) if side * side == table.shape[1] else made_for)
    return resize_grid(square, grid, "bicubic", antialias)


def resize_grid(x: Tensor, grid: tuple[int, int], mode: str, antialias: bool = False) -> Tensor:
    """Resize B H W C to another height and width."""
    if not is_symbolic(*grid) and x.shape[1:3] == grid:
        return x
    # interpolating in half precision would shift the positions
    wide = channels_first(x).to(torch.promote_types(x.dtype, torch.float32))
    return channels_last(F.interpolate(wide, grid, mode=mode, antialias=antialias)).to(x.dtype)


def size_cached(function: Callable[P, T]) -> Callable[P, T]:
    """Cache a function of sizes alone. Its tensors also work in training, whoever calls first."""
    cached: Callable[..., T] = lru_cache(maxsize=64)(torch.inference_mode(False)(function))

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        # Under torch.compile and torch.export it is part of the graph, and a tracer's tensors must not be cached.
        return (function if torch.compiler.is_compiling() else cached)(*args, **kwargs)

    return call


def channels_last(x: Tensor) -> Tensor:
    """B C H W -> B H W C, without a copy."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """B H W C -> B C H W, without a copy."""
    return x.permute(0, 3, 1, 2)


def pad_to_multiple(x: Tensor, height: int, width: int) -> Tensor:
    """Zeros below and to the right of B H W C, until both sides are multiples."""
    H, W = x.shape[1:3]
    if is_symbolic(H, W) or H % height or W % width:
        # As whole multiples, so that a tracer of dynamic shapes can cut the padded sides into parts again.
        x = F.pad(x, (0, 0, 0, -(-W // width) * width - W, 0, -(-H // height) * height - H))
    return x


def is_symbolic(*sizes: int) -> bool:
    """Whether a size stands for any number, in an export with dynamic shapes.

    A branch on such a size would bind the exported program to the size it was traced with, so callers take their
    general path instead.
    """
    return any(isinstance(size, torch.SymInt) for size in sizes)
