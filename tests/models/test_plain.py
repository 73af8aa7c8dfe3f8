"""What plain ViTs add to feature maps: class tokens, pyramids, gradients and checkpoints that transformers can load."""

from __future__ import annotations

import importlib

import pytest
import torch

from backbone_cli.auto import AutoBackbone
from backbone_cli.errors import StageError
from tests.models import cases
from tests.models.parity import assert_same_maps, distance, load_all_stages, load_oracle, maps_of, pixels, save

FAMILIES = {
    "beit": {"use_relative_position_bias": True, "use_shared_relative_position_bias": True},
    "dinov2": {"use_swiglu_ffn": True},
    "dinov2_with_registers": {},
    "dinov3_vit": {"num_register_tokens": 2, "use_gated_mlp": True, "apply_layernorm": False},
    "vitdet": {"use_relative_position_embeddings": True},
}


@pytest.fixture(params=FAMILIES)
def case(request):
    return importlib.import_module(f"{cases.__name__}.{request.param}").CASE


@pytest.fixture
def oracle(case):
    return case.build(case.small | FAMILIES[case.model_type])


@pytest.fixture
def model(oracle, tmp_path):
    return load_all_stages(save(oracle, tmp_path), oracle)


def test_class_tokens_equal_the_oracle(case, oracle, model):
    x = pixels((64, 64))
    with torch.no_grad():
        states = oracle(x, output_hidden_states=True).hidden_states
        for index, (state, expected_state) in enumerate(zip(model.states(x), states, strict=True)):
            token = model.class_token(index, state)
            if case.model_type == "vitdet":
                assert token is None
                continue
            last = index == len(states) - 1
            norm = {"dinov2": True, "dinov2_with_registers": True, "dinov3_vit": last, "beit": False}[case.model_type]
            expected = (getattr(oracle, "norm", None) or oracle.layernorm)(expected_state) if norm else expected_state
            assert distance(token, expected[:, 0]) < 1e-4


def test_training_works_after_inference(model):
    x = pixels((33, 50))
    with torch.inference_mode():
        model(x)
    sum(maps.square().mean() for maps in model(x).feature_maps).backward()
    without_gradient = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert without_gradient == []


def test_forward_pass_does_not_change_the_model(model):
    before = {name: id(value) for name, value in vars(model).items()}
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (maps_of(model, pixels((97, 131))) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert {name: id(value) for name, value in vars(model).items()} == before
    assert all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())


def test_bfloat16_stays_close_to_float32(model):
    x = pixels((97, 131))
    exact = maps_of(model, x)
    rounded = maps_of(model.to(torch.bfloat16), x.to(torch.bfloat16))
    for name, expected in exact.items():
        assert rounded[name].dtype == torch.bfloat16
        assert ((rounded[name].float() - expected).square().mean().sqrt() / expected.std()).item() < 0.05


def test_transformers_loads_saved_models(case, model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    assert_same_maps(model, load_oracle(case, tmp_path / "saved"), pixels((64, 64)))


@pytest.fixture
def pyramid(tmp_path):
    case = importlib.import_module(f"{cases.__name__}.beit").CASE
    raw_config = case.small | {"num_hidden_layers": 6, "add_fpn": True, "out_indices": [1, 3, 4, 6]}
    oracle = case.oracle_class("BeitBackbone")(case.oracle_class("BeitConfig")(**raw_config)).eval()
    return oracle, save(oracle, tmp_path)


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (33, 50)])
def test_pyramid_uses_the_requested_stages(pyramid, size):
    oracle, folder = pyramid
    model = AutoBackbone.from_pretrained(str(folder))
    assert model.out_indices == [1, 3, 4, 6] and model.strides == [2, 4, 8, 16]
    x = pixels(size)
    assert_same_maps(model, oracle, x)
    shapes = model.config.map_shapes(*size)
    assert [tuple(m.shape[1:]) for m in maps_of(model, x).values()] == [shapes[i] for i in model.out_indices]


def test_pyramid_needs_four_stages(pyramid):
    with pytest.raises(StageError, match="exactly four stages"):
        AutoBackbone.from_pretrained(str(pyramid[1]), out_indices=[3, 6])
