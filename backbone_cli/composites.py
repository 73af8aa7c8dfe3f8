"""Models that contain a backbone (detectors, segmenters, depth and pose models): where it is in each, one row per type.

A composite's `config.json` contains its backbone's config, names another model, or leaves it out; in its weight files
the backbone's tensors have a prefix.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from .errors import UnsupportedModel

logger = logging.getLogger(__name__)

RawConfig = dict[str, Any]
"""The contents of a `config.json`."""

HEAD_OPTIONS = ("out_features", "out_indices", "segmentation_indices", "reshape_hidden_states")


@dataclass(frozen=True)
class Composite:
    """A composite's model type, and where its backbone is."""

    model_type: str
    prefixes: tuple[str, ...]
    """Prefixes of the backbone's tensor names, depending on the class that saved the file."""
    processor: str
    """The image processor that its repositories use, for those that don't name one."""
    default: Mapping[str, Any]
    """The backbone's config if config.json leaves it out; also the model_type if only that is missing."""
    timm: Mapping[str, Any] = field(default_factory=dict)
    """The timm backbone that is meant if config.json doesn't mention any."""
    built_as: Mapping[str, str] = field(default_factory=dict)
    """Backbone types that are built as another type."""
    backbone_key: str = ""
    """The key that a config.json without a backbone config must set to have a backbone at all."""
    ids: tuple[str, ...] = ()
    """Well-known Hub ids."""
    config_key: str = "backbone_config"
    """The key in config.json that holds the backbone's config; `a.b` for one inside another."""
    typed: bool = True
    """Whether that config says which type the backbone has; if not, it is always the default's."""

    def backbone(self, raw_config: RawConfig, read: Callable[[str], RawConfig]) -> RawConfig:
        """The backbone's raw config; `read` returns the raw config of another model.

        Requests of the composite's own head are dropped: its choice of stages, and tokens instead of maps.
        """
        raw_backbone = dict(self.find(raw_config, read))
        raw_backbone["model_type"] = self.built_as.get(raw_backbone["model_type"], raw_backbone["model_type"])
        if "always_partition" in raw_backbone:  # an argument for timm that OmDet-Turbo passes on
            raw_backbone["model_args"] = {"always_partition": raw_backbone.pop("always_partition")}
        head_options = {key: raw_backbone.pop(key, None) for key in HEAD_OPTIONS}
        stages = head_options["out_features"] or head_options["out_indices"] or ()
        uses = f"; its own head uses {', '.join(map(str, stages))}" if stages else ""
        logger.info(f"The backbone of this {self.model_type} model is a {raw_backbone['model_type']}{uses}.")
        return raw_backbone

    def find(self, raw_config: RawConfig, read: Callable[[str], RawConfig]) -> Mapping[str, Any]:
        """The backbone's raw config as it is: from `config_key`, else of the model that `backbone` names on the Hub or
        in timm, else the default. Raises UnsupportedModel if there is no backbone or its settings are invalid.
        """
        backbone_config, name, options = (
            self.nested(raw_config),
            raw_config.get("backbone"),
            raw_config.get("backbone_kwargs") or {},
        )
        if not (
            isinstance(backbone_config, dict | None) and isinstance(name, str | None) and isinstance(options, dict)
        ):
            raise UnsupportedModel(f"The backbone settings in this {self.model_type} config are invalid.")
        if backbone_config is not None:
            model_type = backbone_config.get("model_type") if self.typed else None
            return {**backbone_config, "model_type": model_type or self.default["model_type"]}
        # Without use_timm_backbone, a name with a slash is a Hub id, any other is timm's.
        use_timm = raw_config.get("use_timm_backbone", "/" not in (name or ""))
        if name is None and self.backbone_key and not raw_config.get(self.backbone_key):
            raise UnsupportedModel(f"This {self.model_type} model has no separate backbone inside.")
        if name is None and (options or not use_timm or not self.timm):
            return self.default
        if name and not use_timm:
            return {**read(name), **options}
        named = {"backbone": name} if name else {}
        return {"model_type": "timm_backbone", **self.timm, **named, **(options or self.implied_options(raw_config))}

    def nested(self, raw_config: RawConfig) -> Any:
        """What `config_key` holds, or `<config_key>_dict`, which is older and wins; None if there is neither."""
        config: Any = raw_config
        for key in self.config_key.split("."):
            if not isinstance(config, dict):
                return config
            config = config.get(key) if config.get(f"{key}_dict") is None else config[f"{key}_dict"]
        return config

    def implied_options(self, raw_config: RawConfig) -> RawConfig:
        """Options for a timm backbone that a config.json without `backbone_kwargs` has in other keys."""
        implied_options = {"num_channels": raw_config.get("num_channels", 3)}
        if raw_config.get("dilation"):
            implied_options["output_stride"] = 16
        if "img_size" in self.timm:
            implied_options["img_size"] = raw_config.get("image_size", self.timm["img_size"])
        return implied_options


def expand_ids(pattern: str, **choices: str) -> tuple[str, ...]:
    """`expand_ids("a-{size}", size="small large")` -> ("a-small", "a-large")."""
    rows = product(*(values.split() for values in choices.values()))
    return tuple(pattern.format(**dict(zip(choices, row, strict=True))) for row in rows)


def prefixes_in(part: str, *heads: str) -> tuple[str, ...]:
    """The prefixes of a part of a base model: as the base model saves it, and below each head's name for it."""
    return (*(f"{head}.{part}" for head in heads or ("model",)), part)


HGNET = {"model_type": "hgnet_v2"}
RESNET = {"model_type": "resnet"}
SWIN = {"model_type": "swin"}
DINOV2_SMALL = {"model_type": "dinov2", "image_size": 518, "hidden_size": 384, "num_attention_heads": 6}
TIMM_RESNET50 = {"backbone": "resnet50"}

DETECTORS = (
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
        prefixes=prefixes_in("backbone.conv_encoder.model.", "model", "conditional_detr.model"),
        processor="ConditionalDetrImageProcessor",
        default=RESNET,
        timm=TIMM_RESNET50,
        ids=("microsoft/conditional-detr-resnet-50",),
    ),
    Composite(
        "d_fine",
        prefixes=prefixes_in("backbone.model."),
        processor="RTDetrImageProcessor",
        default=HGNET,
        ids=(
            *expand_ids("ustc-community/dfine-{size}-coco", size="nano small medium large xlarge"),
            *expand_ids("ustc-community/dfine-{size}-obj365", size="small medium large xlarge"),
            *expand_ids("ustc-community/dfine-{size}-obj2coco", size="small medium xlarge"),
            "ustc-community/dfine-large-obj2coco-e25",
        ),
    ),
    Composite(
        "dab-detr",
        prefixes=prefixes_in("backbone.conv_encoder.model."),
        processor="ConditionalDetrImageProcessor",
        default=RESNET,
        timm=TIMM_RESNET50,
        ids=(
            "IDEA-Research/dab-detr-resnet-50",
            *expand_ids("IDEA-Research/dab-detr-resnet-50-{kind}", kind="dc5 pat3 dc5-pat3"),
        ),
    ),
    Composite(
        "deformable_detr",
        prefixes=prefixes_in("backbone.conv_encoder.model."),
        processor="DeformableDetrImageProcessor",
        default=RESNET,
        timm=TIMM_RESNET50,
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
        prefixes=(*prefixes_in("conv_encoder.model."), *prefixes_in("conv_encoder.backbone.")),
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
            *expand_ids("LiheYoung/depth-anything-{size}-hf", size="small base large"),
            *expand_ids("depth-anything/Depth-Anything-V2-{size}-hf", size="Small Base Large"),
            *expand_ids(
                "depth-anything/Depth-Anything-V2-Metric-{place}-{size}-hf",
                place="Indoor Outdoor",
                size="Small Base Large",
            ),
        ),
    ),
    Composite(
        "detr",
        prefixes=prefixes_in("backbone.conv_encoder.model.", "model", "detr.model"),
        processor="DetrImageProcessor",
        default=RESNET,
        timm=TIMM_RESNET50,
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
        # The hybrid has its BiT in place of the patch embedding.
        prefixes=("backbone.", *prefixes_in("embeddings.backbone.", "dpt")),
        processor="DPTImageProcessor",
        default={
            "model_type": "bit",
            "global_padding": "SAME",
            "layer_type": "bottleneck",
            "depths": [3, 4, 9],
            "embedding_dynamic_padding": True,
        },
        backbone_key="is_hybrid",
        ids=(
            "Intel/dpt-hybrid-midas",
            "Intel/dpt-beit-base-384",
            "Intel/dpt-beit-large-384",
            "Intel/dpt-beit-large-512",
            "Intel/dpt-swinv2-tiny-256",
            "Intel/dpt-swinv2-base-384",
            "Intel/dpt-swinv2-large-384",
            *expand_ids("facebook/dpt-dinov2-{size}-{data}", size="small base large giant", data="nyu kitti"),
        ),
    ),
    Composite(
        "grounding-dino",
        prefixes=prefixes_in("backbone.conv_encoder.model."),
        processor="GroundingDinoImageProcessor",
        default=SWIN,
        ids=("IDEA-Research/grounding-dino-base", "IDEA-Research/grounding-dino-tiny"),
    ),
    Composite(
        "lw_detr",
        prefixes=prefixes_in("backbone.backbone."),
        processor="DeformableDetrImageProcessor",
        default={
            "model_type": "lw_detr_vit",
            "image_size": 1024,
            "hidden_size": 192,
            "num_hidden_layers": 10,
            "window_block_indices": [0, 1, 3, 6, 7, 9],
        },
        ids=expand_ids("AnnaZhang/lwdetr_{size}_60e_coco", size="tiny small medium large xlarge"),
    ),
    Composite(
        "mask2former",
        prefixes=prefixes_in("pixel_level_module.encoder."),
        processor="Mask2FormerImageProcessor",
        default={**SWIN, "depths": [2, 2, 18, 2]},
        ids=(
            *expand_ids("facebook/mask2former-swin-{size}-ade-semantic", size="tiny small base large"),
            *expand_ids("facebook/mask2former-swin-{size}-coco-instance", size="tiny small base large"),
            *expand_ids("facebook/mask2former-swin-{size}-coco-panoptic", size="tiny base large"),
            *expand_ids(
                "facebook/mask2former-swin-{size}-cityscapes-{task}",
                size="tiny small large",
                task="semantic instance panoptic",
            ),
            *expand_ids("facebook/mask2former-swin-large-mapillary-vistas-{task}", task="semantic panoptic"),
        ),
    ),
    Composite(
        "maskformer",
        prefixes=prefixes_in("pixel_level_module.encoder."),
        processor="MaskFormerImageProcessor",
        default={
            **SWIN,
            "depths": [2, 2, 18, 2],
            "image_size": 384,
            "embed_dim": 128,
            "num_heads": [4, 8, 16, 32],
            "window_size": 12,
        },
        built_as={"swin": "maskformer-swin"},
        ids=(
            *expand_ids("facebook/maskformer-swin-{size}-{data}", size="tiny small base large", data="ade coco"),
            "facebook/maskformer-resnet50-ade",
            "facebook/maskformer-resnet50-ade20k-full",
            "facebook/maskformer-resnet50-vistas",
            "facebook/maskformer-resnet101-ade",
            "facebook/maskformer-resnet101-cityscapes",
        ),
    ),
    Composite(
        "mm-grounding-dino",
        prefixes=prefixes_in("backbone.conv_encoder.model."),
        processor="GroundingDinoImageProcessor",
        default=SWIN,
        ids=(
            *expand_ids(
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
        prefixes=prefixes_in("pixel_level_module.encoder."),
        processor="OneFormerImageProcessor",
        default=SWIN,
        ids=(
            "shi-labs/oneformer_ade20k_swin_tiny",
            *expand_ids("shi-labs/oneformer_{data}_{kind}_large", data="ade20k cityscapes coco", kind="swin dinat"),
        ),
    ),
    Composite(
        "pp_doclayout_v2",
        prefixes=prefixes_in("backbone.model."),
        processor="PPDocLayoutV2ImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-DocLayoutV2_safetensors",),
    ),
    Composite(
        "pp_doclayout_v3",
        prefixes=prefixes_in("backbone.model."),
        processor="PPDocLayoutV3ImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-DocLayoutV3_safetensors",),
    ),
    Composite(
        "pp_doclayout_v4",
        prefixes=prefixes_in("backbone.model."),
        processor="PPDocLayoutV4ImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-DocLayoutV4_safetensors",),
    ),
    Composite(
        "pp_ocrv5_server_det",
        prefixes=prefixes_in("backbone."),
        processor="PPOCRV5ServerDetImageProcessor",
        default=HGNET,
        ids=("PaddlePaddle/PP-OCRv5_server_det_safetensors",),
    ),
    Composite(
        "pp_ocrv5_server_rec",
        prefixes=prefixes_in("backbone."),
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
        ids=expand_ids("depth-anything/prompt-depth-anything-{size}-hf", size="vits vits-transparent vitl"),
    ),
    Composite(
        "rf_detr",
        prefixes=("backbone.0.encoder.encoder.", *prefixes_in("backbone.backbone.")),
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
        prefixes=prefixes_in("backbone.model."),
        processor="RTDetrImageProcessor",
        default={"model_type": "rt_detr_resnet"},
        ids=(
            *expand_ids("PekingU/rtdetr_{depth}", depth="r18vd r34vd r50vd r101vd"),
            *expand_ids("PekingU/rtdetr_{depth}_coco_o365", depth="r18vd r50vd r101vd"),
        ),
    ),
    Composite(
        "rt_detr_v2",
        prefixes=prefixes_in("backbone.model."),
        processor="RTDetrImageProcessor",
        default={"model_type": "rt_detr_resnet"},
        ids=expand_ids("PekingU/rtdetr_v2_{depth}", depth="r18vd r34vd r50vd r101vd"),
    ),
    Composite(
        "table-transformer",
        prefixes=prefixes_in("backbone.conv_encoder.model."),
        processor="DetrImageProcessor",
        default=RESNET,
        timm=TIMM_RESNET50,
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
        prefixes=prefixes_in("vision_model.backbone."),
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
            *expand_ids("openmmlab/upernet-convnext-{size}", size="tiny small base large xlarge"),
            *expand_ids("openmmlab/upernet-swin-{size}", size="tiny small base large"),
        ),
    ),
    Composite(
        "vitmatte",
        prefixes=("backbone.",),
        processor="VitMatteImageProcessor",
        default={"model_type": "vitdet"},
        ids=expand_ids("hustvl/vitmatte-{size}-{data}", size="small base", data="composition-1k distinctions-646"),
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
            *expand_ids("usyd-community/vitpose-plus-{size}", size="small base large huge"),
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


def tower(
    model_type: str,
    backbone: str,
    processor: str,
    ids: tuple[str, ...],
    prefixes: tuple[str, ...] = ("",),
    config_key: str = "vision_config",
    default: Mapping[str, Any] = MappingProxyType({}),
    typed: bool = False,
) -> Composite:
    """The row of a model whose config holds that of its vision part."""
    default = {"model_type": backbone, **default}
    return Composite(model_type, prefixes, processor, default, ids=ids, config_key=config_key, typed=typed)


# Models of images and texts, and others whose image encoder is a plain ViT.
TOWERS = (
    tower(
        "aimv2", "aimv2_vision_model", "CLIPImageProcessor", ("apple/aimv2-large-patch14-224-lit",), ("vision_model.",)
    ),
    tower("altclip", "altclip_vision_model", "CLIPImageProcessor", ("BAAI/AltCLIP", "BAAI/AltCLIP-m9")),
    tower(
        "blip",
        "blip_vision_model",
        "BlipImageProcessor",
        (
            *expand_ids("Salesforce/blip-image-captioning-{size}", size="base large"),
            *expand_ids("Salesforce/blip-vqa-{kind}", kind="base capfilt-large"),
            *expand_ids("Salesforce/blip-itm-{size}-{data}", size="base large", data="coco flickr"),
        ),
    ),
    tower(
        "blip-2",
        "blip_2_vision_model",
        "BlipImageProcessor",
        expand_ids(
            "Salesforce/blip2-{kind}",
            kind="opt-2.7b opt-2.7b-coco opt-6.7b opt-6.7b-coco flan-t5-xl flan-t5-xl-coco flan-t5-xxl itm-vit-g",
        ),
    ),
    tower(
        "chinese_clip",
        "chinese_clip_vision_model",
        "ChineseCLIPImageProcessor",
        expand_ids(
            "OFA-Sys/chinese-clip-vit-{kind}", kind="base-patch16 large-patch14 large-patch14-336px huge-patch14"
        ),
    ),
    tower(
        "clip",
        "clip_vision_model",
        "CLIPImageProcessor",
        (
            *expand_ids("openai/clip-vit-{kind}", kind="base-patch32 base-patch16 large-patch14 large-patch14-336"),
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
            "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
            "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
            "laion/CLIP-ViT-g-14-laion2B-s12B-b42K",
            "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
            *expand_ids("facebook/metaclip-{kind}", kind="b32-400m b16-400m l14-400m h14-fullcc2.5b"),
            "patrickjohncyh/fashion-clip",
            "geolocal/StreetCLIP",
        ),
    ),
    tower(
        "clipseg",
        "clipseg_vision_model",
        "ViTImageProcessor",
        expand_ids("CIDAS/clipseg-{kind}", kind="rd16 rd64 rd64-refined"),
        ("", "clip."),
    ),
    tower(
        "git",
        "git_vision_model",
        "CLIPImageProcessor",
        (
            *expand_ids("microsoft/git-{size}", size="base large"),
            *expand_ids("microsoft/git-{size}-{data}", size="base large", data="coco textcaps vqav2 textvqa"),
            *expand_ids("microsoft/git-large-r{data}", data="-coco -textcaps"),
            "microsoft/git-large-r",
        ),
        ("git.image_encoder.", "image_encoder."),
    ),
    tower(
        "idefics2",
        "idefics2_vision",
        "Idefics2ImageProcessor",
        (*expand_ids("HuggingFaceM4/idefics2-8b{kind}", kind="-base -chatty"), "HuggingFaceM4/idefics2-8b"),
        ("model.vision_model.", "vision_model."),
    ),
    tower(
        "idefics3",
        "idefics3_vision",
        "Idefics3ImageProcessor",
        (
            "HuggingFaceM4/Idefics3-8B-Llama3",
            "HuggingFaceTB/SmolVLM-Instruct",
            *expand_ids("HuggingFaceTB/SmolVLM-{size}-Instruct", size="256M 500M"),
        ),
        ("model.vision_model.", "vision_model."),
    ),
    tower(
        "instructblip",
        "instructblip_vision_model",
        "BlipImageProcessor",
        expand_ids("Salesforce/instructblip-{kind}", kind="vicuna-7b vicuna-13b flan-t5-xl flan-t5-xxl"),
    ),
    tower(
        "internvl",
        "internvl_vision",
        "GotOcr2ImageProcessor",
        (
            *expand_ids("OpenGVLab/InternVL3-{size}-hf", size="1B 2B 8B 14B 38B 78B"),
            *expand_ids("OpenGVLab/InternVL3_5-{size}-HF", size="1B 2B 4B 8B 14B 38B"),
        ),
        ("model.vision_tower.", "vision_tower."),
        typed=True,
    ),
    tower(
        "janus",
        "janus_vision_model",
        "JanusImageProcessor",
        expand_ids("deepseek-community/Janus-{kind}", kind="1.3B Pro-1B Pro-7B"),
        ("model.", ""),
    ),
    tower(
        "kosmos-2",
        "kosmos_2_vision_model",
        "CLIPImageProcessor",
        ("microsoft/kosmos-2-patch14-224",),
        ("vision_model.", "model.vision_model."),
    ),
    tower(
        "metaclip_2",
        "metaclip_2_vision_model",
        "CLIPImageProcessor",
        expand_ids("facebook/metaclip-2-worldwide-{kind}", kind="huge-quickgelu huge-378 giant giant-378"),
    ),
    tower(
        "owlv2",
        "owlv2_vision_model",
        "Owlv2ImageProcessor",
        (
            *expand_ids("google/owlv2-{kind}", kind="base-patch16 large-patch14"),
            *expand_ids("google/owlv2-{kind}-{tag}", kind="base-patch16 large-patch14", tag="ensemble finetuned"),
        ),
        ("", "owlv2."),
    ),
    tower(
        "owlvit",
        "owlvit_vision_model",
        "OwlViTImageProcessor",
        expand_ids("google/owlvit-{kind}", kind="base-patch32 base-patch16 large-patch14"),
        ("", "owlvit."),
    ),
    tower(
        "sam",
        "sam_vision_model",
        "SamImageProcessor",
        expand_ids("facebook/sam-vit-{size}", size="base large huge"),
    ),
    *(
        tower(
            model_type,
            "sam3_vit_model",
            "Sam3ImageProcessor",
            ids,
            prefixes,
            config_key=f"{outer}backbone_config",
        )
        for model_type, outer, prefixes, ids in (
            ("sam3", "vision_config.", ("vision_encoder.backbone.", "detector_model.vision_encoder.backbone."), ()),
            ("sam3_tracker", "vision_config.", ("vision_encoder.backbone.",), ()),
            ("sam3_tracker_video", "vision_config.", ("vision_encoder.backbone.",), ()),
            (
                "sam3_video",
                "detector_config.vision_config.",
                ("detector_model.vision_encoder.backbone.",),
                ("facebook/sam3",),
            ),
            ("sam3_vision_model", "", ("backbone.", "vision_encoder.backbone."), ()),
        )
    ),
    tower(
        "sam_hq",
        "sam_hq_vision_model",
        "SamImageProcessor",
        expand_ids("syscv-community/sam-hq-vit-{size}", size="base large huge"),
    ),
    tower(
        "siglip",
        "siglip_vision_model",
        "SiglipImageProcessor",
        (
            *expand_ids("google/siglip-base-patch16-{size}", size="224 256 256-multilingual 384 512"),
            *expand_ids("google/siglip-large-patch16-{size}", size="256 384"),
            *expand_ids("google/siglip-so400m-patch14-{size}", size="224 384"),
            "google/siglip-so400m-patch16-256-i18n",
            "google/siglip2-base-patch32-256",
            *expand_ids("google/siglip2-base-patch16-{size}", size="224 256 384 512"),
            *expand_ids("google/siglip2-large-patch16-{size}", size="256 384 512"),
            *expand_ids("google/siglip2-so400m-patch14-{size}", size="224 384"),
            *expand_ids("google/siglip2-so400m-patch16-{size}", size="256 384 512"),
            *expand_ids("google/siglip2-giant-opt-patch16-{size}", size="256 384"),
        ),
    ),
    tower(
        "siglip2",
        "siglip2_vision_model",
        "Siglip2ImageProcessor",
        expand_ids("google/siglip2-{size}-patch16-naflex", size="base so400m"),
    ),
    tower(
        "smolvlm",
        "smolvlm_vision",
        "SmolVLMImageProcessor",
        expand_ids("HuggingFaceTB/SmolVLM2-{kind}-Instruct", kind="2.2B 256M-Video 500M-Video"),
        ("model.vision_model.", "vision_model."),
    ),
)

COMPOSITES = tuple(sorted((*DETECTORS, *TOWERS), key=attrgetter("model_type")))


def composites() -> Iterator[Composite]:
    yield from COMPOSITES


def find_composite(model_type: str) -> Composite | None:
    """The composite with this model type, if there is one."""
    return next((composite for composite in COMPOSITES if composite.model_type == model_type), None)
