"""Checkpoints whose tensors are called as they were in older releases load all the same."""

from __future__ import annotations

import re

import pytest
from safetensors.torch import load_file, save_file

from tests.models.parity import assert_same_maps, load_ours, pixels, save
from tests.models.test_parity import CASES

RENAMED = {
    "convnext": (r"layer_scale_parameter$", "gamma"),
    "convnextv2": (r"(grn|layernorm)\.weight$", r"\1.gamma"),
}


@pytest.mark.parametrize("model_type", RENAMED)
def test_older_names_are_found(model_type, tmp_path):
    case = CASES[model_type]
    oracle = case.build(case.small)
    path = save(oracle, tmp_path) / "model.safetensors"
    tensors = load_file(path)
    older = {re.sub(*RENAMED[model_type], name): tensor for name, tensor in tensors.items()}
    assert older.keys() != tensors.keys()
    save_file(older, path)
    assert_same_maps(load_ours(tmp_path, oracle), oracle, pixels(case.sizes[0]))
