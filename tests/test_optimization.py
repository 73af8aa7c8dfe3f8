"""Making a model fast changes nothing but rounding."""

import copy

import pytest
import timm
import torch
from torch import nn

from backbone_cli import optimize as inference
from backbone_cli.auto import AutoBackbone
from backbone_cli.configs.resnet import ResNetConfig
from backbone_cli.configs.swin import SwinConfig
from tests.models.parity import distance, drawn, maps_of, pixels

CONFIGS = {
    "swin": SwinConfig(embed_dim=16, depths=(2, 2), num_heads=(1, 2), window_size=4, out_indices=[0, 1, 2]),
    "swin, another activation": SwinConfig(embed_dim=16, depths=(2,), num_heads=(1,), hidden_act="gelu_new"),
    "bottleneck": ResNetConfig(embedding_size=8, hidden_sizes=(16, 32), depths=(1, 2), out_indices=[0, 1, 2]),
    "basic": ResNetConfig(embedding_size=8, hidden_sizes=(16,), depths=(2,), layer_type="basic", hidden_act="silu"),
}
packs = pytest.mark.skipif(not inference.can_pack(torch.float32), reason="this processor has no packed operators")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_maps_stay_the_same(config):
    plain = drawn(AutoBackbone.from_config(config))
    fast = inference.optimize(copy.deepcopy(plain))
    for size in ((64, 64), (37, 90)):
        x = pixels(size)
        before, after = maps_of(plain, x), maps_of(fast, x)
        assert max(distance(after[name], before[name]) for name in before) < 2e-5


@pytest.mark.parametrize(
    "name", ["resnet10t", "resnet18", "mobilenetv3_small_050", "regnetx_002", "dla46_c", "vit_tiny_patch16_224"]
)
def test_the_maps_of_timm_models_stay_the_same(name):
    plain = drawn(timm.create_model(name, features_only=True).eval())
    fast = inference.optimize(copy.deepcopy(plain))
    x = pixels((224, 224) if name.startswith("vit") else (64, 64), batch=1)
    with torch.no_grad():
        pairs = zip(plain(x), fast(x), strict=True)
        assert max(distance(after, before) for before, after in pairs) < 5e-5


def test_norms_that_come_before_their_convolution_are_left_alone():
    fast = inference.optimize(drawn(timm.create_model("densenet121", features_only=True).eval()))
    assert any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


@packs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "layer",
    [nn.Linear(17, 33), nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 16, 7, padding=3, groups=16)],
    ids=["linear", "convolution", "depthwise"],
)
def test_a_packed_layer_looks_as_it_did(layer, dtype):
    if not inference.can_pack(dtype):
        pytest.skip("not in this dtype")
    layer = copy.deepcopy(layer).to(dtype)
    (packed,) = inference.optimize(nn.Sequential(copy.deepcopy(layer)))
    assert torch.equal(packed.weight, layer.weight) and torch.equal(packed.bias, layer.bias)
    x = torch.randn(2, 17) if isinstance(layer, nn.Linear) else torch.randn(2, layer.in_channels, 9, 9)
    with torch.inference_mode():
        packed(x.to(dtype))
    assert torch.equal(packed.weight, layer.weight)
    assert all(getattr(packed, name) == getattr(layer, name) for name in layer.__constants__)


@packs
def test_every_product_is_packed_and_every_norm_folded():
    fast = inference.optimize(drawn(AutoBackbone.from_config(CONFIGS["bottleneck"])))
    kinds = {type(module) for module in fast.modules()}
    assert inference.PackedConv in kinds
    assert not kinds & {nn.Conv2d, nn.BatchNorm2d}
    fast = inference.optimize(drawn(AutoBackbone.from_config(CONFIGS["swin"])))
    assert nn.Linear not in {type(module) for module in fast.modules()}


def test_where_packing_is_not_possible_the_model_is_left_alone(monkeypatch):
    monkeypatch.setattr(inference, "can_pack", lambda dtype: False)
    model = inference.optimize(AutoBackbone.from_config(CONFIGS["bottleneck"]))
    assert nn.BatchNorm2d in {type(module) for module in model.modules()}
