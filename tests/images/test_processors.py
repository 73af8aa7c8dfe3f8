"""Every class of processor, every setting: equal to transformers to the last bit."""

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
from backbone_cli.images.torch_ops import gather, normalize_on_device
from tests.images.oracle import assert_same, noise, pixels, theirs

# This one needs boxes in transformers.
COMPARED = sorted(set(CLASSES) - {"VitPoseImageProcessor"})

# Several classes share a row, and most of these their steps.
ROWS = sorted({*{id(CLASSES[kind]): kind for kind in COMPARED}.values(), *FLOATING})

# Odd, tiny, a line, upright, lying, square.
SIZES = [(1, 1), (1, 90), (90, 1), (37, 53), (64, 64), (121, 80), (7, 140)]


def small(kind):
    """The published sizes of a class, brought down to what takes no time."""
    sizes = {key: CLASSES[kind].get(key) for key in ("size", "crop_size", "pad_size")}
    largest = max(max(size.values()) for size in sizes.values() if size)
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
def test_as_published(kind):
    assert_same(kind, {}, [(97, 130)])


@pytest.mark.parametrize("kind", ROWS)
def test_every_setting(kind):
    compared = 0
    for setting in SETTINGS:
        said = small(kind) | setting
        try:
            expected = pixels(theirs(kind, said), noise(37, 53))
        except Exception:  # whatever transformers says to what this class can't do
            continue
        if kind in FLOATING and setting.get("resample") not in (None, 2, 3):
            with pytest.raises(UnsupportedModel, match="bilinear"):
                ImageProcessor.from_dict(setting, kind)
            continue
        sizes = SIZES if setting in ({}, {"resample": 3}) else SIZES[3:6:2]
        if max(expected.shape) > 400:  # a setting that brought the published size back
            sizes = SIZES[3:4]
        assert_same(kind, said, [size for size in sizes if survives(kind, said, size)])
        compared += 1
    assert compared >= 15


def survives(kind, said, size):
    try:
        pixels(theirs(kind, said), noise(*size))
    except Exception:
        with pytest.raises(ImageError):
            ImageProcessor.from_dict({**said, "image_processor_type": kind})(noise(*size))
        return False
    return True


# preprocessor_config.json as repositories of the hub hold them.
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
def test_as_the_hub_has_them(name):
    kind, said = HUB[name]
    ours = ImageProcessor.from_dict(said)
    assert ours.image_processor_type == kind
    image = noise(97, 130)
    expected = pixels(theirs(kind, said), image)
    assert np.array_equal(ours(image, return_tensors="np").pixel_values, expected)


def test_a_photo(request):
    photo = Image.open(request.config.rootpath / "fixtures/photos/grace_hopper.jpg")
    for kind, said in (HUB["microsoft/swin-tiny-patch4-window7-224"], HUB["facebook/dinov2-base"]):
        assert np.array_equal(
            ImageProcessor.from_dict(said)(photo, return_tensors="np").pixel_values, pixels(theirs(kind, said), photo)
        )


def test_a_class_that_is_not_known_is_taken_at_its_word():
    said = {"image_processor_type": "NewImageProcessor", "do_resize": True, "size": {"height": 20, "width": 30}}
    said |= {"resample": 2, "do_rescale": False, "do_normalize": False}
    ours = ImageProcessor.from_dict(said)
    image = noise(50, 60)
    assert np.array_equal(ours.resize_and_crop(image), np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR)))
    assert ours.table[0, 255] == 255  # nothing is done that isn't asked for
    with pytest.raises(UnsupportedModel, match=r"NewImageProcessor.*patch_size, temporal"):
        ImageProcessor.from_dict({**said, "temporal": 1, "patch_size": 14})
    assert ImageProcessor.from_dict(ours.to_dict()) == ours


def test_a_class_that_is_not_known_must_say_what_it_does():
    with pytest.raises(UnsupportedModel, match="unsaid could mean anything: do_resize, do_rescale, do_normalize"):
        ImageProcessor.from_dict({"image_processor_type": "NewImageProcessor", "size": 224})
    said = {"do_resize": True, "do_rescale": True, "do_normalize": False, "size": 224}
    with pytest.raises(UnsupportedModel, match=r"mean anything: resample\."):
        ImageProcessor.from_dict(said, "NewImageProcessor")


def saved(kind):
    """All that transformers writes of a class as it is."""
    return json.loads(json.dumps(theirs(kind, {}).to_dict()))


def test_no_class_of_a_composite_is_silently_another():
    """Each is among those compared above, or is refused by its name, however much its file says."""
    kinds = {composite.processor for composite in composites()}
    assert kinds - set(CLASSES) <= REFUSED
    assert not REFUSED & set(CLASSES)
    for kind in sorted(kinds - set(CLASSES)):
        for said in ({}, saved(kind) | {"image_processor_type": kind}):
            with pytest.raises(UnsupportedModel, match=f"as {kind} does it"):
                ImageProcessor.from_dict(said, kind)


@pytest.mark.parametrize("kind", ["RfDetrImageProcessor", "YolosImageProcessor", "PerceiverImageProcessor"])
def test_classes_with_steps_of_their_own_are_refused_though_all_their_settings_are_known(kind):
    with pytest.raises(UnsupportedModel, match=rf"as {kind} does it: it has steps of its own\. Name one"):
        ImageProcessor.from_dict(saved(kind), kind)


@pytest.mark.parametrize("version", "234")
def test_doc_layouts_way_as_transformers_saves_it(version, tmp_path):
    """It resizes without smoothing, which makes another picture; and each version does so a little differently."""
    kind = f"PPDocLayoutV{version}ImageProcessor"
    theirs(kind, {}).save_pretrained(tmp_path)
    ours = ImageProcessor.from_dict(json.loads((tmp_path / "preprocessor_config.json").read_text()))
    for size in ((97, 130), (800, 800), (1100, 700)):
        assert np.array_equal(
            ours(noise(*size), return_tensors="np").pixel_values, pixels(theirs(kind, {}), noise(*size))
        )


@pytest.mark.parametrize(
    "said",
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
def test_settings_that_make_no_sense_are_refused(said):
    with pytest.raises(UnsupportedModel, match="makes no sense"):
        ImageProcessor.from_dict(said)


@pytest.mark.parametrize("kind", CLASSES)
def test_written_out_and_read_back(kind, tmp_path):
    for processor in (
        plain := ImageProcessor.from_dict({}, kind),
        plain.with_size((40, 60)),
        plain.with_size((64, 64)),
    ):
        processor.save_pretrained(tmp_path)
        said = json.loads((tmp_path / "preprocessor_config.json").read_text())
        assert ImageProcessor.from_dict(said) == processor


def test_what_is_written_transformers_reads_the_same(tmp_path):
    for kind in COMPARED:
        processor = ImageProcessor.from_dict(small(kind), kind)
        processor.save_pretrained(tmp_path)
        said = json.loads((tmp_path / "preprocessor_config.json").read_text())
        image = noise(41, 50)
        assert np.array_equal(processor(image, return_tensors="np").pixel_values, pixels(theirs(kind, said), image))


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("size", [(64, 64), (48, 80), (400, 390)])
def test_with_size_every_image_comes_to_it(kind, size):
    processor = ImageProcessor.from_dict({}, kind).with_size(size)
    assert processor.fixed_size == size
    for shape in SIZES:
        assert processor.output_size(*shape) == size
    assert processor.resize_and_crop(noise(50, 71)).shape == (*size, 3)


def test_with_size_goes_through_the_processors_own_steps():
    image = noise(90, 140)
    convnext = ImageProcessor.from_dict({"size": 224}, "ConvNextImageProcessor").with_size((64, 64))
    assert np.array_equal(
        convnext(image).pixel_values[0], pixels(theirs("ConvNextImageProcessor", {"size": 64}), image)[0]
    )
    dinov2 = ImageProcessor.from_dict({"size": {"shortest_edge": 256}}, "BitImageProcessor").with_size((56, 56))
    said = {"size": {"shortest_edge": 64}, "crop_size": 56}
    assert np.array_equal(dinov2(image).pixel_values[0], pixels(theirs("BitImageProcessor", said), image)[0])


def test_a_window_that_is_not_square_is_covered_and_the_shape_kept():
    processor = ImageProcessor.from_dict({"size": {"shortest_edge": 256}}, "BitImageProcessor").with_size((56, 112))
    assert processor.resized(100, 100) == (128, 128)
    assert processor.resized(100, 300) == (64, 192)
    assert processor.crops() == [(56, 112)]


def test_images_that_come_to_nothing_or_to_too_much_are_refused():
    with pytest.raises(ImageError, match="too long and narrow"):
        ImageProcessor.from_dict({}, "BitImageProcessor").output_size(1, 100_000_000)
    with pytest.raises(ImageError, match="too long and narrow"):
        ImageProcessor.from_dict({}, "DetrImageProcessor").output_size(1, 10_000)
    with pytest.raises(ImageError, match="larger than"):
        pad = {"do_resize": False, "do_pad": True, "pad_size": 20}
        ImageProcessor.from_dict(pad).output_size(21, 20)


def test_a_draft_leaves_enough_to_make_smaller():
    vit = ImageProcessor.from_dict({"size": {"height": 100, "width": 50}})
    assert vit.draft == (200, 100)
    assert ImageProcessor.from_dict({"do_resize": False}).draft is None
    large = noise(900, 800)
    exact, fast = (vit.resize_and_crop(large, fast=fast).astype(int) for fast in (False, True))
    assert 0 < np.abs(exact - fast).max() < 12


# --- the table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ViTImageProcessor", "EfficientNetImageProcessor", "DINOv3ViTImageProcessor"])
def test_geometry_then_normalising_is_the_call(kind):
    processor = ImageProcessor.from_dict({"size": {"height": 30, "width": 40}}, kind)
    images = [noise(50, 60, seed) for seed in range(3)]
    batch = np.stack([processor.resize_and_crop(image) for image in images])
    expected = processor(images, return_tensors="np").pixel_values
    assert np.array_equal(processor.normalize(batch), expected)
    moved = normalize_on_device(torch.from_numpy(batch), torch.from_numpy(processor.table))
    assert moved.is_contiguous() and torch.equal(moved, torch.from_numpy(expected))


def test_looking_up_by_torch_gives_the_same_bits():
    processor = ImageProcessor.from_dict(IMAGENET)
    batch = np.stack([np.asarray(noise(9, 11)), np.asarray(noise(9, 11, 1))])
    looked_up = gather(torch.from_numpy(batch), torch.from_numpy(processor.table))
    assert torch.equal(looked_up, torch.from_numpy(processor.normalize(batch)))


# --- calling ------------------------------------------------------------------------------------------------------


def test_what_can_be_given():
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


def test_floats_from_0_to_1_as_transformers_takes_them():
    said = {"size": {"height": 20, "width": 20}, "do_rescale": False}
    unit = np.asarray(noise(30, 40)).astype(np.float32) / 255
    ours = ImageProcessor.from_dict(said)
    assert np.array_equal(ours(unit).pixel_values[0], pixels(theirs("ViTImageProcessor", said), unit)[0])
    with pytest.raises(UsageError, match="do_rescale=False"):
        ours(unit, do_rescale=True)


@pytest.mark.parametrize(
    ("kind", "said"),
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
def test_floats_stay_floats_where_no_bytes_have_to_be_resized(kind, said):
    said = said | {"do_rescale": False}
    unit = np.random.default_rng(0).random((30, 40, 3), dtype=np.float32)
    got = ImageProcessor.from_dict(said, kind)(unit, return_tensors="np").pixel_values
    assert got.dtype == np.float32
    assert np.array_equal(got, pixels(theirs(kind, said), unit))


def test_the_layout_of_an_array_can_be_said():
    said = {"do_resize": False}
    ours, oracle = ImageProcessor.from_dict(said), theirs("ViTImageProcessor", said)
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    for layout, shape in (("channels_first", (1, 3, 5, 3)), ("channels_last", (1, 3, 3, 5))):
        got = ours(array, input_data_format=layout, return_tensors="np").pixel_values
        assert got.shape == shape
        assert np.array_equal(got, oracle(array, input_data_format=layout, return_tensors="np")["pixel_values"])
    with pytest.raises(UsageError, match="is no image"):
        ours(np.zeros((30, 40, 3), np.uint8), input_data_format="channels_first")
    with pytest.raises(UsageError, match="'channels_first' or 'channels_last', not 'last'"):
        ours(array, input_data_format="last")


def test_keywords_that_change_no_pixel_are_taken():
    processor = ImageProcessor.from_dict({"size": 16})
    expected = processor(noise(20, 30), return_tensors="np").pixel_values
    for given in ({"device": "cpu"}, {"disable_grouping": True}, {"data_format": "channels_first"}, {"use_fast": True}):
        assert np.array_equal(processor(noise(20, 30), return_tensors="np", **given).pixel_values, expected)
    assert np.array_equal(processor.preprocess(noise(20, 30), return_tensors="np").pixel_values, expected)
    with pytest.raises(UsageError, match="data_format='channels_last' can't be had"):
        processor(noise(20, 30), data_format="channels_last")


def test_transparency_is_laid_on_white_where_the_class_does_so():
    image = noise(30, 40).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))))
    for mode in ("RGBA", "LA", "PA"):
        given = image.convert("L").convert("LA") if mode == "LA" else image
        given.putalpha(image.getchannel("A"))
        assert np.array_equal(
            ImageProcessor.from_dict({}, "BitImageProcessor")(given).pixel_values[0],
            pixels(theirs("BitImageProcessor", {}), given)[0],
        )
    assert np.array_equal(
        ImageProcessor.from_dict({})(image).pixel_values[0],
        pixels(theirs("ViTImageProcessor", {}), image.convert("RGB"))[0],
    )


def test_settings_for_one_call():
    processor = ImageProcessor.from_dict({"size": 224})
    image = noise(30, 40)
    assert processor(image, size=16, return_tensors="pt").pixel_values.shape == (1, 3, 16, 16)
    assert processor(image, do_resize=False, return_tensors="np").pixel_values.shape == (1, 3, 30, 40)
    assert processor.size == {"height": 224, "width": 224}
    mixed = processor([image, noise(30, 41)], do_resize=False, return_tensors="pt").pixel_values
    assert [tuple(pixels.shape) for pixels in mixed] == [(3, 30, 40), (3, 30, 41)]
    with pytest.raises(UsageError, match="no setting crop_pct"):
        processor(image, crop_pct=0.9)
    with pytest.raises(UsageError, match="makes no sense"):
        processor(image, size={"long": 3})
    with pytest.raises(UsageError, match="return_tensors"):
        processor(image, return_tensors="tf")


def test_arrays_that_are_no_images_are_refused():
    processor = ImageProcessor.from_dict({})
    for array in (np.zeros((4, 5, 6)), np.zeros(4), np.full((3, 4, 4), -1.0), np.full((3, 4, 4), 300)):
        with pytest.raises(UsageError):
            processor(array)


def test_attributes_are_those_of_transformers():
    ours, oracle = ImageProcessor.from_dict({}, "BitImageProcessor"), theirs("BitImageProcessor", {})
    assert ours.size == dict(oracle.size) and ours.crop_size == dict(oracle.crop_size)
    assert (ours.resample, ours.do_resize, ours.rescale_factor) == (oracle.resample, True, oracle.rescale_factor)
    assert ours.image_mean == tuple(oracle.image_mean) and ours.image_std == tuple(oracle.image_std)


def test_what_a_call_returns_goes_into_a_model():
    returned = ImageProcessor.from_dict({"size": 16})(noise(20, 20), return_tensors="pt")
    assert dict(**returned)["pixel_values"] is returned.pixel_values
    assert returned.to(torch.float16).pixel_values.dtype == torch.float16
    with pytest.raises(AttributeError):
        _ = returned.labels


@pytest.mark.parametrize("size", [{"shortest_edge": 100_000}, {"height": 100_000, "width": 100_000}])
def test_a_size_that_is_too_large_is_not_the_images_fault(size):
    with pytest.raises(ImageError, match="which is too large"):
        ImageProcessor.from_dict({"size": size}).resize_target(40, 50)
