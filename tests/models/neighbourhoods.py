"""NAT and DiNAT as transformers has them, with a brute-force neighbourhood attention in place of the natten package.

natten runs on GPUs only by now; and DiNAT's own call of it (transformers 5.23) has the axes in the wrong order. So the
module that calls it is replaced as a whole; all else is transformers' code. NAT, which transformers no longer has, is
DiNAT without dilation, under other names. Both were held once against transformers 4.46.3 over natten 0.14.6, a
pair that runs on a CPU: five configs, the mini's among them, four sizes, every stage within 5e-6 of ours.
"""

from __future__ import annotations

import math
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import DinatBackbone, DinatConfig, DinatForImageClassification, DinatModel
from transformers.models.dinat import modeling_dinat


def neighbours(i: int, length: int, kernel: int, dilation: int) -> list[int]:
    """Of all positions in step with `i`, the row of `kernel` that has it nearest to its middle."""
    in_step = [j for j in range(length) if (j - i) % dilation == 0]
    at = in_step.index(i)
    firsts = range(len(in_step) - kernel + 1)
    first = min(firsts, key=lambda first: abs(first + kernel // 2 - at))
    return in_step[first : first + kernel]


def offsets(length: int, kernel: int, dilation: int) -> Tensor:
    """For each position, each other's place in the bias table; -1 for those that are no neighbours."""
    table = torch.full((length, length), -1)
    for i in range(length):
        for j in neighbours(i, length, kernel, dilation):
            table[i, j] = (j - i) // dilation + kernel - 1
    return table


def brute_force(q: Tensor, k: Tensor, v: Tensor, table: Tensor, kernel: int, dilation: int) -> Tensor:
    """Neighbourhood attention by its definition (B heads H W D): all pixels with all, strangers masked."""
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
    """The class, built with brute-force attention and without a look for natten."""

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

    def __init__(self, **said):
        super().__init__(**said)
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
