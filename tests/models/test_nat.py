"""Tiled neighbourhood attention: the same result as brute force, in memory that grows linearly with the map."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backbone_cli.auto import AutoBackbone
from backbone_cli.configs.dinat import DinatConfig
from backbone_cli.models.nat import NeighbourhoodAttention, attend, tile_bias, tiling
from tests.models.neighbourhoods import brute_force

CPU = torch.device("cpu")


@pytest.mark.parametrize("dilation", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_tiled_attention_equals_brute_force(kernel, dilation):
    smallest = kernel * dilation
    for height, width in ((smallest, smallest), (smallest + 1, smallest + 7), (2 * smallest + 3, smallest), (17, 40)):
        height, width = max(height, smallest), max(width, smallest)
        q, k, v = torch.randn(3, 2, 2, height, width, 4, generator=torch.Generator().manual_seed(height))
        table = torch.randn(2, 2 * kernel - 1, 2 * kernel - 1, generator=torch.Generator().manual_seed(width))
        tiles = tiling((height, width), kernel, dilation, CPU)
        flat = [x.flatten(2, 3) for x in (q, k, v)]
        actual = attend(*flat, tile_bias(table, tiles), tiles).unflatten(2, (height, width))
        torch.testing.assert_close(actual, brute_force(q, k, v, table, kernel, dilation), rtol=1e-4, atol=1e-5)


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that any operation creates."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(x, torch.Tensor):
                self.numel = max(self.numel, x.numel())
        return out


@pytest.mark.parametrize("dilation", [1, 4])
def test_memory_grows_linearly_with_map_and_kernel_area(dilation):
    attention = NeighbourhoodAttention(8, 2, 7, dilation, True)
    largest = {}
    for side in (56, 112):
        with LargestTensor() as recorder, torch.no_grad():
            attention(torch.zeros(1, side, side, 8))
        largest[side] = recorder.numel
        assert recorder.numel <= 2 * side**2 * 13**2
    assert largest[112] == pytest.approx(4 * largest[56], rel=0.05)


def test_gradients_reach_every_parameter():
    config = DinatConfig(embed_dim=16, depths=(2,), num_heads=(2,), kernel_size=3, dilations=((1, 2),))
    model = AutoBackbone.from_config(config)
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        model(x)
    model.train()(x).feature_maps[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("raw_config", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"dilations": ((1,),)}, "dilations"),
        ({"dilations": ((1, 0),), "depths": (2,), "num_heads": (2,)}, "none below 1"),
        ({"patch_size": 8}, "patch_size"),
    ],
)
def test_invalid_configs_are_refused(raw_config, message):
    with pytest.raises(ValueError, match=message):
        DinatConfig.from_dict(raw_config)
