"""Encoders that transformers has no backbone class for, every config, every stage: equal to its blocks' outputs."""

from __future__ import annotations

import pytest
import torch
import transformers

from backbone_cli.auto import AutoBackbone
from backbone_cli.errors import UsageError
from tests.models.encoders import clip, larger, sam, vit
from tests.models.encoders.oracle import submodule
from tests.models.parity import distance, drawn, maps_of, pixels, rewrite

ENCODERS = {encoder.model_type: encoder for encoder in (*vit.ENCODERS, *clip.ENCODERS, *larger.ENCODERS, *sam.ENCODERS)}
CONFIGS = [(encoder, name) for encoder in ENCODERS.values() for name in encoder.configs]
WHOLES = [(encoder, whole) for encoder in ENCODERS.values() for whole in encoder.wholes]
FORMS = ("safetensors", "sharded", "bin", "sharded bin")


def label(value):
    return getattr(value, "model_type", None) or getattr(value, "cls", value)


def load_every_stage(folder):
    model = AutoBackbone.from_pretrained(str(folder))
    model.set_stages(out_indices=range(len(model.stage_names)))
    return model


def assert_equal(ours, expected, x):
    maps = maps_of(ours, x)
    assert len(maps) == len(expected)
    for (name, got), wanted in zip(maps.items(), expected, strict=True):
        assert distance(got, wanted) < 1e-4, name
    shapes = [tuple(m.shape[1:]) for m in maps.values()]
    assert shapes == [tuple(shape) for shape in ours.config.map_shapes(*x.shape[-2:])]


@pytest.mark.parametrize(("encoder", "name"), CONFIGS, ids=label)
def test_every_stage_equals_the_blocks(encoder, name, tmp_path):
    raw_config = encoder.config(name)
    oracle = encoder.build(raw_config)
    oracle.save_pretrained(tmp_path)
    ours = load_every_stage(tmp_path)
    for size in encoder.sizes:
        x = pixels(size, channels=raw_config.get("num_channels", 3))
        if not ours.config.takes_any_size and size != ours.config.default_size():
            with pytest.raises(UsageError, match="takes images of"):
                ours(x)
            continue
        assert_equal(ours, encoder.maps(submodule(oracle, encoder.inner), raw_config, x), x)


@pytest.mark.parametrize(("encoder", "whole"), WHOLES, ids=label)
def test_a_whole_model_holds_the_encoder(encoder, whole, tmp_path):
    torch.manual_seed(0)
    model = drawn(getattr(transformers, whole.cls)(whole.config(encoder.small)).eval())
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, FORMS[WHOLES.index((encoder, whole)) % len(FORMS)])
    ours = load_every_stage(tmp_path)
    x = pixels(encoder.sizes[0])
    assert type(ours).__name__ == f"{encoder.stem}Backbone"
    assert_equal(ours, encoder.maps(submodule(model, whole.path), encoder.small, x), x)
