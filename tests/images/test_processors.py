"""Every processor class with every setting equals transformers to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from backbone_cli.composites import composites
from backbone_cli.errors import ImageError, UnsupportedModel, UsageError
from backbone_cli.images.defaults import CLASSES, REFUSED
from backbone_cli.images.processor import ImageProcessor
from backbone_cli.images.sizes import FLOATING
from backbone_cli.images.torch_ops import look_up_on_device, normalize_on_device
from tests.images.oracle import assert_same, noise, oracle_processor, pixels

# In transformers, VitPose needs boxes.
COMPARED = sorted(set(CLASSES) - {"VitPoseImageProcessor"})

# Classes that share a row of defaults share their steps, except for the FLOATING ones.
ROWS = sorted({*{id(CLASSES[kind]): kind for kind in COMPARED}.values(), *FLOATING})

# Tiny, single lines, odd, square, portrait, landscape.
SIZES = [(1, 1), (1, 90), (90, 1), (37, 53), (64, 64), (121, 80), (7, 140)]


def small(kind):
    """A class's published sizes, scaled down so that tests are fast."""
    sizes = {key: CLASSES[kind].get(key) for key in ("size", "crop_size", "pad_size")}
    largest = max((max(size.values()) for size in sizes.values() if size), default=0)
    return {key: {side: n * 100 // largest for side, n in size.items()} for key, size in sizes.items() if size}


SETTINGS = [
    {},
    *({"resample": filter_} for filter_ in range(6)),
    {"do_resize": False},
    {"do_rescale": False},
    {"do_normalize": False},
    {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.8, 0.7]},
    {"image_mean": 0.45, "image_std": 0.3, "rescale_factor": 1 / 127.5},
    {"rescale_factor": 0.0078, "rescale_offset": True, "include_top": False},
    {"rescale_offset": True, "include_top": True, "do_normalize": False},
    {"do_center_crop": True, "crop_size": 40},
    {"do_center_crop": True, "crop_size": {"height": 71, "width": 33}},
    {"do_center_crop": False},
    {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 64, "width": 91}},
    {"size": 48},
    {"size": [40, 57]},
    {"size": {"shortest_edge": 48}},
    {"size": {"shortest_edge": 48, "longest_edge": 60}},
    {"size": {"max_height": 50, "max_width": 70}},
    {"size": {"height": 33, "width": 64}, "crop_size": {"height": 20, "width": 21}},
    {"size": {"shortest_edge": 390}, "crop_pct": 0.5},
    {"size": {"shortest_edge": 50}, "crop_pct": 0.77},
    {"size": {"height": 50, "width": 50}, "crop_pct": 0.9},
    {"size": {"height": 50, "width": 40}, "crop_pct": 0.9},
    {"size": {"height": 60, "width": 70}, "keep_aspect_ratio": True, "ensure_multiple_of": 14},
    {"size": {"height": 60, "width": 70}, "keep_aspect_ratio": False, "ensure_multiple_of": 32},
    {"do_pad": True, "pad_size": {"height": 300, "width": 500}, "do_resize": False},
    {"do_resize": False, "do_pad": True, "size_divisor": 14},
    {"size_divisor": 24},
    {"do_pad": False},
    {"do_flip_channel_order": False},
    {"do_convert_rgb": True},
    {"size": 60, "max_size": 70},
    {"max_size": 850},
    {"do_reduce_labels": True, "crop_pct": None, "resample": None},
    {"do_resize": None},
    {"do_center_crop": None, "do_rescale": None},
    {"do_normalize": None, "include_top": None, "pad_size": None, "size": None, "keep_aspect_ratio": None},
]


@pytest.mark.parametrize("kind", COMPARED)
def test_published_defaults(kind):
    assert_same(kind, {}, [(97, 130)])


@pytest.mark.parametrize("kind", ROWS)
def test_every_setting(kind):
    compared = 0
    for setting in SETTINGS:
        raw_config = small(kind) | setting
        try:
            expected = pixels(oracle_processor(kind, raw_config), noise(37, 53))
        except Exception:  # whatever transformers raises for a setting that the class doesn't support
            continue
        if kind in FLOATING and setting.get("resample") not in (None, 2, 3):
            with pytest.raises(UnsupportedModel, match="bilinear"):
                ImageProcessor.from_dict(setting, kind)
            continue
        sizes = SIZES if setting in ({}, {"resample": 3}) else SIZES[3:6:2]
        if max(expected.shape) > 400:  # the setting restored the published size
            sizes = SIZES[3:4]
        assert_same(kind, raw_config, [size for size in sizes if is_accepted(kind, raw_config, size)])
        compared += 1
    assert compared >= 15


def is_accepted(kind, raw_config, size):
    """Whether transformers accepts an image of this size; if not, this package must refuse it as well."""
    try:
        pixels(oracle_processor(kind, raw_config), noise(*size))
    except Exception:
        with pytest.raises(ImageError):
            ImageProcessor.from_dict({**raw_config, "image_processor_type": kind})(noise(*size))
        return False
    return True


# preprocessor_config.json files of Hub repositories.
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HUB = {
    "microsoft/swin-tiny-patch4-window7-224": (
        "ViTImageProcessor",
        {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 3, **IMAGENET}
        | {"do_normalize": True, "do_resize": True},
    ),
    "microsoft/resnet-50": (
        "ConvNextImageProcessor",
        {
            "feature_extractor_type": "ConvNextFeatureExtractor",
            "size": 224,
            "crop_pct": 0.875,
            "resample": 3,
            **IMAGENET,
        }
        | {"do_normalize": True, "do_resize": True},
    ),
    "facebook/convnext-base-384": (
        "ConvNextImageProcessor",
        {
            "feature_extractor_type": "ConvNextFeatureExtractor",
            "size": 384,
            "crop_pct": None,
            "resample": 3,
            **IMAGENET,
        },
    ),
    "facebook/dinov2-base": (
        "BitImageProcessor",
        {
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_processor_type": "BitImageProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": 256},
            **IMAGENET,
        },
    ),
    "microsoft/beit-base-patch16-224": (
        "BeitImageProcessor",
        {"feature_extractor_type": "BeitFeatureExtractor", "size": 224, "crop_size": 224, "do_center_crop": False}
        | {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2, "do_resize": True},
    ),
    "facebook/deit-base-distilled-patch16-224": (
        "DeiTImageProcessor",
        {"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224, "resample": 3, **IMAGENET}
        | {"do_center_crop": True, "do_normalize": True, "do_resize": True},
    ),
    "facebook/levit-128S": (
        "LevitImageProcessor",
        {"feature_extractor_type": "LevitFeatureExtractor", "size": 224, "resample": 3, **IMAGENET},
    ),
    "facebook/detr-resnet-50": (
        "DetrImageProcessor",
        {"feature_extractor_type": "DetrFeatureExtractor", "size": 800, "max_size": 1333, "format": "coco_detection"}
        | IMAGENET,
    ),
    "facebook/maskformer-swin-tiny-ade": (
        "MaskFormerImageProcessor",
        {"feature_extractor_type": "MaskFormerFeatureExtractor", "size": 512, "max_size": 2048, "ignore_index": 255}
        | {"size_divisibility": 32, "num_labels": 150, "reduce_labels": True, **IMAGENET},
    ),
    "facebook/mask2former-swin-tiny-coco-instance": (
        "Mask2FormerImageProcessor",
        {"image_processor_type": "Mask2FormerImageProcessor", "size": {"longest_edge": 1333, "shortest_edge": 800}}
        | {"size_divisor": 32, "num_labels": 80, "ignore_index": 255, **IMAGENET},
    ),
    "facebook/dpt-dinov2-small-kitti": (
        "DPTImageProcessor",
        {
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": False,
            "do_resize": False,
            "image_mean": [123.675, 116.28, 103.53],
            "image_processor_type": "DPTImageProcessor",
            "image_std": [58.395, 57.12, 57.375],
            "size_divisor": 14,
        },
    ),
    "shi-labs/dinat-mini-in1k-224": (
        "ViTImageProcessor",
        {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 3, **IMAGENET},
    ),
    "microsoft/focalnet-tiny": (
        "BitImageProcessor",
        {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "resample": 3, **IMAGENET},
    ),
    "openai/clip-vit-base-patch32": (
        "CLIPImageProcessor",
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "do_center_crop": True},
    ),
    "facebook/dinov3-vits16-pretrain-lvd1689m": (
        "DINOv3ViTImageProcessor",
        {"image_processor_type": "DINOv3ViTImageProcessorFast", "data_format": "channels_first", "device": None}
        | {"crop_size": None, "do_center_crop": None, "size": {"height": 224, "width": 224}, **IMAGENET},
    ),
}


@pytest.mark.parametrize("name", HUB)
def test_configs_of_hub_repositories(name):
    kind, raw_config = HUB[name]
    processor = ImageProcessor.from_dict(raw_config)
    assert processor.image_processor_type == kind
    image = noise(97, 130)
    expected = pixels(oracle_processor(kind, raw_config), image)
    assert np.array_equal(processor(image, return_tensors="np").pixel_values, expected)


def test_real_photo(request):
    photo = Image.open(request.config.rootpath / "fixtures/photos/grace_hopper.jpg")
    for kind, raw_config in (HUB["microsoft/swin-tiny-patch4-window7-224"], HUB["facebook/dinov2-base"]):
        assert np.array_equal(
            ImageProcessor.from_dict(raw_config)(photo, return_tensors="np").pixel_values,
            pixels(oracle_processor(kind, raw_config), photo),
        )


def test_unknown_class_follows_its_settings():
    raw_config = {"image_processor_type": "NewImageProcessor", "do_resize": True, "size": {"height": 20, "width": 30}}
    raw_config |= {"resample": 2, "do_rescale": False, "do_normalize": False}
    processor = ImageProcessor.from_dict(raw_config)
    image = noise(50, 60)
    assert np.array_equal(
        processor.resize_and_crop(image), np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR))
    )
    assert processor.table[0, 255] == 255  # no rescaling, no normalization
    with pytest.raises(UnsupportedModel, match=r"NewImageProcessor.*patch_size, temporal"):
        ImageProcessor.from_dict({**raw_config, "temporal": 1, "patch_size": 14})
    assert ImageProcessor.from_dict(processor.to_dict()) == processor


def test_unknown_class_must_list_all_steps():
    with pytest.raises(UnsupportedModel, match=r"its config lacks do_resize, do_rescale, do_normalize\."):
        ImageProcessor.from_dict({"image_processor_type": "NewImageProcessor", "size": 224})
    raw_config = {"do_resize": True, "do_rescale": True, "do_normalize": False, "size": 224}
    with pytest.raises(UnsupportedModel, match=r"its config lacks resample\."):
        ImageProcessor.from_dict(raw_config, "NewImageProcessor")


def saved_config(kind):
    """Everything that transformers saves for a class with its defaults."""
    return json.loads(json.dumps(oracle_processor(kind, {}).to_dict()))


def test_composites_classes_are_supported_or_refused_by_name():
    """Each is compared above, or is refused even if its file contains all settings."""
    kinds = {composite.processor for composite in composites()}
    assert kinds - set(CLASSES) <= REFUSED
    assert not REFUSED & set(CLASSES)
    for kind in sorted(kinds - set(CLASSES)):
        for raw_config in ({}, saved_config(kind) | {"image_processor_type": kind}):
            with pytest.raises(UnsupportedModel, match=f"The image processor {kind} is not supported"):
                ImageProcessor.from_dict(raw_config, kind)


@pytest.mark.parametrize("kind", ["RfDetrImageProcessor", "SmolVLMImageProcessor", "PerceiverImageProcessor"])
def test_classes_with_special_steps_are_refused(kind):
    with pytest.raises(
        UnsupportedModel, match=rf"{kind} is not supported: it has steps of its own\. Name a supported class"
    ):
        ImageProcessor.from_dict(saved_config(kind), kind)


@pytest.mark.parametrize("version", "234")
def test_doc_layout_equals_transformers(version, tmp_path):
    """These classes resize without antialiasing, and each version does so slightly differently."""
    kind = f"PPDocLayoutV{version}ImageProcessor"
    oracle_processor(kind, {}).save_pretrained(tmp_path)
    processor = ImageProcessor.from_dict(json.loads((tmp_path / "preprocessor_config.json").read_text()))
    for size in ((97, 130), (800, 800), (1100, 700)):
        assert np.array_equal(
            processor(noise(*size), return_tensors="np").pixel_values, pixels(oracle_processor(kind, {}), noise(*size))
        )


@pytest.mark.parametrize(
    "raw_config",
    [
        {"size": {"longest": 3}},
        {"size": 0},
        {"size": "large"},
        {"resample": 9},
        {"image_std": [0.1, 0, 0.1]},
        {"image_mean": [0.1, 0.2]},
        {"do_center_crop": True},
        {"do_center_crop": True, "crop_size": {"shortest_edge": 3}},
    ],
)
def test_invalid_settings_are_refused(raw_config):
    with pytest.raises(UnsupportedModel, match=r"'s preprocessor_config\.json is invalid"):
        ImageProcessor.from_dict(raw_config)


@pytest.mark.parametrize("kind", CLASSES)
def test_save_and_load_round_trip(kind, tmp_path):
    for processor in (
        plain := ImageProcessor.from_dict({}, kind),
        plain.with_size((40, 60)),
        plain.with_size((64, 64)),
    ):
        processor.save_pretrained(tmp_path)
        raw_config = json.loads((tmp_path / "preprocessor_config.json").read_text())
        assert ImageProcessor.from_dict(raw_config) == processor


def test_transformers_reads_saved_configs_the_same(tmp_path):
    for kind in COMPARED:
        processor = ImageProcessor.from_dict(small(kind), kind)
        processor.save_pretrained(tmp_path)
        raw_config = json.loads((tmp_path / "preprocessor_config.json").read_text())
        image = noise(41, 50)
        assert np.array_equal(
            processor(image, return_tensors="np").pixel_values, pixels(oracle_processor(kind, raw_config), image)
        )


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("size", [(64, 64), (48, 80), (400, 390)])
def test_with_size_gives_every_image_that_size(kind, size):
    processor = ImageProcessor.from_dict({}, kind).with_size(size)
    assert processor.fixed_size == size
    for shape in SIZES:
        assert processor.output_size(*shape) == size
    resized = processor.resize_and_crop(noise(50, 71))
    if kind in FLOATING:  # model input already
        assert resized.shape == (3, *size) and resized.dtype == np.float32
    else:
        assert resized.shape == (*size, 3) and resized.dtype == np.uint8


def test_with_size_keeps_the_processors_steps():
    image = noise(90, 140)
    convnext = ImageProcessor.from_dict({"size": 224}, "ConvNextImageProcessor").with_size((64, 64))
    assert np.array_equal(
        convnext(image).pixel_values[0], pixels(oracle_processor("ConvNextImageProcessor", {"size": 64}), image)[0]
    )
    dinov2 = ImageProcessor.from_dict({"size": {"shortest_edge": 256}}, "BitImageProcessor").with_size((56, 56))
    raw_config = {"size": {"shortest_edge": 64}, "crop_size": 56}
    assert np.array_equal(
        dinov2(image).pixel_values[0], pixels(oracle_processor("BitImageProcessor", raw_config), image)[0]
    )


def test_non_square_crop_is_covered_with_the_aspect_ratio_kept():
    processor = ImageProcessor.from_dict({"size": {"shortest_edge": 256}}, "BitImageProcessor").with_size((56, 112))
    assert processor.resized(100, 100) == (128, 128)
    assert processor.resized(100, 300) == (64, 192)
    assert processor.crops() == [(56, 112)]


def test_images_that_become_empty_or_too_large_are_refused():
    with pytest.raises(ImageError, match="too long and narrow"):
        ImageProcessor.from_dict({}, "BitImageProcessor").output_size(1, 100_000_000)
    with pytest.raises(ImageError, match="too long and narrow"):
        ImageProcessor.from_dict({}, "DetrImageProcessor").output_size(1, 10_000)
    with pytest.raises(ImageError, match="larger than"):
        pad = {"do_resize": False, "do_pad": True, "pad_size": 20}
        ImageProcessor.from_dict(pad).output_size(21, 20)


def test_draft_is_larger_than_the_resized_image():
    vit = ImageProcessor.from_dict({"size": {"height": 100, "width": 50}})
    assert vit.draft == (200, 100)
    assert ImageProcessor.from_dict({"do_resize": False}).draft is None
    large = noise(900, 800)
    exact, fast = (vit.resize_and_crop(large, fast=fast).astype(int) for fast in (False, True))
    assert 0 < np.abs(exact - fast).max() < 12


# --- the lookup table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ViTImageProcessor", "EfficientNetImageProcessor", "DINOv3ViTImageProcessor"])
def test_call_equals_resize_and_crop_then_normalize(kind):
    processor = ImageProcessor.from_dict({"size": {"height": 30, "width": 40}}, kind)
    images = [noise(50, 60, seed) for seed in range(3)]
    batch = np.stack([processor.resize_and_crop(image) for image in images])
    expected = processor(images, return_tensors="np").pixel_values
    assert np.array_equal(processor.normalize(batch), expected)
    on_device = normalize_on_device(torch.from_numpy(batch), torch.from_numpy(processor.table))
    assert on_device.is_contiguous() and torch.equal(on_device, torch.from_numpy(expected))


def test_lookup_in_torch_equals_numpy():
    processor = ImageProcessor.from_dict(IMAGENET)
    batch = np.stack([np.asarray(noise(9, 11)), np.asarray(noise(9, 11, 1))])
    looked_up = look_up_on_device(torch.from_numpy(batch), torch.from_numpy(processor.table))
    assert torch.equal(looked_up, torch.from_numpy(processor.normalize(batch)))


# --- calling ------------------------------------------------------------------------------------------------------


def test_accepted_kinds_of_images():
    processor = ImageProcessor.from_dict({"size": 20})
    image = noise(30, 40)
    array = np.asarray(image)
    expected = processor(image, return_tensors="pt").pixel_values
    for given in (
        [image],
        array,
        array.transpose(2, 0, 1),
        torch.tensor(array),
        torch.tensor(array).permute(2, 0, 1)[None],
        [array.astype(np.float32)],
    ):
        assert torch.equal(processor(given, return_tensors="pt").pixel_values, expected)
    assert processor([image, image], return_tensors="pt").pixel_values.shape == (2, 3, 20, 20)
    assert processor(array[..., 0], return_tensors="np").pixel_values.shape == (1, 3, 20, 20)
    assert processor(image.convert("L")).pixel_values[0].shape == (3, 20, 20)


def test_unit_floats_equal_transformers():
    raw_config = {"size": {"height": 20, "width": 20}, "do_rescale": False}
    unit = np.asarray(noise(30, 40)).astype(np.float32) / 255
    processor = ImageProcessor.from_dict(raw_config)
    assert np.array_equal(
        processor(unit).pixel_values[0], pixels(oracle_processor("ViTImageProcessor", raw_config), unit)[0]
    )
    with pytest.raises(UsageError, match="do_rescale=False"):
        processor(unit, do_rescale=True)


@pytest.mark.parametrize(
    ("kind", "raw_config"),
    [
        ("ViTImageProcessor", {"do_resize": False}),
        ("ViTImageProcessor", {"do_resize": False, "do_pad": True, "pad_size": {"height": 50, "width": 60}}),
        ("BitImageProcessor", {"do_resize": False, "crop_size": 25}),
        ("BitImageProcessor", {"do_resize": False, "crop_size": {"height": 35, "width": 47}}),
        ("DPTImageProcessor", {"do_resize": False, "do_pad": True, "size_divisor": 14}),
        ("EfficientNetImageProcessor", {"do_resize": False, "include_top": True}),
        ("MobileViTImageProcessor", {"do_resize": False, "do_flip_channel_order": True}),
        ("DINOv3ViTImageProcessor", {"size": {"height": 20, "width": 24}}),
        ("PPDocLayoutV2ImageProcessor", {"size": {"height": 20, "width": 24}}),
        ("PPDocLayoutV4ImageProcessor", {"size": {"height": 50, "width": 64}}),
        ("ZoeDepthImageProcessor", {"size": {"height": 64, "width": 64}}),
    ],
)
def test_floats_stay_floats_unless_resized_as_bytes(kind, raw_config):
    raw_config = raw_config | {"do_rescale": False}
    unit = np.random.default_rng(0).random((30, 40, 3), dtype=np.float32)
    actual = ImageProcessor.from_dict(raw_config, kind)(unit, return_tensors="np").pixel_values
    assert actual.dtype == np.float32
    assert np.array_equal(actual, pixels(oracle_processor(kind, raw_config), unit))


def test_input_data_format_gives_the_array_layout():
    raw_config = {"do_resize": False}
    processor, oracle = ImageProcessor.from_dict(raw_config), oracle_processor("ViTImageProcessor", raw_config)
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    for layout, shape in (("channels_first", (1, 3, 5, 3)), ("channels_last", (1, 3, 3, 5))):
        actual = processor(array, input_data_format=layout, return_tensors="np").pixel_values
        assert actual.shape == shape
        assert np.array_equal(actual, oracle(array, input_data_format=layout, return_tensors="np")["pixel_values"])
    with pytest.raises(UsageError, match="is not an image"):
        processor(np.zeros((30, 40, 3), np.uint8), input_data_format="channels_first")
    with pytest.raises(UsageError, match="'channels_first' or 'channels_last', not 'last'"):
        processor(array, input_data_format="last")


def test_keywords_without_effect_are_accepted():
    processor = ImageProcessor.from_dict({"size": 16})
    expected = processor(noise(20, 30), return_tensors="np").pixel_values
    for given in ({"device": "cpu"}, {"disable_grouping": True}, {"data_format": "channels_first"}, {"use_fast": True}):
        assert np.array_equal(processor(noise(20, 30), return_tensors="np", **given).pixel_values, expected)
    assert np.array_equal(processor.preprocess(noise(20, 30), return_tensors="np").pixel_values, expected)
    with pytest.raises(UsageError, match="always channels_first; data_format='channels_last' is not supported"):
        processor(noise(20, 30), data_format="channels_last")


def test_transparency_is_composited_on_white_by_classes_that_do_so():
    image = noise(30, 40).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))))
    for mode in ("RGBA", "LA", "PA"):
        given = image.convert("L").convert("LA") if mode == "LA" else image
        given.putalpha(image.getchannel("A"))
        assert np.array_equal(
            ImageProcessor.from_dict({}, "BitImageProcessor")(given).pixel_values[0],
            pixels(oracle_processor("BitImageProcessor", {}), given)[0],
        )
    assert np.array_equal(
        ImageProcessor.from_dict({})(image).pixel_values[0],
        pixels(oracle_processor("ViTImageProcessor", {}), image.convert("RGB"))[0],
    )


def test_overrides_apply_to_one_call():
    processor = ImageProcessor.from_dict({"size": 224})
    image = noise(30, 40)
    assert processor(image, size=16, return_tensors="pt").pixel_values.shape == (1, 3, 16, 16)
    assert processor(image, do_resize=False, return_tensors="np").pixel_values.shape == (1, 3, 30, 40)
    assert processor.size == {"height": 224, "width": 224}
    mixed = processor([image, noise(30, 41)], do_resize=False, return_tensors="pt").pixel_values
    assert [tuple(each.shape) for each in mixed] == [(3, 30, 40), (3, 30, 41)]
    with pytest.raises(UsageError, match="no setting named crop_pct"):
        processor(image, crop_pct=0.9)
    with pytest.raises(UsageError, match="is invalid: images can't be resized"):
        processor(image, size={"long": 3})
    with pytest.raises(UsageError, match="return_tensors"):
        processor(image, return_tensors="tf")


def test_arrays_that_are_not_images_are_refused():
    processor = ImageProcessor.from_dict({})
    for array in (np.zeros((4, 5, 6)), np.zeros(4), np.full((3, 4, 4), -1.0), np.full((3, 4, 4), 300)):
        with pytest.raises(UsageError):
            processor(array)


def test_attributes_equal_transformers():
    processor, oracle = ImageProcessor.from_dict({}, "BitImageProcessor"), oracle_processor("BitImageProcessor", {})
    assert processor.size == dict(oracle.size) and processor.crop_size == dict(oracle.crop_size)
    assert (processor.resample, processor.do_resize, processor.rescale_factor) == (
        oracle.resample,
        True,
        oracle.rescale_factor,
    )
    assert processor.image_mean == tuple(oracle.image_mean) and processor.image_std == tuple(oracle.image_std)


def test_returned_batch_can_be_passed_to_a_model():
    returned = ImageProcessor.from_dict({"size": 16})(noise(20, 20), return_tensors="pt")
    assert dict(**returned)["pixel_values"] is returned.pixel_values
    assert returned.to(torch.float16).pixel_values.dtype == torch.float16
    with pytest.raises(AttributeError):
        _ = returned.labels


@pytest.mark.parametrize("size", [{"shortest_edge": 100_000}, {"height": 100_000, "width": 100_000}])
def test_too_large_a_size_is_not_blamed_on_the_image(size):
    with pytest.raises(ImageError, match="which is too large"):
        ImageProcessor.from_dict({"size": size}).resize_target(40, 50)
