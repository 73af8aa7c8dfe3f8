"""Detectors, segmenters, depth and pose models: where the backbone hides in each, one row a type.

A composite's `config.json` holds its backbone's as a part, names another model, or leaves it out; its weight files hold
the backbone's tensors behind a prefix.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from .errors import UnsupportedModel

logger = logging.getLogger(__name__)

Said = dict[str, Any]
"""What a `config.json` says."""

ASKED_BY_HEADS = ("out_features", "out_indices", "segmentation_indices", "reshape_hidden_states")


@dataclass(frozen=True)
class Composite:
    """`model_type` as config.json has it, and where the backbone is found."""

    model_type: str
    prefixes: tuple[str, ...]
    """What stands before the backbone's tensor names, by the class that saved the file."""
    processor: str
    """The image processor that it is known by, for files that name none."""
    default: Mapping[str, Any]
    """The backbone where config.json leaves it out; one that has no model_type is of this one's."""
    timm: Mapping[str, Any] = field(default_factory=dict)
    """The timm backbone that config.json means where it says nothing of any."""
    becomes: Mapping[str, str] = field(default_factory=dict)
    """Types of backbone that are built as another type."""
    optional: str = ""
    """The key without which a config.json that says nothing of a backbone has none."""
    ids: tuple[str, ...] = ()
    """Hub ids that it is known by."""

    def backbone(self, said: Said, read: Callable[[str], Said]) -> Said:
        """The backbone's config in the composite's; `read` gives what another model's config.json says.

        What the composite's own head asks of it is left out: its choice of stages, and tokens instead of maps.
        """
        found = dict(self.find(said, read))
        found["model_type"] = self.becomes.get(found["model_type"], found["model_type"])
        if "always_partition" in found:  # timm's own argument, which OmDet-Turbo hands on
            found["model_args"] = {"always_partition": found.pop("always_partition")}
        asked = {key: found.pop(key, None) for key in ASKED_BY_HEADS}
        stages = asked["out_features"] or asked["out_indices"] or ()
        uses = f", of which it uses {', '.join(map(str, stages))} itself" if stages else ""
        logger.info(f"The backbone of this {self.model_type} model is a {found['model_type']}{uses}.")
        return found

    def find(self, said: Said, read: Callable[[str], Said]) -> Mapping[str, Any]:
        inside, name, options = said.get("backbone_config"), said.get("backbone"), said.get("backbone_kwargs") or {}
        if not (isinstance(inside, dict | None) and isinstance(name, str | None) and isinstance(options, dict)):
            raise UnsupportedModel(f"What this {self.model_type} config says of its backbone makes no sense.")
        if inside is not None:
            return {**inside, "model_type": inside.get("model_type") or self.default["model_type"]}
        # Where nothing tells whether a name is timm's or a hub id, its looks do.
        use_timm = said.get("use_timm_backbone", "/" not in (name or ""))
        if name is None and self.optional and not said.get(self.optional):
            raise UnsupportedModel(f"This {self.model_type} model is one piece, with no backbone inside.")
        if name is None and (options or not use_timm or not self.timm):
            return self.default
        if name and not use_timm:
            return {**read(name), **options}
        named = {"backbone": name} if name else {}
        return {"model_type": "timm_backbone", **self.timm, **named, **(options or self.implied(said))}

    def implied(self, said: Said) -> Said:
        """What a config.json that has no `backbone_kwargs` says of a timm backbone elsewhere."""
        implied = {"num_channels": said.get("num_channels", 3)}
        if said.get("dilation"):
            implied["output_stride"] = 16
        if "img_size" in self.timm:
            implied["img_size"] = said.get("image_size", self.timm["img_size"])
        return implied


def each(pattern: str, **choices: str) -> tuple[str, ...]:
    """`each("a-{size}", size="small large")` -> ("a-small", "a-large")."""
    rows = product(*(values.split() for values in choices.values()))
    return tuple(pattern.format(**dict(zip(choices, row, strict=True))) for row in rows)


def within(place: str, *heads: str) -> tuple[str, ...]:
    """A place in a base model, as the base model saves it, and models that hold one as `model`, `detr.model`..."""
    return (*(f"{head}.{place}" for head in heads or ("model",)), place)


HGNET = {"model_type": "hgnet_v2"}
RESNET = {"model_type": "resnet"}
SWIN = {"model_type": "swin"}
DINOV2_SMALL = {"model_type": "dinov2", "image_size": 518, "hidden_size": 384, "num_attention_heads": 6}
RESNET50_OF_TIMM = {"backbone": "resnet50"}

COMPOSITES = (
    Composite(
        "chmv2",
        prefixes=("backbone.",),
        processor="CHMv2ImageProcessor",
        default={
            "model_type": "dinov3_vit",
            "image_size": 416,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "num_register_tokens": 4,
            "key_bias": True,
            "layer_norm_eps": 1e-6,
        },
        ids=("facebook/dinov3-vitl16-chmv2-dpt-head",),
    ),
    Composite(
        "conditional_detr",
        prefixes=within("backbone.conv_encoder.model.", "model", "conditional_detr.model"),
        processor="ConditionalDetrImageProcessor",
        default=RESNET,
        timm=RESNET50_OF_TIMM,
        ids=("microsoft/conditional-detr-resnet-50",),
    ),
    Composite(
        "d_fine",
        prefixes=within("backbone.model."),
        processor="RTDetrImageProcessor",
        default=HGNET,
        ids=(
            *each("ustc-community/dfine-{size}-coco", size="nano small medium large xlarge"),
            *each("ustc-community/dfine-{size}-obj365", size="small medium large xlarge"),
            *each("ustc-community/dfine-{size}-obj2coco", size="small medium xlarge"),
            "ustc-community/dfine-large-obj2coco-e25",
        ),
    ),
    Composite(
        "dab-detr",
        prefixes=within("backbone.conv_encoder.model."),
        processor="ConditionalDetrImageProcessor",
        default=RESNET,
        timm=RESNET50_OF_TIMM,
        ids=(
            "IDEA-Research/dab-detr-resnet-50",
            *each("IDEA-Research/dab-detr-resnet-50-{kind}", kind="dc5 pat3 dc5-pat3"),
        ),
    ),
    Composite(
        "deformable_detr",
        prefixes=within("backbone.conv_encoder.model."),
        processor="DeformableDetrImageProcessor",
        default=RESNET,
        timm=RESNET50_OF_TIMM,
        ids=(
            "SenseTime/deformable-detr",
            "SenseTime/deformable-detr-single-scale",
            "SenseTime/deformable-detr-single-scale-dc5",
            "SenseTime/deformable-detr-with-box-refine",
            "SenseTime/deformable-detr-with-box-refine-two-stage",
        ),
    ),
    Composite(
        "deimv2",
        prefixes=(*within("conv_encoder.model."), *within("conv_encoder.backbone.")),
        processor="RTDetrImageProcessor",
        default=HGNET,
        ids=("Intellindust/DEIMv2_HGNetv2_N_COCO",),
    ),
    Composite(
        "depth_anything",
        prefixes=("backbone.",),
        processor="DPTImageProcessor",
        default=DINOV2_SMALL,
        ids=(
            *each("LiheYoung/depth-anything-{size}-hf", size="small base large"),
            *each("depth-anything/Depth-Anything-V2-{size}-hf", size="Small Base Large"),
            *each(
                "depth-anything/Depth-Anything-V2-Metric-{place}-{size}-hf",
                place="Indoor Outdoor",
                size="Small Base Large",
            ),
        ),
    ),
    Composite(
        "detr",
        prefixes=within("backbone.conv_encoder.model.", "model", "detr.model"),
        processor="DetrImageProcessor",
        default=RESNET,
        timm=RESNET50_OF_TIMM,
        ids=(
            "facebook/detr-resnet-50",
            "facebook/detr-resnet-50-dc5",
            "facebook/detr-resnet-50-panoptic",
            "facebook/detr-resnet-50-dc5-panoptic",
            "facebook/detr-resnet-101",
            "facebook/detr-resnet-101-dc5",
            "facebook/detr-resnet-101-panoptic",
        ),
    ),
    Composite(
        "dpt",
        # The hybrid keeps its BiT where another DPT has its patch embedding.
        prefixes=("backbone.", *within("embeddings.backbone.", "dpt")),
        processor="DPTImageProcessor",
        default={
            "model_type": "bit",
            "global_padding": "SAME",
            "layer_type": "bottleneck",
            "depths": [3, 4, 9],
            "embedding_dynamic_padding": True,
        },
        optional="is_hybrid",
        ids=(
            "Intel/dpt-hybrid-midas",
            "Intel/dpt-beit-base-384",
            "Intel/dpt-beit-large-384",
            "Intel/dpt-beit-large-512",
            "Intel/dpt-swinv2-tiny-256",
            "Intel/dpt-swinv2-base-384",
            "Intel/dpt-swinv2-large-384",
            *each("facebook/dpt-dinov2-{size}-{data}", size="small base large giant", data="nyu kitti"),
        ),
    ),
    Composite(
        "grounding-dino",
        prefixes=within("backbone.conv_encoder.model."),
        processor="GroundingDinoImageProcessor",
        default=SWIN,
        ids=("IDEA-Research/grounding-dino-base", "IDEA-Research/grounding-dino-tiny"),
    ),
    Composite(
        "lw_detr",
        prefixes=within("backbone.backbone."),
        processor="DeformableDetrImageProcessor",
        default={
            "model_type": "lw_detr_vit",
            "image_size": 1024,
            "hidden_size": 192,
            "num_hidden_layers": 10,
            "window_block_indices": [0, 1, 3, 6, 7, 9],
        },
        ids=each("AnnaZhang/lwdetr_{size}_60e_coco", size="tiny small medium large xlarge"),
    ),
    Composite(
        "mask2former",
        prefixes=within("pixel_level_module.encoder."),
        processor="Mask2FormerImageProcessor",
        default={**SWIN, "depths": [2, 2, 18, 2]},
        ids=(
            *each("facebook/mask2former-swin-{size}-ade-semantic", size="tiny small base large"),
            *each("facebook/mask2former-swin-{size}-coco-instance", size="tiny small base large"),
            *each("facebook/mask2former-swin-{size}-coco-panoptic", size="tiny base large"),
            *each(
                "facebook/mask2former-swin-{size}-cityscapes-{task}",
                size="tiny small large",
                task="semantic instance panoptic",
            ),
            *each("facebook/mask2former-swin-large-mapillary-vistas-{task}", task="semantic panoptic"),
        ),
    ),
    Composite(
        "maskformer",
        prefixes=within("pixel_level_module.encoder."),
        processor="MaskFormerImageProcessor",
        default={
            **SWIN,
            "depths": [2, 2, 18, 2],
            "image_size": 384,
            "embed_dim": 128,
            "num_heads": [4, 8, 16, 32],
            "window_size": 12,
        },
        becomes={"swin": "maskformer-swin"},
        ids=(
            *each("facebook/maskformer-swin-{size}-{data}", size="tiny small base large", data="ade coco"),
            "facebook/maskformer-resnet50-ade",
            "facebook/maskformer-resnet50-ade20k-full",
            "facebook/maskformer-resnet50-vistas",
            "facebook/maskformer-resnet101-ade",
            "facebook/maskformer-resnet101-cityscapes",
        ),
    ),
    Composite(
        "mm-grounding-dino",
        prefixes=within("backbone.conv_encoder.model."),
        processor="GroundingDinoImageProcessor",
        default=SWIN,
        ids=(
            *each(
                "openmmlab-community/mm_grounding_dino_tiny_o365v1_{data}",
                data="goldg goldg_grit goldg_v3det goldg_grit_v3det",
            ),
            "openmmlab-community/mm_grounding_dino_base_o365v1_goldg_v3det",
            "openmmlab-community/mm_grounding_dino_base_all",
            "openmmlab-community/mm_grounding_dino_large_o365v2_oiv6_goldg",
            "openmmlab-community/mm_grounding_dino_large_all",
        ),
    ),
    Composite(
        "omdet-turbo",
        prefixes=("vision_backbone.vision_backbone.",),
        processor="DetrImageProcessor",
        default={**SWIN, "image_size": 640},
        timm={"backbone": "swin_tiny_patch4_window7_224", "img_size": 640, "always_partition": True},
        ids=("omlab/omdet-turbo-swin-tiny-hf",),
    ),
    Composite(
        "oneformer",
        prefixes=within("pixel_level_module.encoder."),
        processor="OneFormerImageProcessor",
        default=SWIN,
        ids=(
            "shi-labs/oneformer_ade20k_swin_tiny",
            *each("shi-labs/oneformer_{data}_{kind}_large", data="ade20k cityscapes coco", kind="swin dinat"),
        ),
    ),
    Composite(
        "pp_doclayout_v2",
        prefixes=within("backbone.model."),
        processor="PPDocLayoutV2ImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-DocLayoutV2_safetensors",),
    ),
    Composite(
        "pp_doclayout_v3",
        prefixes=within("backbone.model."),
        processor="PPDocLayoutV3ImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-DocLayoutV3_safetensors",),
    ),
    Composite(
        "pp_doclayout_v4",
        prefixes=within("backbone.model."),
        processor="PPDocLayoutV4ImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-DocLayoutV4_safetensors",),
    ),
    Composite(
        "pp_ocrv5_server_det",
        prefixes=within("backbone."),
        processor="PPOCRV5ServerDetImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-OCRv5_server_det_safetensors",),
    ),
    Composite(
        "pp_ocrv5_server_rec",
        prefixes=within("backbone."),
        processor="PPOCRV5ServerRecImageProcessor",
        default={
            **HGNET,
            "stage_downsample": [True, True, True, True],
            "stem_strides": [2, 1, 1, 1, 1],
            "stage_downsample_strides": [[2, 1], [1, 2], [2, 1], [2, 1]],
        },
        ids=("PaddlePaddle/PP-OCRv5_server_rec_safetensors",),
    ),
    Composite(
        "prompt_depth_anything",
        prefixes=("backbone.",),
        processor="PromptDepthAnythingImageProcessor",
        default=DINOV2_SMALL,
        ids=each("depth-anything/prompt-depth-anything-{size}-hf", size="vits vits-transparent vitl"),
    ),
    Composite(
        "rf_detr",
        prefixes=("backbone.0.encoder.encoder.", *within("backbone.backbone.")),
        processor="RfDetrImageProcessor",
        default={
            "model_type": "rf_detr_dinov2",
            "num_attention_heads": 6,
            "hidden_size": 384,
            "num_register_tokens": 0,
            "image_size": 518,
        },
        ids=("Roboflow/rf-detr-base",),
    ),
    Composite(
        "rt_detr",
        prefixes=within("backbone.model."),
        processor="RTDetrImageProcessor",
        default={"model_type": "rt_detr_resnet"},
        ids=(
            *each("PekingU/rtdetr_{depth}", depth="r18vd r34vd r50vd r101vd"),
            *each("PekingU/rtdetr_{depth}_coco_o365", depth="r18vd r50vd r101vd"),
        ),
    ),
    Composite(
        "rt_detr_v2",
        prefixes=within("backbone.model."),
        processor="RTDetrImageProcessor",
        default={"model_type": "rt_detr_resnet"},
        ids=each("PekingU/rtdetr_v2_{depth}", depth="r18vd r34vd r50vd r101vd"),
    ),
    Composite(
        "table-transformer",
        prefixes=within("backbone.conv_encoder.model."),
        processor="DetrImageProcessor",
        default=RESNET,
        timm=RESNET50_OF_TIMM,
        ids=(
            "microsoft/table-transformer-detection",
            "microsoft/table-transformer-structure-recognition",
            "microsoft/table-transformer-structure-recognition-v1.1-all",
            "microsoft/table-transformer-structure-recognition-v1.1-fin",
            "microsoft/table-transformer-structure-recognition-v1.1-pub",
        ),
    ),
    Composite(
        "tipsv2_dpt",
        prefixes=("vision_encoder.", "backbone."),
        processor="Tipsv2DptImageProcessor",
        default={"model_type": "tipsv2_vision_model"},
        ids=("google/tipsv2-b14-dpt",),
    ),
    Composite(
        "tvp",
        prefixes=within("vision_model.backbone."),
        processor="TvpImageProcessor",
        default=RESNET,
        ids=("Intel/tvp-base", "Intel/tvp-base-ANet"),
    ),
    Composite(
        "upernet",
        prefixes=("backbone.",),
        processor="SegformerImageProcessor",
        default=RESNET,
        ids=(
            *each("openmmlab/upernet-convnext-{size}", size="tiny small base large xlarge"),
            *each("openmmlab/upernet-swin-{size}", size="tiny small base large"),
        ),
    ),
    Composite(
        "vitmatte",
        prefixes=("backbone.",),
        processor="VitMatteImageProcessor",
        default={"model_type": "vitdet"},
        ids=each("hustvl/vitmatte-{size}-{data}", size="small base", data="composition-1k distinctions-646"),
    ),
    Composite(
        "vitpose",
        prefixes=("backbone.",),
        processor="VitPoseImageProcessor",
        default={"model_type": "vitpose_backbone"},
        ids=(
            "usyd-community/vitpose-base",
            "usyd-community/vitpose-base-simple",
            "usyd-community/vitpose-base-coco-aic-mpii",
            *each("usyd-community/vitpose-plus-{size}", size="small base large huge"),
        ),
    ),
    Composite(
        "zoedepth",
        prefixes=("backbone.",),
        processor="ZoeDepthImageProcessor",
        default={
            "model_type": "beit",
            "image_size": 384,
            "num_hidden_layers": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "use_relative_position_bias": True,
        },
        ids=("Intel/zoedepth-kitti", "Intel/zoedepth-nyu", "Intel/zoedepth-nyu-kitti"),
    ),
)


def composites() -> Iterator[Composite]:
    yield from COMPOSITES


def find(model_type: str) -> Composite | None:
    """The composite of this `model_type`, if it is one."""
    return next((composite for composite in COMPOSITES if composite.model_type == model_type), None)
