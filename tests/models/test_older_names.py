"""Checkpoints with the tensor names of older transformers releases load as well."""

from __future__ import annotations

import re

import pytest
from safetensors.torch import load_file, save_file

from tests.models.parity import assert_same_maps, load_all_stages, pixels, save
from tests.models.test_parity import CASES

OLD_NAMES = {
    "convnext": (r"layer_scale_parameter$", "gamma"),
    "convnextv2": (r"(grn|layernorm)\.weight$", r"\1.gamma"),
}


@pytest.mark.parametrize("model_type", OLD_NAMES)
def test_checkpoints_with_old_names_load(model_type, tmp_path):
    case = CASES[model_type]
    oracle = case.build(case.small)
    path = save(oracle, tmp_path) / "model.safetensors"
    tensors = load_file(path)
    renamed = {re.sub(*OLD_NAMES[model_type], name): tensor for name, tensor in tensors.items()}
    assert renamed.keys() != tensors.keys()
    save_file(renamed, path)
    assert_same_maps(load_all_stages(tmp_path, oracle), oracle, pixels(case.sizes[0]))
