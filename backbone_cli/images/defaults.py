"""The published defaults of transformers' image processors: one row per class.

A row holds every key that its class uses; the class ignores any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING = range(6)
"""Pillow's filters, as `resample` numbers them."""

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

Row = dict[str, Any]


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def row(size: Mapping[str, int] | None, resample: int, **more: Any) -> dict[str, Any]:
    """Resize, rescale, normalize: what all classes do."""
    known = {
        "do_resize": True,
        "size": size,
        "default_to_square": True,
        "resample": resample,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": HALF,
        "image_std": HALF,
        "do_convert_rgb": None,
    }
    return known | more


IMAGENET: Row = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
CLIP: Row = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}
SHORTEST: Row = {"default_to_square": False}
NO_CROP: Row = {"do_center_crop": False, "crop_size": None}
NO_PAD: Row = {"do_pad": False, "pad_size": None}
PLAIN: Row = {**NO_CROP, **NO_PAD}


def crop(side: int) -> dict[str, Any]:
    return {"do_center_crop": True, "crop_size": square(side)}


DETR = row({"shortest_edge": 800, "longest_edge": 1333}, BILINEAR, **SHORTEST, **IMAGENET, do_pad=True, pad_size=None)
MASKFORMER = DETR | {"size_divisor": 32}
CLIP_LIKE = row({"shortest_edge": 224}, BICUBIC, **SHORTEST, **CLIP, **NO_PAD, **crop(224), do_convert_rgb=True)
DPT = row(
    square(384),
    BICUBIC,
    do_pad=False,
    size_divisor=None,
    keep_aspect_ratio=False,
    ensure_multiple_of=1,
)

DOC_LAYOUT = row(square(800), BICUBIC, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0), **PLAIN)

CLASSES: Mapping[str, Row] = {
    "BeitImageProcessor": row(square(224), BICUBIC, do_center_crop=False, crop_size=square(224)),
    "BitImageProcessor": CLIP_LIKE,
    "BlipImageProcessor": row(square(384), BICUBIC, **CLIP, **PLAIN, do_convert_rgb=True),
    "CLIPImageProcessor": CLIP_LIKE,
    "ChineseCLIPImageProcessor": CLIP_LIKE,
    "ConditionalDetrImageProcessor": DETR,
    "ConvNextImageProcessor": row({"shortest_edge": 384}, BICUBIC, **SHORTEST, **NO_CROP, crop_pct=224 / 256),
    "DINOv3ViTImageProcessor": row(square(224), BILINEAR, **IMAGENET, **NO_CROP),
    "DPTImageProcessor": DPT,
    "DeformableDetrImageProcessor": DETR,
    "DeiTImageProcessor": row(square(256), BICUBIC, **crop(224), **NO_PAD),
    "DetrImageProcessor": DETR,
    "EfficientNetImageProcessor": row(
        square(346), BICUBIC, do_center_crop=False, crop_size=square(289), rescale_offset=False, include_top=True
    ),
    "GotOcr2ImageProcessor": row(square(384), BICUBIC, **CLIP, do_convert_rgb=True),
    "GroundingDinoImageProcessor": DETR,
    "Idefics2ImageProcessor": row(
        {"shortest_edge": 378, "longest_edge": 980}, BILINEAR, **SHORTEST, do_convert_rgb=True
    ),
    "JanusImageProcessor": row(square(384), BICUBIC, **CLIP, do_pad=True, min_size=14),
    "LevitImageProcessor": row({"shortest_edge": 224}, BICUBIC, **SHORTEST, **IMAGENET, **crop(224), **NO_PAD),
    "Mask2FormerImageProcessor": MASKFORMER,
    "MaskFormerImageProcessor": MASKFORMER,
    "MobileNetV1ImageProcessor": row({"shortest_edge": 256}, BILINEAR, **SHORTEST, **crop(224), **NO_PAD),
    "MobileNetV2ImageProcessor": row({"shortest_edge": 256}, BILINEAR, **SHORTEST, **crop(224)),
    # It never normalizes, whatever its config says.
    "MobileViTImageProcessor": {
        key: value
        for key, value in row(
            {"shortest_edge": 224}, BICUBIC, **SHORTEST, **crop(256), do_flip_channel_order=True
        ).items()
        if key not in ("do_normalize", "image_mean", "image_std")
    },
    "OneFormerImageProcessor": row(
        {"shortest_edge": 800, "longest_edge": 1333}, BILINEAR, **SHORTEST, **IMAGENET, do_convert_rgb=True
    ),
    "OwlViTImageProcessor": row(
        square(768), BICUBIC, **CLIP, **NO_PAD, do_center_crop=False, crop_size=square(768), do_convert_rgb=True
    ),
    # It pads to a square before it resizes.
    "Owlv2ImageProcessor": row(square(960), BILINEAR, **CLIP, do_pad=True, do_convert_rgb=True),
    "PPDocLayoutV2ImageProcessor": DOC_LAYOUT,
    "PPDocLayoutV3ImageProcessor": DOC_LAYOUT,
    "PPDocLayoutV4ImageProcessor": DOC_LAYOUT,
    "PoolFormerImageProcessor": row(
        {"shortest_edge": 224}, BICUBIC, **SHORTEST, **IMAGENET, **crop(224), **NO_PAD, crop_pct=0.9
    ),
    "PromptDepthAnythingImageProcessor": DPT,
    "PvtImageProcessor": row(square(224), BICUBIC, **IMAGENET, **PLAIN),
    "RTDetrImageProcessor": row(
        square(640), BILINEAR, **SHORTEST, **IMAGENET, do_normalize=False, do_pad=False, pad_size=None
    ),
    "Sam3ImageProcessor": row(square(1008), BILINEAR, **PLAIN, do_convert_rgb=True),
    "SamImageProcessor": row(
        {"longest_edge": 1024},
        BILINEAR,
        **IMAGENET,
        **NO_CROP,
        do_pad=True,
        pad_size=square(1024),
        do_convert_rgb=True,
    ),
    "SegformerImageProcessor": row(square(512), BILINEAR, **IMAGENET),
    "Siglip2ImageProcessor": row(None, BILINEAR, patch_size=16, max_num_patches=256),
    "SiglipImageProcessor": row(square(224), BICUBIC, **SHORTEST, **PLAIN, do_convert_rgb=True),
    "ViTImageProcessor": row(square(224), BILINEAR, **PLAIN),
    # The class crops people by their boxes; here the only box is the image.
    "VitPoseImageProcessor": row({"height": 256, "width": 192}, BILINEAR, **IMAGENET),
    "YolosImageProcessor": DETR,
    "ZoeDepthImageProcessor": row(
        {"height": 384, "width": 512}, BILINEAR, do_pad=True, keep_aspect_ratio=True, ensure_multiple_of=1 / 32
    ),
}

# An unknown class: nothing is done unless its config asks for it.
UNKNOWN: Row = row(None, BILINEAR, **PLAIN, do_resize=False, do_rescale=False, do_normalize=False) | {
    "image_mean": None,
    "image_std": None,
}

# Classes whose steps don't follow from ordinary settings: another resize, other sizes, image tiles.
REFUSED = {
    "CHMv2ImageProcessor",
    "DepthProImageProcessor",
    "Idefics3ImageProcessor",
    "Inkling2ImageProcessor",
    "PPOCRV5ServerDetImageProcessor",
    "PPOCRV5ServerRecImageProcessor",
    "PerceiverImageProcessor",
    "RfDetrImageProcessor",
    "SmolVLMImageProcessor",
    "Tipsv2DptImageProcessor",
    "Tipsv2ImageProcessor",
    "TvpImageProcessor",
    "UVDocImageProcessor",
    "VideoLlavaImageProcessor",
    "VitMatteImageProcessor",
}

# Switches that make several images of one.
SPLITTING = ("crop_to_patches", "do_image_splitting")

# Keys that don't affect the pixels of a single image.
IGNORED_KEYS = {
    "_processor_class",
    "_valid_processor_keys",
    "backend",
    "data_format",
    "device",
    "disable_grouping",
    "do_convert_annotations",
    "do_reduce_labels",
    "feature_extractor_type",
    "format",
    "ignore_index",
    "image_processor_type",
    "input_data_format",
    "num_labels",
    "pad_and_return_pixel_mask",
    "processor_class",
    "reduce_labels",
    "return_tensors",
    "use_fast",
}

# transformers keywords that change no pixel here: how its classes compute, and where files come from.
NO_EFFECT_KEYWORDS = {"backend", "device", "disable_grouping", "use_fast"}
LOADING_KEYWORDS = {
    "cache_dir": "set HF_HOME instead",
    "force_download": "give a revision instead",
    "token": "set HF_TOKEN instead, or log in with `hf auth login`",
    "trust_remote_code": "code from a repository is never run",
}
"""Keywords accepted only when falsy, and what to do instead."""
