"""Encoders that transformers has no backbone class for: every stage equals what its blocks return there."""

from __future__ import annotations

import pytest
import torch
import transformers

from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Checkpoint
from backbone_cli.errors import UsageError
from tests.models.encoders import ENCODERS
from tests.models.encoders.oracle import submodule
from tests.models.parity import distance, maps_of, pixels, randomized, rewrite

CONFIGS = [(encoder, name) for encoder in ENCODERS.values() for name in encoder.configs]
WHOLES = [(encoder, whole) for encoder in ENCODERS.values() for whole in encoder.wholes]
FORMS = ("safetensors", "sharded", "bin", "sharded bin", "float16")

# One of each kind: tokens before and after the patches, positions of every sort, windows, a neck.
KINDS = ("aimv2_vision_model", "clip_vision_model", "mlcd_vision_model", "radio", "sam_vision_model", "yolos")


def label(value):
    return getattr(value, "model_type", None) or getattr(value, "cls", value)


each_kind = pytest.mark.parametrize("encoder", [ENCODERS[kind] for kind in KINDS], ids=label)


def load_every_stage(folder):
    model = AutoBackbone.from_pretrained(str(folder))
    model.set_stages(out_indices=range(len(model.stage_names)))
    return model


def saved(encoder, folder):
    oracle = encoder.build(encoder.small)
    oracle.save_pretrained(folder)
    return oracle


def assert_equal(model, expected, x):
    maps = maps_of(model, x)
    assert len(maps) == len(expected)
    for (name, actual), wanted in zip(maps.items(), expected, strict=True):
        assert distance(actual, wanted) < 1e-4, name
    shapes = [tuple(m.shape[1:]) for m in maps.values()]
    assert shapes == [tuple(shape) for shape in model.config.map_shapes(*x.shape[-2:])]


@pytest.mark.parametrize(("encoder", "name"), CONFIGS, ids=label)
def test_every_stage_equals_the_blocks(encoder, name, tmp_path):
    raw_config = encoder.config(name)
    oracle = encoder.build(raw_config)
    oracle.save_pretrained(tmp_path)
    model = load_every_stage(tmp_path)
    for size in encoder.sizes:
        x = pixels(size, channels=raw_config.get("num_channels", 3))
        if not model.config.takes_any_size and size != model.config.default_size():
            with pytest.raises(UsageError, match="takes images of"):
                model(x)
            with pytest.raises(UsageError, match="takes images of"):
                model.config.map_sizes(*size)
            continue
        assert_equal(model, encoder.maps(submodule(oracle, encoder.inner), raw_config, x), x)


@pytest.mark.parametrize(("encoder", "whole"), WHOLES, ids=label)
def test_whole_model_contains_the_encoder(encoder, whole, tmp_path):
    torch.manual_seed(0)
    oracle = randomized(getattr(transformers, whole.cls)(whole.config(encoder.small)).eval())
    form = FORMS[WHOLES.index((encoder, whole)) % len(FORMS)]
    oracle = oracle.half().float() if form == "float16" else oracle
    oracle.save_pretrained(tmp_path)
    rewrite(tmp_path, form)
    model = load_every_stage(tmp_path)
    x = pixels(encoder.sizes[0])
    assert type(model).__name__ == f"{encoder.stem}Backbone"
    assert_equal(model, encoder.maps(submodule(oracle, whole.path), encoder.small, x), x)


@each_kind
def test_only_what_a_stage_needs_is_read(encoder, tmp_path, monkeypatch):
    saved(encoder, tmp_path)
    expected = maps_of(load_every_stage(tmp_path), x := pixels(encoder.sizes[0]))
    sizes = []
    real = Checkpoint.read
    for index, name in enumerate(expected):
        read = []
        monkeypatch.setattr(Checkpoint, "read", lambda self, name, read=read: read.append(name) or real(self, name))
        model = AutoBackbone.from_pretrained(str(tmp_path), out_indices=[index])
        monkeypatch.undo()
        assert distance(maps_of(model, x)[name], expected[name]) < 1e-5
        assert len(read) == len(set(read)) and not [tensor for tensor in read if "head" in tensor or "text" in tensor]
        sizes.append(sum(parameter.numel() for parameter in model.parameters()))
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


@each_kind
def test_every_tensor_matters(encoder, tmp_path):
    saved(encoder, tmp_path)
    model = load_every_stage(tmp_path)
    x = pixels(encoder.sizes[-1] if model.config.takes_any_size else encoder.sizes[0])
    sum(maps.square().mean() for maps in model(x).feature_maps).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=label)
def test_transformers_loads_what_is_saved(encoder, tmp_path):
    oracle = saved(encoder, tmp_path)
    model = load_every_stage(tmp_path)
    model.save_pretrained(tmp_path / "again")
    config = type(oracle.config).from_pretrained(tmp_path / "again")
    again = submodule(type(oracle).from_pretrained(tmp_path / "again", config=config).eval(), encoder.inner)
    x = pixels(encoder.sizes[0])
    assert_equal(model, encoder.maps(again, encoder.small, x), x)


@each_kind
def test_class_token_is_the_first(encoder, tmp_path):
    saved(encoder, tmp_path)
    model = load_every_stage(tmp_path)
    model.config.reshape_hidden_states = False
    x = pixels(encoder.sizes[0])
    with torch.no_grad():
        for index, state in enumerate(model.states(x)):
            token = model.class_token(index, state)
            if model.config.num_prefix_tokens:
                assert torch.equal(token, model.feature_map(index, state, encoder.sizes[0])[:, 0])
            else:
                assert token is None


@each_kind
def test_exports_with_any_batch_size(encoder, tmp_path):
    saved(encoder, tmp_path)
    model = load_every_stage(tmp_path)
    size = encoder.sizes[0]
    batch = {0: torch.export.Dim("batch", min=1, max=16)}
    with torch.no_grad():
        exported = torch.export.export(model, (pixels(size),), dynamic_shapes={"pixel_values": batch}).module()
    x = pixels(size, batch=3)
    for actual, expected in zip(exported(x).feature_maps, model(x).feature_maps, strict=True):
        assert distance(actual, expected) < 1e-5
