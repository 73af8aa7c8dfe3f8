"""Unsupported configs are refused with the name of the option, never run as something else."""

from __future__ import annotations

import pytest

from backbone_cli import AutoBackbone, Dinov2Config, VitDetConfig, registry
from backbone_cli.errors import UnsupportedModel, UsageError

REFUSED = [
    ("beit", {"add_fpn": True, "out_indices": [0, 1, 2, 3], "reshape_hidden_states": False}, "reshape_hidden_states"),
    ("bit", {"global_padding": "valid"}, "global_padding"),
    ("bit", {"layer_type": "basic"}, "layer_type"),
    ("bit", {"num_groups": 48}, "num_groups"),
    ("bit", {"hidden_sizes": [64, 128]}, "hidden_sizes"),
    ("convnext", {"num_stages": 3}, "num_stages"),
    ("convnext", {"num_hidden_layers": 3}, "num_stages"),
    ("convnextv2", {"hidden_sizes": [96, 192, 384]}, "hidden_sizes"),
    ("dinov3_convnext", {"depths": [1, 1]}, "depths"),
    ("dinov2", {"num_attention_heads": 5}, "hidden_size"),
    ("dinov3_vit", {"num_attention_heads": 64}, "head"),
    ("focalnet", {"focal_windows": [3, 4, 3, 3]}, "focal_windows"),
    ("focalnet", {"focal_levels": [3]}, "focal_levels"),
    ("vitdet", {"reshape_hidden_states": False}, "reshape_hidden_states"),
    ("vitdet", {"window_size": -1}, "window_size"),
    ("dinov2", {"patch_size": 0}, "patch_size"),
    ("dinov2", {"patch_size": [14, -1]}, "patch_size"),
    ("dinov2", {"num_attention_heads": -1}, "num_attention_heads"),
    ("dinov2", {"mlp_ratio": float("nan")}, "mlp_ratio"),
    ("dinov2", {"num_hidden_layers": 10**30}, "num_hidden_layers"),
    ("swin", {"embed_dim": -1}, "embed_dim"),
    ("swin", {"window_size": 0}, "window_size"),
    ("resnet", {"num_channels": -1}, "num_channels"),
    ("resnet", {"embedding_size": 10**30}, "embedding_size"),
    ("hgnet_v2", {"stem_strides": [2, 1, 1, [2, 0], 1]}, "stem_strides"),
]


@pytest.mark.parametrize(("model_type", "raw_config", "option"), REFUSED)
def test_unsupported_options_are_refused_by_name(model_type, raw_config, option):
    with pytest.raises(UnsupportedModel, match=option):
        registry.find_family(model_type).config_class().from_dict(raw_config)


def test_window_size_zero_means_no_windows():
    assert VitDetConfig(window_size=0).window(0) == 0


def test_config_that_torch_can_not_build_is_refused():
    with pytest.raises(UnsupportedModel, match="This dinov2 config can't be built"):
        AutoBackbone.from_config(Dinov2Config(hidden_size=2**20, patch_size=2**20, num_attention_heads=1))


def test_image_too_small_for_a_stage_is_refused():
    config = Dinov2Config()
    config.check_min_size(14, 14)
    with pytest.raises(UsageError, match="14x13 pixels is too small: it leaves nothing at stage12"):
        config.check_min_size(14, 13)
