"""NAT and DiNAT as transformers has them, with a brute-force neighbourhood attention in place of the natten package.

Current natten only runs on GPUs, and DiNAT's own call of it (transformers 5.23) has the axes in the wrong order. So the
module that calls it is replaced entirely; everything else is transformers' code. NAT, which transformers has dropped,
is DiNAT without dilation and with other names. Both were once checked against transformers 4.46.3 with natten 0.14.6, a
pair that runs on a CPU: with five configs, including the mini's, and four image sizes, every stage was within 5e-6 of
this package's.
"""

from __future__ import annotations

import math
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import DinatBackbone, DinatConfig, DinatForImageClassification, DinatModel
from transformers.models.dinat import modeling_dinat


def neighbours(i: int, length: int, kernel: int, dilation: int) -> list[int]:
    """The `kernel` consecutive positions, on the dilated grid through `i`, with `i` closest to their middle."""
    grid = [j for j in range(length) if (j - i) % dilation == 0]
    position = grid.index(i)
    starts = range(len(grid) - kernel + 1)
    start = min(starts, key=lambda start: abs(start + kernel // 2 - position))
    return grid[start : start + kernel]


def offsets(length: int, kernel: int, dilation: int) -> Tensor:
    """For each pair of positions the index in the bias table; -1 if they are not neighbours."""
    table = torch.full((length, length), -1)
    for i in range(length):
        for j in neighbours(i, length, kernel, dilation):
            table[i, j] = (j - i) // dilation + kernel - 1
    return table


def brute_force(q: Tensor, k: Tensor, v: Tensor, table: Tensor, kernel: int, dilation: int) -> Tensor:
    """Neighbourhood attention by its definition (B heads H W D): every pixel to every pixel, with a mask."""
    height, width = q.shape[2:4]
    rows = offsets(height, kernel, dilation)[:, None, :, None]
    columns = offsets(width, kernel, dilation)[None, :, None, :]
    bias = table[:, rows, columns].masked_fill((rows < 0) | (columns < 0), -math.inf)  # heads H W H W
    q, k, v = (x.flatten(2, 3) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias.flatten(3, 4).flatten(1, 2)
    return (scores.softmax(-1) @ v).unflatten(2, (height, width))


class BruteForceAttention(modeling_dinat.NeighborhoodAttention):
    def forward(self, hidden_states, output_attentions=False):
        q, k, v = (
            project(hidden_states).unflatten(-1, (self.num_attention_heads, -1)).permute(0, 3, 1, 2, 4)
            for project in (self.query, self.key, self.value)
        )
        x = brute_force(q, k, v, self.rpb, self.kernel_size, self.dilation)
        return (x.permute(0, 2, 3, 1, 4).flatten(3),)


def without_natten(cls: type[nn.Module]) -> type[nn.Module]:
    """The class, built with brute-force attention and without a check for natten."""

    def __init__(self, config, *args, **kwargs):
        with (
            patch.object(modeling_dinat, "NeighborhoodAttention", BruteForceAttention),
            patch.object(modeling_dinat, "requires_backends"),
        ):
            cls.__init__(self, config, *args, **kwargs)

    return type(cls.__name__, (cls,), {"__init__": __init__})


DINAT = {cls.__name__: without_natten(cls) for cls in (DinatBackbone, DinatModel, DinatForImageClassification)}


class NatConfig(DinatConfig):
    model_type = "nat"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dilations = [[1] * depth for depth in self.depths]

    def to_dict(self):
        return {key: value for key, value in super().to_dict().items() if key != "dilations"}


def as_nat(cls: type[nn.Module]) -> type[nn.Module]:
    return type(cls.__name__.replace("Dinat", "Nat"), (cls,), {"config_class": NatConfig, "base_model_prefix": "nat"})


class NatForImageClassification(as_nat(DINAT["DinatForImageClassification"])):
    def __init__(self, config):
        super().__init__(config)
        self.nat = self.dinat
        del self.dinat


NAT = {
    "NatConfig": NatConfig,
    "NatBackbone": as_nat(DINAT["DinatBackbone"]),
    "NatModel": as_nat(DINAT["DinatModel"]),
    "NatForImageClassification": NatForImageClassification,
}
