"""timm models as backbones: their maps equal timm's own feature extraction."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import nn

from backbone_cli import AutoBackbone, AutoConfig, AutoImageProcessor, TimmBackbone, TimmBackboneConfig, open_features
from backbone_cli.checkpoint import Checkpoint
from backbone_cli.cli import run
from backbone_cli.errors import CheckpointError, ModelNotFound, StageError, UnsupportedModel, UsageError
from backbone_cli.hub import LocalRepo
from backbone_cli.optimization import optimize
from tests.models.parity import distance, maps_of, pixels, randomized
from tests.timm.oracle import MODELS, Model, channels_first

SMALL = MODELS["ResNet"]
# One model for each of timm's ways to return stages.
MODULE_LIST, GETTER, BLOCKS = MODELS["ConvNeXt"], MODELS["ViT"], MODELS["EfficientNet"]

each_kind = pytest.mark.parametrize("model", [MODULE_LIST, GETTER, BLOCKS], ids=lambda model: model.name)


def reference_maps(net, x):
    with torch.no_grad():
        return channels_first(net, net(x))


def load_all_stages(name, **kwargs):
    count = len(AutoConfig.from_pretrained(str(name), **kwargs).stage_names)
    return AutoBackbone.from_pretrained(str(name), out_indices=list(range(count)), **kwargs)


def assert_equal(backbone, reference, x, tolerance=1e-5):
    actual, expected = list(maps_of(backbone, x).values()), reference_maps(reference, x)
    assert len(actual) == len(expected)
    assert max(map(distance, actual, expected)) <= tolerance
    assert [tuple(m.shape[1:]) for m in actual] == backbone.config.map_shapes(*x.shape[-2:])


@pytest.mark.parametrize("kind", MODELS)
def test_every_stage_equals_timm(kind, tmp_path):
    model = MODELS[kind]
    backbone = load_all_stages(model.save(tmp_path))
    reference = model.features(tmp_path, len(backbone.stage_names))
    for size in model.sizes:
        assert_equal(backbone, reference, pixels(size))
    info = reference.feature_info
    assert backbone.channels == info.channels() and backbone.strides == info.reduction()
    assert [name.partition(":")[0] for name in backbone.stage_names] == info.module_name()


SHARED_WEIGHTS = {
    "beit_base_patch16_224": {"depth": 1, "embed_dim": 48, "num_heads": 2},
    "convit_tiny": {"depth": 1, "local_up_to_layer": 1},
    "davit_tiny": {"depths": (1, 1, 1, 1)},
    "edgenext_xx_small": {},
    "eva02_tiny_patch14_224": {"depth": 1},
    "swinv2_tiny_window8_256": {"depths": (1, 1, 1, 1)},
    "test_efficientnet": {},
    "test_vit": {},
    "xcit_nano_12_p16_224": {"depth": 1},
}


@pytest.mark.parametrize("name", SHARED_WEIGHTS)
def test_layers_that_use_each_others_weights_can_be_optimized(name):
    """Right after loading, as the command line does: optimizing must not depend on what a first pass caches."""
    args = SHARED_WEIGHTS[name] or None
    plain, other = (
        AutoBackbone.from_pretrained(name, use_pretrained_backbone=False, model_args=args) for _ in range(2)
    )
    x = pixels(plain.config.default_size(), batch=1)
    with torch.inference_mode():
        actual, expected = optimize(other)(x).feature_maps[0], plain(x).feature_maps[0]
    assert distance(actual, expected) < 1e-4


def test_default_image_size(tmp_path):
    model = Model("test_vit", sizes=((160, 160),))
    backbone = load_all_stages(model.save(tmp_path))
    assert_equal(backbone, model.features(tmp_path, len(backbone.stage_names)), pixels((160, 160)))


@pytest.mark.parametrize("model", [MODULE_LIST, GETTER, BLOCKS, MODELS["hooks"]], ids=lambda model: model.name)
def test_only_requested_stages_are_built_and_read(model, tmp_path, monkeypatch):
    expected = dict(enumerate(reference_maps(model.features(model.save(tmp_path), 3), x := pixels(model.sizes[0]))))
    read, sizes = [], []
    monkeypatch.setattr(
        Checkpoint, "read", lambda self, name, real=Checkpoint.read: read.append(name) or real(self, name)
    )
    for index in range(3):
        read.clear()
        backbone = AutoBackbone.from_pretrained(str(tmp_path), out_indices=[index])
        (name,) = backbone.out_features
        assert distance(maps_of(backbone, x)[name], expected[index]) <= 1e-5
        assert (
            len(read)
            == len(set(read))
            == len(list(backbone.parameters()))
            + sum(
                not name.endswith("num_batches_tracked")
                for name, _ in backbone.named_buffers()
                if name in backbone.state_dict()
            )
        )
        sizes.append(sum(p.numel() for p in backbone.parameters()))
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


@each_kind
def test_other_stages_can_be_requested_later(model, tmp_path):
    backbone = AutoBackbone.from_pretrained(str(model.save(tmp_path)), out_indices=[0])
    with torch.no_grad():
        next(backbone.parameters()).mul_(2)
    before = maps_of(backbone, x := pixels(model.sizes[0]))
    backbone.out_indices = [0, -1]
    after = maps_of(backbone, x)
    assert list(after) == [backbone.stage_names[0], backbone.stage_names[-1]]
    assert distance(after[backbone.stage_names[0]], before[backbone.stage_names[0]]) == 0


def test_changed_weights_survive_requesting_other_stages():
    model = AutoBackbone.from_pretrained("test_resnet", use_pretrained_backbone=False, out_indices=[4])
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(1.5)
    x = pixels((64, 64))
    before, parameters = model(x).feature_maps[0], dict(model.named_parameters())
    model.out_indices = [0]
    model.out_indices = [4]
    assert torch.equal(model(x).feature_maps[0], before)
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())


def test_stages_by_name_and_from_the_end(tmp_path):
    folder = str(SMALL.save(tmp_path))
    assert AutoBackbone.from_pretrained(folder).out_features == ["layer4"]
    assert AutoBackbone.from_pretrained(folder, out_features=["act1", "layer2"]).out_indices == [0, 2]
    assert AutoBackbone.from_pretrained(folder, out_indices=[1, -1]).channels == [32, 96]
    with pytest.raises(StageError, match="layer9"):
        AutoBackbone.from_pretrained(folder, out_features=["layer9"])


@each_kind
def test_hidden_states(model, tmp_path):
    backbone = load_all_stages(model.save(tmp_path))
    output = backbone(pixels(model.sizes[0]), output_hidden_states=True)
    assert len(output.hidden_states) == len(output.feature_maps) == len(backbone.stage_names)


def test_hidden_states_are_refused_if_only_requested_stages_exist(tmp_path):
    backbone = AutoBackbone.from_pretrained(str(GETTER.save(tmp_path)), out_indices=[2])
    with pytest.raises(UsageError, match="only returns the requested stages"):
        backbone(pixels((64, 64)), output_hidden_states=True)


def test_class_tokens(tmp_path):
    whole, x = GETTER.whole(), pixels((160, 160))
    backbone = AutoBackbone.from_pretrained(str(GETTER.save(tmp_path)), out_indices=[-1])
    with torch.no_grad():
        *_, state = backbone.states(x)
        _, [(_, tokens)] = whole.forward_intermediates(x, indices=[-1], return_prefix_tokens=True)
    assert distance(backbone.class_token(0, state), tokens[:, 0]) <= 1e-5


# --- layouts ----------------------------------------------------------------------------------------------------


@each_kind
def test_folder_saved_by_transformers_backbone(model, tmp_path):
    count = len(AutoConfig.from_pretrained(model.name).stage_names)
    config = transformers.TimmBackboneConfig(backbone=model.name, out_indices=list(range(count)))
    reference = randomized(transformers.TimmBackbone(config).eval())
    reference.save_pretrained(tmp_path)
    backbone = load_all_stages(tmp_path)
    own = backbone.config.default_size()
    assert max(map(distance, maps_of(backbone, x := pixels(own)).values(), reference(x).feature_maps)) <= 1e-5


@each_kind
def test_folder_saved_by_transformers_wrapper(model, tmp_path):
    config = transformers.TimmWrapperConfig.from_dict(
        {"architecture": model.name, "pretrained_cfg": timm.get_pretrained_cfg(model.name).to_dict(), "num_classes": 3}
    )
    reference = randomized(transformers.TimmWrapperForImageClassification(config).eval())
    reference.save_pretrained(tmp_path)
    assert any(name.startswith("timm_model.") for name in load_file(tmp_path / "model.safetensors"))
    backbone = load_all_stages(tmp_path)
    expected = reference.timm_model.forward_intermediates(x := pixels((160, 160)), intermediates_only=True)
    assert distance(list(maps_of(backbone, x).values())[-1], expected[-1]) <= 1e-5


def test_save_and_load_round_trip(tmp_path):
    backbone = load_all_stages(SMALL.save(tmp_path / "timm"))
    backbone.save_pretrained(tmp_path / "saved")
    reloaded = AutoBackbone.from_pretrained(str(tmp_path / "saved"))
    x = pixels((64, 64))
    assert all(map(torch.equal, maps_of(backbone, x).values(), maps_of(reloaded, x).values()))


def test_folder_of_a_model_with_custom_arguments(tmp_path):
    model = Model("test_vit", {"depth": 2, "embed_dim": 48})
    backbone = load_all_stages(model.save(tmp_path))
    assert backbone.stage_names == ["blocks.0", "blocks.1"] and backbone.channels == [48, 48]
    assert_equal(backbone, model.features(tmp_path, 2), pixels((160, 160)))


# --- names ------------------------------------------------------------------------------------------------------


def test_unknown_names_get_suggestions():
    with pytest.raises(ModelNotFound, match=r"no folder and no timm model 'resnet5O'.*Did you mean 'resnet50'"):
        AutoConfig.from_pretrained("resnet5O")
    with pytest.raises(ModelNotFound, match="no weights 'b1_in1k' for resnet50; available: a1_in1k"):
        AutoBackbone.from_pretrained("resnet50.b1_in1k")


def test_folders_precede_timm_names_and_hub_ids_have_a_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SMALL.save(tmp_path / "resnet50")
    assert AutoConfig.from_pretrained("resnet50").backbone == "test_resnet"
    assert AutoConfig.from_pretrained("local-dir:resnet50").backbone == "test_resnet"
    with pytest.raises(ModelNotFound, match="'timm/resnet50' is not in the cache"):
        AutoConfig.from_pretrained("hf-hub:timm/resnet50", offline=True)


def test_renamed_models_are_found_by_their_old_names():
    assert AutoConfig.from_pretrained("convnext_tiny_in22ft1k").backbone == "convnext_tiny.fb_in22k_ft_in1k"


def test_weights_come_from_timms_repositories(tmp_path, monkeypatch):
    opened = []

    def open_hub(name, revision, offline):
        opened.append((name, revision, offline))
        return LocalRepo(tmp_path)

    SMALL.save(tmp_path)
    monkeypatch.setattr("backbone_cli.timm.weights.HubRepo", open_hub)
    for name in ("test_resnet", "test_resnet.r160_in1k"):
        AutoBackbone.from_pretrained(name, revision="v2", offline=True)
    AutoBackbone.from_config(TimmBackboneConfig("test_resnet", use_pretrained_backbone=True))
    backbone = TimmBackbone(config=TimmBackboneConfig("timm/test_resnet", use_pretrained_backbone=True))
    repo = "timm/test_resnet.r160_in1k"
    assert opened == [(repo, "v2", True)] * 2 + [(repo, None, False)] * 2
    x = pixels((64, 64))
    assert distance(maps_of(backbone, x)["layer4"], maps_of(load_all_stages(tmp_path), x)["layer4"]) == 0


def test_unavailable_weights_are_reported(monkeypatch, tmp_path):
    with pytest.raises(ModelNotFound, match=r"no weights for 'botnet26t_256x'|no timm model"):
        AutoBackbone.from_pretrained("botnet26t_256x")
    with pytest.raises(ModelNotFound, match="timm has no weights for 'coatnet_0_224'; use random ones"):
        AutoBackbone.from_pretrained("coatnet_0_224", out_indices=[0])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelNotFound, match="not in the cache"):
        AutoBackbone.from_pretrained("gcvit_xxtiny", out_indices=[0], offline=True)


def test_stages_and_sizes_need_no_torch_or_timm():
    code = (
        "import sys; from backbone_cli.images.load import input_size; from backbone_cli.resolve import resolve;"
        "resolved = resolve('resnet50.a1_in1k'); assert input_size(resolved) == (224, 224);"
        "assert resolved.config.map_shapes(225, 224)[0] == (64, 113, 112);"
        "assert not {'torch', 'timm', 'numpy', 'PIL'} & set(sys.modules), 'a heavy module was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- config options ---------------------------------------------------------------------------------------------


def test_config_has_the_fields_of_transformers():
    config = TimmBackboneConfig("resnet50", num_channels=1, use_pretrained_backbone=True, out_indices=(1, 2))
    assert (config.stage_names, config.channels, config.out_features) == (
        ["act1", "layer1", "layer2", "layer3", "layer4"],
        [256, 512],
        ["layer1", "layer2"],
    )
    assert TimmBackboneConfig.from_dict(config.to_dict()) == config
    with pytest.raises(UnsupportedModel, match="features_only=False"):
        TimmBackboneConfig("resnet50", features_only=False)
    with pytest.raises(ValueError, match="name of a timm model"):
        TimmBackboneConfig()


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_output_stride(stride, tmp_path):
    backbone = load_all_stages(SMALL.save(tmp_path), output_stride=stride)
    reference = SMALL.features(tmp_path, 5, output_stride=stride)
    assert backbone.strides == reference.feature_info.reduction()
    assert_equal(backbone, reference, pixels((97, 61)))


def test_arguments_that_timm_rejects_are_reported():
    with pytest.raises(UnsupportedModel, match=r"timm can't build 'test_vit' with .*output_stride=16"):
        AutoBackbone.from_config(TimmBackboneConfig("test_vit", output_stride=16))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels_are_adapted_like_timm(channels, tmp_path):
    backbone = load_all_stages(SMALL.save(tmp_path), num_channels=channels)
    assert_equal(backbone, SMALL.features(tmp_path, 5, in_chans=channels), pixels((64, 64), channels=channels))


@pytest.mark.parametrize("layout", ["backbone_cli", "transformers"])
@pytest.mark.parametrize("model", [MODULE_LIST, GETTER, MODELS["Swin, N H W C"]], ids=lambda model: model.name)
def test_channels_are_adapted_in_every_file_layout(model, layout, tmp_path):
    whole = load_all_stages(model.save(tmp_path / "timm"))
    if layout == "backbone_cli":
        whole.save_pretrained(tmp_path / layout)
    else:
        wrapped = model.features(tmp_path / "timm", len(whole.stage_names))
        config = transformers.TimmBackboneConfig(backbone=model.name, out_indices=whole.out_indices, **model.args)
        saved = transformers.TimmBackbone(config)
        saved._backbone = wrapped
        saved.save_pretrained(tmp_path / layout)
    kwargs = {"model_args": model.args} if model.args else {}
    backbone = load_all_stages(tmp_path / layout, num_channels=1, **kwargs)
    own = backbone.config.default_size()
    reference = model.features(tmp_path / "timm", len(whole.stage_names), in_chans=1)
    assert_equal(backbone, reference, pixels(own, batch=1, channels=1))


def test_frozen_batch_norms(tmp_path):
    plain = load_all_stages(SMALL.save(tmp_path))
    frozen = load_all_stages(tmp_path, freeze_batch_norm_2d=True)
    x = pixels((64, 64))
    expected = maps_of(plain, x).values()
    plain.freeze_batch_norm_2d()
    for model in (frozen, plain):
        assert not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
        assert max(map(distance, maps_of(model, x).values(), expected)) < 1e-5
    plain.unfreeze_batch_norm_2d()
    assert any(isinstance(part, nn.BatchNorm2d) for part in plain.modules())
    assert max(map(distance, maps_of(plain, x).values(), expected)) < 1e-5


@pytest.mark.filterwarnings("ignore::UserWarning")  # from timm's own loading, in the reference
def test_fixed_size_model_can_be_built_for_another_size(tmp_path):
    model = Model("test_coatnet")
    backbone = load_all_stages(model.save(tmp_path))
    own = backbone.config.default_size()
    assert_equal(backbone, model.features(tmp_path, 5), pixels(own, batch=1))
    with pytest.raises(UsageError, match=r"build it with img_size=\(192, 224\)"):
        backbone(pixels((192, 224)))
    with pytest.raises(UsageError, match=r"takes images of 160x160 pixels and multiples of 32, not 161x160"):
        backbone.config.map_shapes(161, 160)
    other = load_all_stages(tmp_path, image_size=(192, 224))
    assert_equal(other, model.features(tmp_path, 5, img_size=(192, 224)), pixels((192, 224), batch=1))


def test_command_line_builds_the_model_for_the_given_size(tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (50, 40)).save(photo)
    options = ["-m", "test_coatnet", "--random-init", "--image-size", "192x224", "-q"]
    assert run(["extract", *options, str(photo), "-o", str(tmp_path / "out")]) == 0
    assert open_features(tmp_path / "out")["photo"]["stages.3"].shape[1:] == (6, 7)


def test_output_stride_from_a_folders_config(tmp_path):
    net = timm.create_model("resnet18", output_stride=16)
    save_for_hf(net, tmp_path, safe_serialization=True)
    config = AutoConfig.from_pretrained(str(tmp_path))
    assert config.strides == [2, 4, 8, 16, 16]
    assert AutoBackbone.from_pretrained(str(tmp_path))(pixels((64, 64))).feature_maps[0].shape[-2:] == (4, 4)
    assert TimmBackboneConfig("resnet18", model_args={"output_stride": 8}).strides == [2, 4, 8, 8, 8]


def test_vit_without_class_token(tmp_path):
    net = randomized(timm.create_model("test_vit", class_token=False, global_pool="avg").eval())
    save_for_hf(net, tmp_path, safe_serialization=True)
    assert_equal(load_all_stages(tmp_path), Model("test_vit").features(tmp_path, 6), pixels((160, 160)))


def test_modules_that_share_a_tensor_can_be_saved(tmp_path):
    backbone = AutoBackbone.from_pretrained("coat_lite_tiny", use_pretrained_backbone=False, out_indices=[0])
    backbone.save_pretrained(tmp_path)
    reloaded = AutoBackbone.from_pretrained(str(tmp_path), out_indices=[0])
    x = pixels((224, 224), batch=1)
    assert torch.equal(backbone(x).feature_maps[0], reloaded(x).feature_maps[0])


@pytest.mark.parametrize("channels", [1, 4])
def test_means_for_other_numbers_of_channels(channels, tmp_path):
    save_for_hf(timm.create_model("test_resnet", in_chans=channels), tmp_path, safe_serialization=True)
    assert AutoBackbone.from_pretrained(str(tmp_path)).config.num_channels == channels
    raw_config = json.loads((tmp_path / "config.json").read_text())
    raw_config["pretrained_cfg"] |= {"mean": [0.4] * channels, "std": [0.2] * channels}
    (tmp_path / "config.json").write_text(json.dumps(raw_config))
    if channels == 1:
        assert AutoImageProcessor.from_pretrained(str(tmp_path)).image_mean == (0.4, 0.4, 0.4)
    else:
        with pytest.raises(UnsupportedModel, match="images of 4 channels; photos have three"):
            AutoImageProcessor.from_pretrained(str(tmp_path))


def test_files_of_older_timm_versions_are_read_like_timm(tmp_path):
    model = MODELS["Swin, N H W C"]
    model.save(tmp_path)
    old_tensors = {}
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        part, stage, rest = [*name.split(".", 2), "", ""][:3]
        if part == "layers" and rest.startswith("downsample"):
            name = f"layers.{int(stage) - 1}.{rest}"
        old_tensors[name.replace("head.fc.", "head.")] = tensor
    save_file(old_tensors, tmp_path / "model.safetensors")
    backbone = load_all_stages(tmp_path)
    assert_equal(backbone, model.features(tmp_path, 4), pixels(model.sizes[0]))


def test_weights_of_another_model_are_refused(tmp_path):
    SMALL.save(tmp_path)
    raw_config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw_config | {"architecture": "test_convnext"}))
    with pytest.raises(CheckpointError, match="don't fit the model 'test_convnext'"):
        AutoBackbone.from_pretrained(str(tmp_path))


@pytest.mark.parametrize("layout", ["timm", "transformers"])
@each_kind
def test_missing_tensor_is_named(model, layout, tmp_path):
    whole = load_all_stages(model.save(tmp_path))
    if layout == "transformers":
        whole.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    missing = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    save_file({name: tensor for name, tensor in tensors.items() if name != missing}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"The tensor '.*weight' is missing from the weights of '{tmp_path}'"):
        load_all_stages(tmp_path)


def test_random_weights_are_reproducible_from_the_seed():
    first, same, other = (
        AutoBackbone.from_pretrained("test_vit", use_pretrained_backbone=False, seed=seed) for seed in (0, 0, 1)
    )
    maps = [next(iter(maps_of(model, pixels((64, 64))).values())) for model in (first, same, other)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    assert 0.01 < maps[0].std() < 100
