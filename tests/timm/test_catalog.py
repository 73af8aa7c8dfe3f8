"""timm's catalog file agrees with the installed timm."""

from __future__ import annotations

import json
from functools import partial

import pytest
import timm
import torch
from timm.models import get_deprecated_models

from backbone_cli.timm.catalog import FILE, catalog, find_architecture, list_architectures
from backbone_cli.timm.probe import (
    create_network,
    make_tag,
    make_unique,
    pretrained_cfgs,
    shapes_at,
    stages_if_similar,
)

# The file is complete only for the timm version that it was generated from.
SAME_TIMM = catalog()["timm"] == timm.__version__
KNOWN = sorted(set(catalog()["models"]) & set(timm.list_models()))
# Every fortieth model, and some unusual ones.
SAMPLED = [
    *KNOWN[::40],
    *("crossvit_9_240", "coat_tiny", "mixer_s32_224", "nasnetalarge", "hrnet_w18_small", "swinv2_cr_tiny_224"),
    *("convnext_atto_ols", "resnet50_clip", "bat_resnext26ts"),
]


def test_catalog_lists_every_model():
    missing = set(timm.list_models()) - set(KNOWN)
    # These are probed when they are used: the first stage of the TResNets has no module, and Gemma takes minutes.
    without_module = {"tresnet_l", "tresnet_m", "tresnet_v2_l", "tresnet_xl"}
    assert not SAME_TIMM or missing - {"gemma4_vit_570m", "gemma4_vit_570m_enc"} == without_module
    assert not SAME_TIMM or catalog()["renamed"] == {old: new for old, new in get_deprecated_models().items() if new}


def test_tags_of_every_model():
    for name in KNOWN:
        expected = {cfg.tag or "": make_tag(cfg) for cfg in pretrained_cfgs(name)}
        tags = find_architecture(name).tags
        compared = [tag for tag in expected if SAME_TIMM or tag in tags]
        assert {tag: tags[tag] for tag in compared} == {tag: expected[tag] for tag in compared}
        if SAME_TIMM:
            assert list(tags) == list(expected)


@pytest.mark.parametrize("name", SAMPLED)
def test_stages_equal_timm(name):
    architecture = find_architecture(name)
    with torch.device("meta"):
        net = timm.create_model(name, features_only=True, **architecture.build_args)
    info, stages = net.feature_info.info, architecture.stages
    assert [stage.name for stage in stages] == make_unique([entry["module"] for entry in info])
    assert [stage.channels for stage in stages] == [entry["num_chs"] for entry in info]
    assert [stage.stride for stage in stages] == [entry["reduction"] for entry in info]
    own = tuple(architecture.tag(name).data["input_size"][1:])
    sizes = [own, (own[0] + 17, own[1] + 31), (97, 135)] if architecture.multiple == 1 else [own]
    expected = {size: [stages[i].grid(*size) for i in net.feature_info.out_indices] for size in sizes}
    assert shapes_at(net, *sizes) in ({}, expected)  # empty for networks that need values


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "inception_v4"])
def test_map_sizes_follow_the_rules(name):
    architecture = find_architecture(name)
    own = tuple(architecture.tag(name).data["input_size"][1:])
    assert stages_if_similar(architecture, partial(create_network, name), own) == architecture.stages


def test_architectures_by_pattern():
    assert [each.name for each in list_architectures("resnet?1*")] == ["resnet51q", "resnet61q"]
    assert {"resnet50", "seresnet50"} <= {each.name for each in list_architectures("resnet50")}
    assert {each.name for each in list_architectures("resnet50.a1_*")} == {"resnet50"}
    assert len(list_architectures()) == len(catalog()["models"])


def test_catalog_file_is_compact():
    assert FILE.stat().st_size < 400_000
    assert json.loads(FILE.read_text()) == catalog()
