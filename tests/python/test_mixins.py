"""The mixins, in classes from outside this package: the same calls succeed and fail as with transformers' mixins."""

import itertools

import pytest
import torch
from torch import nn
from transformers.backbone_utils import BackboneConfigMixin as OracleMixin

from backbone_cli import BackboneConfigMixin, BackboneMixin, BackboneOutput, ResNetBackbone, ResNetConfig, SwinConfig

NAMES = ["stem", "stage1", "stage2"]
FEATURES = (
    None,
    [],
    ["stem"],
    ["stage2"],
    ["stem", "stage2"],
    ["stage2", "stem"],
    ["stem", "stem"],
    ["stage9"],
    ("stem", "stage2"),
    "stem",
)
INDICES = (
    None,
    [],
    [0],
    [2],
    [-1],
    [0, 2],
    (0, 2),
    [0, -1],
    [-3, -1],
    [2, 0],
    [-1, 0],
    [0, 0],
    [2, -1],
    [3],
    [0, 1, 2],
    0,
    {0: 1},
)


def new_config(mixin):
    config = type("Config", (mixin,), {})()
    config.stage_names = NAMES
    return config


def outcome(config, act):
    try:
        act(config)
    except ValueError:
        return "ValueError"
    return config.out_features, config.out_indices


@pytest.mark.parametrize(("features", "indices"), list(itertools.product(FEATURES, INDICES)))
def test_choosing_stages(features, indices):
    def act(config):
        config.set_output_features_output_indices(features, indices)

    assert outcome(new_config(BackboneConfigMixin), act) == outcome(new_config(OracleMixin), act)


@pytest.mark.parametrize("features", FEATURES)
def test_out_features_property(features):
    def act(config):
        config.out_features = features

    assert outcome(new_config(BackboneConfigMixin), act) == outcome(new_config(OracleMixin), act)


@pytest.mark.parametrize("indices", [value for value in INDICES if not isinstance(value, int)])
def test_out_indices_property(indices):
    def act(config):
        config.out_indices = indices

    assert outcome(new_config(BackboneConfigMixin), act) == outcome(new_config(OracleMixin), act)


@pytest.mark.parametrize(("features", "indices"), list(itertools.product(FEATURES, INDICES)))
def test_verification(features, indices):
    def act(config):
        config._out_features, config._out_indices = features, indices
        config.verify_out_features_out_indices()
        config._out_features = config._out_indices = None  # only whether it raised is compared

    actual, expected = (outcome(new_config(mixin), act) for mixin in (BackboneConfigMixin, OracleMixin))
    assert (actual == "ValueError") == (expected == "ValueError")


def test_negative_index_out_of_range_is_a_value_error():
    with pytest.raises(ValueError, match="out_indices has"):  # an IndexError in transformers
        new_config(BackboneConfigMixin).out_indices = [-4]


def test_missing_stage_names_are_an_error():
    config = type("Config", (BackboneConfigMixin,), {})()
    with pytest.raises(ValueError, match="stage_names"):
        config.set_output_features_output_indices(None, None)


def test_invalid_choice_keeps_the_previous_one():
    config = new_config(BackboneConfigMixin)
    config.out_indices = (0, 1)
    with pytest.raises(ValueError):
        config.out_features = ["stage9"]
    assert (config.out_features, config.out_indices) == (["stem", "stage1"], [0, 1])


class Config(BackboneConfigMixin):
    def __init__(self, width=4, out_features=None, out_indices=None):
        self.width = width
        self.stage_names = NAMES
        self.strides = [1, 2, 4]
        self.set_output_features_output_indices(out_features, out_indices)


class CustomBackbone(BackboneMixin, nn.Module):
    """A backbone that uses only this package's mixins."""

    def __init__(self, config):
        super().__init__(config)
        self.num_features = [config.width] * 3
        self.layers = nn.ModuleList(nn.Conv2d(3 if i == 0 else config.width, config.width, 1) for i in range(3))

    def forward(self, pixel_values, output_hidden_states=False):
        states = []
        for layer in self.layers:
            pixel_values = layer(pixel_values)
            states.append(pixel_values)
        chosen = {i % 3 for i in self.out_indices}
        maps = tuple(state for i, state in enumerate(states) if i in chosen)
        return BackboneOutput(maps, tuple(states) if output_hidden_states else None)


def test_custom_backbone_with_the_mixin():
    model = CustomBackbone(Config(out_indices=(0, -1)))
    assert model.stage_names == NAMES
    assert (model.out_features, model.out_indices) == (["stem", "stage2"], [0, -1])
    assert (model.num_features, model.channels, model.strides) == ([4, 4, 4], [4, 4], [1, 4])
    assert model.out_feature_channels == {"stem": 4, "stage1": 4, "stage2": 4}
    x = torch.zeros(1, 3, 2, 2)
    output = model.forward_with_filtered_kwargs(x, output_hidden_states=True, output_attentions=True, fancy=1)
    assert len(output.feature_maps) == 2 and len(output.hidden_states) == 3
    model.out_features = ["stage1"]
    assert model.out_indices == [1] and len(model(x).feature_maps) == 1
    assert model.config.to_dict() == {
        "width": 4,
        "stage_names": NAMES,
        "strides": [1, 2, 4],
        "out_features": ["stage1"],
        "out_indices": [1],
    }


def test_to_dict_extends_the_one_of_the_other_base_class():
    class Base:
        def to_dict(self):
            return {"kind": "base"} | vars(self)

    config = type("Config", (BackboneConfigMixin, Base), {})()
    config.stage_names = NAMES
    config.set_output_features_output_indices(None, None)
    assert config.to_dict() == {"kind": "base", "stage_names": NAMES, "out_features": ["stage2"], "out_indices": [2]}


def test_output_by_attribute_key_and_position():
    maps = (torch.zeros(1),)
    output = BackboneOutput(maps)
    assert output.feature_maps is output["feature_maps"] is output[0] is output.to_tuple()[0] is maps
    assert list(output) == output.keys() == ["feature_maps"] and len(output) == 1 and "hidden_states" not in output
    assert output.items() == [("feature_maps", maps)] and dict(output)["feature_maps"] is maps
    with pytest.raises(KeyError):
        output["hidden_states"]
    assert output.hidden_states is None and output.attentions is None
    assert list(BackboneOutput(maps, maps)) == ["feature_maps", "hidden_states"]


def test_config_round_trip_through_its_file(tmp_path):
    config = SwinConfig(embed_dim=48, depths=[1, 2], num_heads=[1, 2], out_features=["stage1"])
    config.save_pretrained(tmp_path)
    loaded = SwinConfig.from_pretrained(str(tmp_path))
    assert loaded.to_dict() == config.to_dict() and loaded.out_indices == [1]
    assert SwinConfig.from_pretrained(str(tmp_path), out_indices=[0, 2], window_size=3).out_indices == [0, 2]
    with pytest.raises(ValueError, match=r"no 'window_sise'\. Did you mean 'window_size'"):
        SwinConfig.from_pretrained(str(tmp_path), window_sise=3)
    with pytest.raises(ValueError, match="'stage7'"):
        SwinConfig.from_pretrained(str(tmp_path), out_features=["stage7"])
    with pytest.raises(ValueError, match="AutoConfig, or SwinConfig"):
        ResNetConfig.from_pretrained(str(tmp_path))


def test_model_does_not_share_its_stages_with_its_config():
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    model = ResNetBackbone(config)
    model.out_indices = [0, 1]
    assert config.out_indices == [2] and model.config.out_indices == [0, 1]
    config.out_indices = [0]
    assert model.out_features == ["stem", "stage1"]
    model.config.out_indices = [2]
    with pytest.raises(ValueError, match="on the model itself"):
        model(torch.zeros(1, 3, 32, 32))


def test_model_without_stages_is_refused():
    with pytest.raises(ValueError, match="No stage was requested"):
        ResNetBackbone(ResNetConfig(out_indices=[]))


def test_config_equality_and_repr_include_the_stages():
    assert SwinConfig(out_indices=[0, 1]) == SwinConfig(out_features=["stem", "stage1"]) != SwinConfig()
    assert "out_indices=[0, 1]" in repr(SwinConfig(out_indices=[0, 1]))
