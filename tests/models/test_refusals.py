"""Configs that can't be honoured are refused with the name of the switch, never run as something else."""

from __future__ import annotations

import pytest

from backbone_cli import registry
from backbone_cli.errors import UnsupportedModel

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
]


@pytest.mark.parametrize(("model_type", "said", "switch"), REFUSED)
def test_the_switch_is_named(model_type, said, switch):
    with pytest.raises(UnsupportedModel, match=switch):
        registry.find(model_type).config_class().from_dict(said)
