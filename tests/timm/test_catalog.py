"""The data file of timm's zoo, against the timm that is installed."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from timm.models import get_deprecated_models

from backbone_cli.timm.catalog import find, timm_names, zoo
from backbone_cli.timm.probe import configs, shapes_at, stages_if_similar, tag, unique
from backbone_cli.timm.probe import network as build_network

# Of timm's own version the file tells everything; of another one, what both know.
SAME_TIMM = zoo()["timm"] == timm.__version__
KNOWN = sorted(set(zoo()["models"]) & set(timm.list_models()))
# Every fortieth, and the kinds that are unlike the others.
SAMPLED = [
    *KNOWN[::40],
    *("crossvit_9_240", "coat_tiny", "mixer_s32_224", "nasnetalarge", "hrnet_w18_small", "swinv2_cr_tiny_224"),
    *("convnext_atto_ols", "resnet50_clip", "bat_resnext26ts"),
]


def test_the_whole_zoo_is_there():
    missing = set(timm.list_models()) - set(KNOWN)
    # No part of these four stands for their first stage; Gemma takes minutes to try out. All six are left to timm.
    partless = {"tresnet_l", "tresnet_m", "tresnet_v2_l", "tresnet_xl"}
    assert not SAME_TIMM or missing - {"gemma4_vit_570m", "gemma4_vit_570m_enc"} == partless
    assert not SAME_TIMM or zoo()["renamed"] == {old: new for old, new in get_deprecated_models().items() if new}


def test_weights_and_preprocessing_of_every_model():
    for name in KNOWN:
        said = {cfg.tag or "": tag(cfg) for cfg in configs(name)}
        held = find(name).tags
        assert {key: held[key] for key in said if SAME_TIMM or key in held} == {
            key: said[key] for key in said if SAME_TIMM or key in held
        }
        if SAME_TIMM:
            assert list(held) == list(said)


@pytest.mark.parametrize("name", SAMPLED)
def test_stages_are_those_of_timm(name):
    facts = find(name)
    with torch.device("meta"):
        net = timm.create_model(name, features_only=True, **facts.build)
    info, stages = net.feature_info.info, facts.stages
    assert [stage.name for stage in stages] == unique([at["module"] for at in info])
    assert [(stage.channels, stage.stride) for stage in stages] == [(at["num_chs"], at["reduction"]) for at in info]
    own = tuple(facts.tag(name).data["input_size"][1:])
    sizes = [own, (own[0] + 17, own[1] + 31), (97, 135)] if facts.multiple == 1 else [own]
    foretold = {size: [stages[i].grid(*size) for i in net.feature_info.out_indices] for size in sizes}
    assert shapes_at(net, *sizes) in ({}, foretold)  # nothing of networks that want to see values


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "inception_v4"])
def test_sizes_follow_the_rules(name):
    facts = find(name)
    own = tuple(facts.tag(name).data["input_size"][1:])
    assert stages_if_similar(facts, lambda **how: build_network(name, **how), own) == facts.stages


def test_names_by_pattern():
    assert [facts.name for facts in timm_names("resnet?1*")] == ["resnet51q", "resnet61q"]
    assert {"resnet50", "seresnet50"} <= {facts.name for facts in timm_names("resnet50")}
    assert {facts.name for facts in timm_names("resnet50.a1_*")} == {"resnet50"}
    assert len(timm_names()) == len(zoo()["models"])


def test_the_file_is_small_and_compact():
    from backbone_cli.timm.catalog import FILE

    assert FILE.stat().st_size < 400_000
    assert json.loads(FILE.read_text()) == zoo()
