from typing import Any

import transformers
from torch import nn

from tests.models.parity import Case


def without_final_norm(raw_config: dict[str, Any]) -> nn.Module:
    """The oracle without its final norm, which fails for some widths and affects no stage."""
    oracle = transformers.BitBackbone(transformers.BitConfig(**raw_config))
    oracle.bit.norm = nn.Identity()
    return oracle


TWO = {"hidden_sizes": [16, 32], "depths": [1, 2]}
DILATED = {"hidden_sizes": [16, 32, 32, 48], "depths": [1, 2, 2, 2]}
HYBRID = {"layer_type": "bottleneck", "global_padding": "same", "embedding_dynamic_padding": True}

CASE = Case(
    "bit",
    small={"embedding_size": 8, "num_groups": 4, **TWO},
    configs={
        "plain": {},
        "bottleneck": {"layer_type": "bottleneck"},
        "same padding": {"global_padding": "same"},
        "same padding, upper case": {"global_padding": "SAME", "layer_type": "bottleneck"},
        "dynamic pooling": {"embedding_dynamic_padding": True},
        "hybrid": HYBRID,
        "hybrid, fewer stages than widths": {**HYBRID, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 2, 1]},
        "dilated to 8": {**DILATED, "layer_type": "bottleneck", "output_stride": 8},
        "dilated to 16": {**DILATED, "layer_type": "bottleneck", "output_stride": 16},
        "dilated to 4, same padding": {**DILATED, **HYBRID, "output_stride": 4},
        "undilated preactivation": {**DILATED, "output_stride": 8},
        "width factor 2": {"width_factor": 2},
        "width factor 3, bottleneck": {"width_factor": 3, "layer_type": "bottleneck"},
        "widths rounded to multiples of 8": {"hidden_sizes": [12, 44]},
        "another activation": {"hidden_act": "gelu"},
        "bottleneck, another activation": {"hidden_act": "silu", "layer_type": "bottleneck"},
        "one group": {"num_groups": 1},
        "one channel": {"num_channels": 1},
    },
    saved_by=("BitModel", "BitForImageClassification"),
    oracle=without_final_norm,
)
