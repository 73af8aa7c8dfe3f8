"""timm's models through our path, equal to timm's own feature extraction."""

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
from backbone_cli.hub import Folder
from backbone_cli.optimization import optimize
from tests.models.parity import distance, drawn, maps_of, pixels
from tests.timm.oracle import MODELS, Model, channels_first

SMALL = MODELS["ResNet"]
LISTED, AT_ONCE, COUNTED = MODELS["ConvNeXt"], MODELS["ViT"], MODELS["EfficientNet"]

each_kind = pytest.mark.parametrize("model", [LISTED, AT_ONCE, COUNTED], ids=lambda model: model.name)


def reference(net, x):
    with torch.no_grad():
        return channels_first(net, net(x))


def all_stages(name, **how):
    count = len(AutoConfig.from_pretrained(str(name), **how).stage_names)
    return AutoBackbone.from_pretrained(str(name), out_indices=list(range(count)), **how)


def assert_equal(ours, theirs, x, tolerance=1e-5):
    got, requested = list(maps_of(ours, x).values()), reference(theirs, x)
    assert len(got) == len(requested)
    assert max(map(distance, got, requested)) <= tolerance
    assert [tuple(m.shape[1:]) for m in got] == ours.config.map_shapes(*x.shape[-2:])


@pytest.mark.parametrize("kind", MODELS)
def test_every_stage_equals_timm(kind, tmp_path):
    model = MODELS[kind]
    ours = all_stages(model.save(tmp_path))
    theirs = model.features(tmp_path, len(ours.stage_names))
    for size in model.sizes:
        assert_equal(ours, theirs, pixels(size))
    info = theirs.feature_info
    assert ours.channels == info.channels() and ours.strides == info.reduction()
    assert [name.partition(":")[0] for name in ours.stage_names] == info.module_name()


USES_WEIGHTS_OF_OTHERS = {
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


@pytest.mark.parametrize("name", USES_WEIGHTS_OF_OTHERS)
def test_layers_that_reach_into_one_another_can_be_packed(name):
    """Fresh from loading, as the command line packs them: what a first pass leaves behind must not be needed."""
    args = USES_WEIGHTS_OF_OTHERS[name] or None
    plain, packed = (
        AutoBackbone.from_pretrained(name, use_pretrained_backbone=False, model_args=args) for _ in range(2)
    )
    x = pixels(plain.config.default_size(), batch=1)
    with torch.inference_mode():
        got, requested = optimize(packed)(x).feature_maps[0], plain(x).feature_maps[0]
    assert distance(got, requested) < 1e-4


def test_at_their_own_size_models_are_as_timm_builds_them(tmp_path):
    model = Model("test_vit", sizes=((160, 160),))
    ours = all_stages(model.save(tmp_path))
    assert_equal(ours, model.features(tmp_path, len(ours.stage_names)), pixels((160, 160)))


@pytest.mark.parametrize("model", [*(LISTED, AT_ONCE, COUNTED), MODELS["hooks"]], ids=lambda model: model.name)
def test_only_what_is_asked_for_is_built_and_read(model, tmp_path, monkeypatch):
    requested = dict(enumerate(reference(model.features(model.save(tmp_path), 3), x := pixels(model.sizes[0]))))
    read, sizes = [], []
    monkeypatch.setattr(
        Checkpoint, "read", lambda self, name, real=Checkpoint.read: read.append(name) or real(self, name)
    )
    for index in range(3):
        read.clear()
        ours = AutoBackbone.from_pretrained(str(tmp_path), out_indices=[index])
        (name,) = ours.out_features
        assert distance(maps_of(ours, x)[name], requested[index]) <= 1e-5
        assert (
            len(read)
            == len(set(read))
            == len(list(ours.parameters()))
            + sum(
                not name.endswith("num_batches_tracked")
                for name, _ in ours.named_buffers()
                if name in ours.state_dict()
            )
        )
        sizes.append(sum(p.numel() for p in ours.parameters()))
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


@each_kind
def test_other_stages_can_be_asked_for_later(model, tmp_path):
    ours = AutoBackbone.from_pretrained(str(model.save(tmp_path)), out_indices=[0])
    with torch.no_grad():
        next(ours.parameters()).mul_(2)
    before = maps_of(ours, x := pixels(model.sizes[0]))
    ours.out_indices = [0, -1]
    after = maps_of(ours, x)
    assert list(after) == [ours.stage_names[0], ours.stage_names[-1]]
    assert distance(after[ours.stage_names[0]], before[ours.stage_names[0]]) == 0


def test_what_was_trained_is_kept_for_when_it_is_asked_for_again():
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
    ours = all_stages(model.save(tmp_path))
    output = ours(pixels(model.sizes[0]), output_hidden_states=True)
    assert len(output.hidden_states) == len(output.feature_maps) == len(ours.stage_names)


def test_a_network_that_hands_over_what_was_asked_for_has_no_other_states(tmp_path):
    ours = AutoBackbone.from_pretrained(str(AT_ONCE.save(tmp_path)), out_indices=[2])
    with pytest.raises(UsageError, match="only the stages asked for"):
        ours(pixels((64, 64)), output_hidden_states=True)


def test_class_tokens(tmp_path):
    whole, x = AT_ONCE.whole(), pixels((160, 160))
    ours = AutoBackbone.from_pretrained(str(AT_ONCE.save(tmp_path)), out_indices=[-1])
    with torch.no_grad():
        *_, state = ours.states(x)
        _, [(_, tokens)] = whole.forward_intermediates(x, indices=[-1], return_prefix_tokens=True)
    assert distance(ours.class_token(0, state), tokens[:, 0]) <= 1e-5


# --- layouts ----------------------------------------------------------------------------------------------------


@each_kind
def test_folders_of_transformers_backbone(model, tmp_path):
    count = len(AutoConfig.from_pretrained(model.name).stage_names)
    config = transformers.TimmBackboneConfig(backbone=model.name, out_indices=list(range(count)))
    theirs = drawn(transformers.TimmBackbone(config).eval())
    theirs.save_pretrained(tmp_path)
    ours = all_stages(tmp_path)
    own = ours.config.default_size()
    assert max(map(distance, maps_of(ours, x := pixels(own)).values(), theirs(x).feature_maps)) <= 1e-5


@each_kind
def test_folders_of_transformers_wrapper(model, tmp_path):
    config = transformers.TimmWrapperConfig.from_dict(
        {"architecture": model.name, "pretrained_cfg": timm.get_pretrained_cfg(model.name).to_dict(), "num_classes": 3}
    )
    theirs = drawn(transformers.TimmWrapperForImageClassification(config).eval())
    theirs.save_pretrained(tmp_path)
    assert any(name.startswith("timm_model.") for name in load_file(tmp_path / "model.safetensors"))
    ours = all_stages(tmp_path)
    requested = theirs.timm_model.forward_intermediates(x := pixels((160, 160)), intermediates_only=True)
    assert distance(list(maps_of(ours, x).values())[-1], requested[-1]) <= 1e-5


def test_a_saved_backbone_is_loaded_again(tmp_path):
    ours = all_stages(SMALL.save(tmp_path / "timm"))
    ours.save_pretrained(tmp_path / "ours")
    again = AutoBackbone.from_pretrained(str(tmp_path / "ours"))
    x = pixels((64, 64))
    assert all(map(torch.equal, maps_of(ours, x).values(), maps_of(again, x).values()))


def test_a_folder_of_a_model_that_was_built_in_its_own_way(tmp_path):
    model = Model("test_vit", {"depth": 2, "embed_dim": 48})
    ours = all_stages(model.save(tmp_path))
    assert ours.stage_names == ["blocks.0", "blocks.1"] and ours.channels == [48, 48]
    assert_equal(ours, model.features(tmp_path, 2), pixels((160, 160)))


# --- names ------------------------------------------------------------------------------------------------------


def test_near_misses_are_suggested():
    with pytest.raises(ModelNotFound, match=r"no folder and no timm model 'resnet5O'.*Did you mean 'resnet50'"):
        AutoConfig.from_pretrained("resnet5O")
    with pytest.raises(ModelNotFound, match="no weights 'b1_in1k' for resnet50; it has a1_in1k"):
        AutoBackbone.from_pretrained("resnet50.b1_in1k")


def test_a_folder_comes_before_timm_and_a_slash_means_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SMALL.save(tmp_path / "resnet50")
    assert AutoConfig.from_pretrained("resnet50").backbone == "test_resnet"
    assert AutoConfig.from_pretrained("local-dir:resnet50").backbone == "test_resnet"
    with pytest.raises(ModelNotFound, match="'timm/resnet50' is not in the cache"):
        AutoConfig.from_pretrained("hf-hub:timm/resnet50", offline=True)


def test_names_that_timm_gave_up_mean_those_it_has_now():
    assert AutoConfig.from_pretrained("convnext_tiny_in22ft1k").backbone == "convnext_tiny.fb_in22k_ft_in1k"


def test_weights_come_from_where_timm_has_them(tmp_path, monkeypatch):
    asked = []

    def open_hub(name, revision, offline):
        asked.append((name, revision, offline))
        return Folder(tmp_path)

    SMALL.save(tmp_path)
    monkeypatch.setattr("backbone_cli.timm.weights.HubRepo", open_hub)
    for name in ("test_resnet", "test_resnet.r160_in1k"):
        AutoBackbone.from_pretrained(name, revision="v2", offline=True)
    AutoBackbone.from_config(TimmBackboneConfig("test_resnet", use_pretrained_backbone=True))
    ours = TimmBackbone(config=TimmBackboneConfig("timm/test_resnet", use_pretrained_backbone=True))
    assert asked == [("timm/test_resnet.r160_in1k", "v2", True)] * 2 + [("timm/test_resnet.r160_in1k", None, False)] * 2
    x = pixels((64, 64))
    assert distance(maps_of(ours, x)["layer4"], maps_of(all_stages(tmp_path), x)["layer4"]) == 0


def test_weights_that_are_nowhere(monkeypatch, tmp_path):
    with pytest.raises(ModelNotFound, match=r"no weights for 'botnet26t_256x'|no timm model"):
        AutoBackbone.from_pretrained("botnet26t_256x")
    with pytest.raises(ModelNotFound, match="timm has no weights for 'coatnet_0_224'; draw them"):
        AutoBackbone.from_pretrained("coatnet_0_224", out_indices=[0])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelNotFound, match="not in the cache"):
        AutoBackbone.from_pretrained("gcvit_xxtiny", out_indices=[0], offline=True)


def test_stages_are_listed_without_torch_and_timm():
    code = (
        "import sys; from backbone_cli.resolve import resolve; found = resolve('resnet50.a1_in1k');"
        "assert found.image_size() == (224, 224) and found.config.map_shapes(225, 224)[0] == (64, 113, 112);"
        "assert not {'torch', 'timm', 'numpy', 'PIL'} & set(sys.modules), 'something heavy was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what a config can ask for ----------------------------------------------------------------------------------


def test_the_configuration_of_transformers():
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
    ours = all_stages(SMALL.save(tmp_path), output_stride=stride)
    theirs = SMALL.features(tmp_path, 5, output_stride=stride)
    assert ours.strides == theirs.feature_info.reduction()
    assert_equal(ours, theirs, pixels((97, 61)))


def test_what_timm_cannot_build():
    with pytest.raises(UnsupportedModel, match=r"timm can't build 'test_vit' with .*output_stride=16"):
        AutoBackbone.from_config(TimmBackboneConfig("test_vit", output_stride=16))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_are_adapted_as_timm_does(channels, tmp_path):
    ours = all_stages(SMALL.save(tmp_path), num_channels=channels)
    assert_equal(ours, SMALL.features(tmp_path, 5, in_chans=channels), pixels((64, 64), channels=channels))


@pytest.mark.parametrize("by", ["ours", "transformers"])
@pytest.mark.parametrize("model", [LISTED, AT_ONCE, MODELS["Swin, N H W C"]], ids=lambda model: model.name)
def test_they_are_adapted_whoever_saved_the_file(model, by, tmp_path):
    whole = all_stages(model.save(tmp_path / "timm"))
    if by == "ours":
        whole.save_pretrained(tmp_path / by)
    else:
        wrapped = model.features(tmp_path / "timm", len(whole.stage_names))
        config = transformers.TimmBackboneConfig(backbone=model.name, out_indices=whole.out_indices, **model.args)
        theirs = transformers.TimmBackbone(config)
        theirs._backbone = wrapped
        theirs.save_pretrained(tmp_path / by)
    built = {"model_args": model.args} if model.args else {}
    ours = all_stages(tmp_path / by, num_channels=1, **built)
    own = ours.config.default_size()
    requested = model.features(tmp_path / "timm", len(whole.stage_names), in_chans=1)
    assert_equal(ours, requested, pixels(own, batch=1, channels=1))


def test_frozen_batch_norms(tmp_path):
    plain = all_stages(SMALL.save(tmp_path))
    frozen = all_stages(tmp_path, freeze_batch_norm_2d=True)
    x = pixels((64, 64))
    requested = maps_of(plain, x).values()
    plain.freeze_batch_norm_2d()
    for model in (frozen, plain):
        assert not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
        assert max(map(distance, maps_of(model, x).values(), requested)) < 1e-5
    plain.unfreeze_batch_norm_2d()
    assert any(isinstance(part, nn.BatchNorm2d) for part in plain.modules())
    assert max(map(distance, maps_of(plain, x).values(), requested)) < 1e-5


@pytest.mark.filterwarnings("ignore::UserWarning")  # by timm's own loading, in the reference
def test_a_model_of_one_size_can_be_built_for_another(tmp_path):
    model = Model("test_coatnet")
    ours = all_stages(model.save(tmp_path))
    own = ours.config.default_size()
    assert_equal(ours, model.features(tmp_path, 5), pixels(own, batch=1))
    with pytest.raises(UsageError, match=r"built with img_size=\(192, 224\)"):
        ours(pixels((192, 224)))
    with pytest.raises(UsageError, match=r"works at 160x160 pixels and at multiples of 32, not at 161x160"):
        ours.config.map_shapes(161, 160)
    other = all_stages(tmp_path, image_size=(192, 224))
    assert_equal(other, model.features(tmp_path, 5, img_size=(192, 224)), pixels((192, 224), batch=1))


def test_the_command_line_builds_it_for_the_size_it_was_given(tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (50, 40)).save(photo)
    asked = ["-m", "test_coatnet", "--random-init", "--image-size", "192x224", "-q"]
    assert run(["extract", *asked, str(photo), "-o", str(tmp_path / "out")]) == 0
    assert open_features(tmp_path / "out")["photo"]["stages.3"].shape[1:] == (6, 7)


def test_a_folder_can_say_the_output_stride(tmp_path):
    net = timm.create_model("resnet18", output_stride=16)
    save_for_hf(net, tmp_path, safe_serialization=True)
    config = AutoConfig.from_pretrained(str(tmp_path))
    assert config.strides == [2, 4, 8, 16, 16]
    assert AutoBackbone.from_pretrained(str(tmp_path))(pixels((64, 64))).feature_maps[0].shape[-2:] == (4, 4)
    assert TimmBackboneConfig("resnet18", model_args={"output_stride": 8}).strides == [2, 4, 8, 8, 8]


def test_a_vit_without_a_class_token(tmp_path):
    net = drawn(timm.create_model("test_vit", class_token=False, global_pool="avg").eval())
    save_for_hf(net, tmp_path, safe_serialization=True)
    assert_equal(all_stages(tmp_path), Model("test_vit").features(tmp_path, 6), pixels((160, 160)))


def test_parts_that_share_a_tensor_can_be_saved(tmp_path):
    ours = AutoBackbone.from_pretrained("coat_lite_tiny", use_pretrained_backbone=False, out_indices=[0])
    ours.save_pretrained(tmp_path)
    again = AutoBackbone.from_pretrained(str(tmp_path), out_indices=[0])
    x = pixels((224, 224), batch=1)
    assert torch.equal(ours(x).feature_maps[0], again(x).feature_maps[0])


@pytest.mark.parametrize("channels", [1, 4])
def test_means_for_other_channels_than_a_photo_has(channels, tmp_path):
    save_for_hf(timm.create_model("test_resnet", in_chans=channels), tmp_path, safe_serialization=True)
    assert AutoBackbone.from_pretrained(str(tmp_path)).config.num_channels == channels
    said = json.loads((tmp_path / "config.json").read_text())
    said["pretrained_cfg"] |= {"mean": [0.4] * channels, "std": [0.2] * channels}
    (tmp_path / "config.json").write_text(json.dumps(said))
    if channels == 1:
        assert AutoImageProcessor.from_pretrained(str(tmp_path)).image_mean == (0.4, 0.4, 0.4)
    else:
        with pytest.raises(UnsupportedModel, match="images of 4 channels; photos have three"):
            AutoImageProcessor.from_pretrained(str(tmp_path))


def test_files_of_older_timms_are_read_as_timm_reads_them(tmp_path):
    model = MODELS["Swin, N H W C"]
    model.save(tmp_path)
    old = {}
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        part, stage, rest = [*name.split(".", 2), "", ""][:3]
        if part == "layers" and rest.startswith("downsample"):
            name = f"layers.{int(stage) - 1}.{rest}"
        old[name.replace("head.fc.", "head.")] = tensor
    save_file(old, tmp_path / "model.safetensors")
    ours = all_stages(tmp_path)
    assert_equal(ours, model.features(tmp_path, 4), pixels(model.sizes[0]))


def test_weights_of_another_model_are_refused(tmp_path):
    SMALL.save(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(said | {"architecture": "test_convnext"}))
    with pytest.raises(CheckpointError, match="don't fit the model 'test_convnext'"):
        AutoBackbone.from_pretrained(str(tmp_path))


@pytest.mark.parametrize("layout", ["timm", "transformers"])
@each_kind
def test_a_tensor_that_is_missing_is_named(model, layout, tmp_path):
    whole = all_stages(model.save(tmp_path))
    if layout == "transformers":
        whole.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"The tensor '.*weight' is missing from the weights of '{tmp_path}'"):
        all_stages(tmp_path)


def test_random_weights_are_those_of_the_seed():
    first, again, other = (
        AutoBackbone.from_pretrained("test_vit", use_pretrained_backbone=False, seed=seed) for seed in (0, 0, 1)
    )
    maps = [next(iter(maps_of(model, pixels((64, 64))).values())) for model in (first, again, other)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    assert 0.01 < maps[0].std() < 100
