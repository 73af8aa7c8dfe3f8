"""What plain ViTs have besides their maps: class tokens, pyramids, gradients, and files that transformers reads."""

from __future__ import annotations

import importlib

import pytest
import torch

from backbone_cli.auto import AutoBackbone
from backbone_cli.errors import StageError
from tests.models import cases
from tests.models.parity import assert_same_maps, distance, load_oracle, load_ours, maps_of, pixels, save

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
def ours(oracle, tmp_path):
    return load_ours(save(oracle, tmp_path), oracle)


def test_class_tokens(case, oracle, ours):
    x = pixels((64, 64))
    with torch.no_grad():
        states = oracle(x, output_hidden_states=True).hidden_states
        for index, (state, theirs) in enumerate(zip(ours.states(x), states, strict=True)):
            token = ours.class_token(index, state)
            if case.model_type == "vitdet":
                assert token is None
                continue
            last = index == len(states) - 1
            norm = {"dinov2": True, "dinov2_with_registers": True, "dinov3_vit": last, "beit": False}[case.model_type]
            requested = (getattr(oracle, "norm", None) or oracle.layernorm)(theirs) if norm else theirs
            assert distance(token, requested[:, 0]) < 1e-4


def test_what_inference_kept_serves_training(ours):
    x = pixels((33, 50))
    with torch.inference_mode():
        ours(x)
    sum(maps.square().mean() for maps in ours(x).feature_maps).backward()
    still = [name for name, p in ours.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []


def test_a_forward_pass_leaves_the_model_as_it_is(ours):
    before = {name: id(value) for name, value in vars(ours).items()}
    tensors = {name: value.clone() for name, value in ours.state_dict().items()}
    first, second = (maps_of(ours, pixels((97, 131))) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert {name: id(value) for name, value in vars(ours).items()} == before
    assert all(torch.equal(value, tensors[name]) for name, value in ours.state_dict().items())


def test_half_precision_stays_close(ours):
    x = pixels((97, 131))
    exact = maps_of(ours, x)
    rough = maps_of(ours.to(torch.bfloat16), x.to(torch.bfloat16))
    for name, requested in exact.items():
        assert rough[name].dtype == torch.bfloat16
        assert ((rough[name].float() - requested).square().mean().sqrt() / requested.std()).item() < 0.05


def test_transformers_reads_what_we_save(case, ours, tmp_path):
    ours.save_pretrained(tmp_path / "saved")
    assert_same_maps(ours, load_oracle(case, tmp_path / "saved"), pixels((64, 64)))


@pytest.fixture
def pyramid(tmp_path):
    case = importlib.import_module(f"{cases.__name__}.beit").CASE
    said = case.small | {"num_hidden_layers": 6, "add_fpn": True, "out_indices": [1, 3, 4, 6]}
    oracle = case.oracle_class("BeitBackbone")(case.oracle_class("BeitConfig")(**said)).eval()
    return oracle, save(oracle, tmp_path)


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (33, 50)])
def test_a_pyramid_grows_from_the_stages_asked_for(pyramid, size):
    oracle, folder = pyramid
    ours = AutoBackbone.from_pretrained(str(folder))
    assert ours.out_indices == [1, 3, 4, 6] and ours.strides == [2, 4, 8, 16]
    x = pixels(size)
    assert_same_maps(ours, oracle, x)
    shapes = ours.config.map_shapes(*size)
    assert [tuple(m.shape[1:]) for m in maps_of(ours, x).values()] == [shapes[i] for i in ours.out_indices]


def test_a_pyramid_needs_four_stages(pyramid):
    with pytest.raises(StageError, match="exactly four stages"):
        AutoBackbone.from_pretrained(str(pyramid[1]), out_indices=[3, 6])
