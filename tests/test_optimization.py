"""Optimizing a model changes its results only by rounding."""

import copy

import pytest
import timm
import torch
from torch import nn

from backbone_cli import optimization
from backbone_cli.auto import AutoBackbone
from backbone_cli.configs.resnet import ResNetConfig
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.models.swin import WindowAttention
from tests.models.parity import distance, maps_of, pixels, randomized

CONFIGS = {
    "swin": SwinConfig(embed_dim=16, depths=(2, 2), num_heads=(1, 2), window_size=4, out_indices=[0, 1, 2]),
    "swin, another activation": SwinConfig(embed_dim=16, depths=(2,), num_heads=(1,), hidden_act="gelu_new"),
    "bottleneck": ResNetConfig(embedding_size=8, hidden_sizes=(16, 32), depths=(1, 2), out_indices=[0, 1, 2]),
    "basic": ResNetConfig(embedding_size=8, hidden_sizes=(16,), depths=(2,), layer_type="basic", hidden_act="silu"),
}
needs_packing = pytest.mark.skipif(
    not optimization.can_pack(torch.float32), reason="this processor has no packed operators"
)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_maps_stay_the_same(config):
    plain = randomized(AutoBackbone.from_config(config))
    fast = optimization.optimize(copy.deepcopy(plain))
    for size in ((64, 64), (37, 90)):
        x = pixels(size)
        before, after = maps_of(plain, x), maps_of(fast, x)
        assert max(distance(after[name], before[name]) for name in before) < 2e-5


@pytest.mark.parametrize(
    "name", ["resnet10t", "resnet18", "mobilenetv3_small_050", "regnetx_002", "dla46_c", "vit_tiny_patch16_224"]
)
def test_maps_of_timm_models_stay_the_same(name):
    plain = randomized(timm.create_model(name, features_only=True).eval())
    fast = optimization.optimize(copy.deepcopy(plain))
    x = pixels((224, 224) if name.startswith("vit") else (64, 64), batch=1)
    with torch.no_grad():
        pairs = zip(plain(x), fast(x), strict=True)
        assert max(distance(after, before) for before, after in pairs) < 5e-5


def test_norms_before_a_convolution_are_not_folded():
    fast = optimization.optimize(randomized(timm.create_model("densenet121", features_only=True).eval()))
    assert any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


@needs_packing
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "layer",
    [nn.Linear(17, 33), nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 16, 7, padding=3, groups=16)],
    ids=["linear", "convolution", "depthwise"],
)
def test_packed_layer_keeps_weights_and_attributes(layer, dtype):
    if not optimization.can_pack(dtype):
        pytest.skip("this processor can't pack this dtype")
    layer = copy.deepcopy(layer).to(dtype)
    (packed,) = optimization.optimize(nn.Sequential(copy.deepcopy(layer)))
    assert torch.equal(packed.weight, layer.weight) and torch.equal(packed.bias, layer.bias)
    x = torch.randn(2, 17) if isinstance(layer, nn.Linear) else torch.randn(2, layer.in_channels, 9, 9)
    with torch.inference_mode():
        packed(x.to(dtype))
    assert torch.equal(packed.weight, layer.weight)
    assert all(getattr(packed, name) == getattr(layer, name) for name in layer.__constants__)


@needs_packing
def test_all_layers_are_packed_and_all_norms_folded():
    fast = optimization.optimize(randomized(AutoBackbone.from_config(CONFIGS["bottleneck"])))
    types = {type(module) for module in fast.modules()}
    assert optimization.PackedConv in types
    assert not types & {nn.Conv2d, nn.BatchNorm2d}
    fast = optimization.optimize(randomized(AutoBackbone.from_config(CONFIGS["swin"])))
    assert nn.Linear not in {type(module) for module in fast.modules()}


def test_model_is_unchanged_if_packing_is_not_available(monkeypatch):
    monkeypatch.setattr(optimization, "can_pack", lambda dtype: False)
    model = optimization.optimize(AutoBackbone.from_config(CONFIGS["bottleneck"]))
    assert nn.BatchNorm2d in {type(module) for module in model.modules()}


def test_attention_biases_are_computed_once_per_image_size(monkeypatch):
    calls = []
    compute = WindowAttention.bias
    monkeypatch.setattr(WindowAttention, "bias", lambda self, *args: calls.append(self) or compute(self, *args))
    fast = optimization.optimize(AutoBackbone.from_config(CONFIGS["swin"]))
    blocks = sum(CONFIGS["swin"].depths)
    for size, total in (((64, 64), blocks), ((64, 64), blocks), ((37, 90), 2 * blocks)):
        with torch.inference_mode():
            fast(pixels(size))
        assert len(calls) == total
