"""Parts that three families or more are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UnsupportedModel, near_miss


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
    """The activation that config.json calls so."""
    if name not in ACTIVATIONS:
        raise UnsupportedModel(f"The activation '{name}' is not supported.{near_miss(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class Mlp(nn.Module):
    """Two linear layers around an activation, on the last axis."""

    def __init__(self, dim: int, hidden: int, act: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = activation(act)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


def channels_last(x: Tensor) -> Tensor:
    """B C H W -> B H W C, without a copy."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """B H W C -> B C H W, without a copy."""
    return x.permute(0, 3, 1, 2)


def pad_to_multiple(x: Tensor, height: int, width: int) -> Tensor:
    """Zeros below and to the right of B H W C, until both sides are multiples."""
    H, W = x.shape[1:3]
    if H % height or W % width:
        x = F.pad(x, (0, 0, 0, -W % width, 0, -H % height))
    return x
