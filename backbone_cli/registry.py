"""Every family of backbones, one row each. Rows hold only strings, so that reading them imports no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedModel, UsageError, did_you_mean

if TYPE_CHECKING:
    from .configs.base import BackboneConfig
    from .models.base import Backbone


IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
HALVES = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class Family:
    """A model type as in config.json, the stem of its class names, and what is known about its checkpoints."""

    model_type: str
    stem: str
    prefixes: tuple[str, ...]
    """Prefixes of tensor names in the family's files, depending on the class that saved them."""
    ids: tuple[str, ...] = ()
    """Well-known Hub ids."""
    processor: str = "ViTImageProcessor"
    """The image processor that its repositories use, for those without a preprocessor_config.json."""
    pixels: Mapping[str, tuple[float, float, float]] = field(default_factory=lambda: IMAGENET, hash=False)
    """The mean and std that its repositories use, for the same."""
    module: str = ""
    """The module of its model, by default named like the model type; near-twins share one."""
    config: type[BackboneConfig] | str = ""
    model: type[Backbone] | str = ""
    """The two classes, or their places (`package.module:Class`), for families that are not built in."""

    @property
    def config_path(self) -> str:
        """`package.module:Class` of its configuration."""
        name = self.model_type.replace("-", "_")
        return path_of(self.config) or f"backbone_cli.configs.{name}:{self.stem}Config"

    @property
    def model_path(self) -> str:
        """`package.module:Class` of its backbone."""
        name = (self.module or self.model_type).replace("-", "_")
        return path_of(self.model) or f"backbone_cli.models.{name}:{self.stem}Backbone"

    def config_class(self) -> type[BackboneConfig]:
        return self.config if isinstance(self.config, type) else import_object(self.config_path)

    def model_class(self) -> type[Backbone]:
        return self.model if isinstance(self.model, type) else import_object(self.model_path)


def path_of(place: type | str) -> str:
    """`package.module:Class` of a class; a string is one already."""
    return place if isinstance(place, str) else f"{place.__module__}:{place.__qualname__}"


def import_object(path: str) -> Any:
    """The object at `package.module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def plain_vit(
    model_type: str,
    stem: str,
    prefixes: tuple[str, ...] = ("",),
    ids: tuple[str, ...] = (),
    processor: str = "ViTImageProcessor",
    pixels: Mapping[str, tuple[float, float, float]] = MappingProxyType({}),
) -> Family:
    """The row of a plain ViT: they share their modules, and most use their image processor's own mean and std."""
    config = f"backbone_cli.configs.plain_vit:{stem}Config"
    return Family(model_type, stem, prefixes, ids, processor, pixels, module="vit_models", config=config)


# A vision part saved alone, by any version of transformers.
VISION_MODEL = ("", "vision_model.")

# Plain ViTs that transformers has no backbone class for. The ids of those that come with a text part, or are part of a
# larger model, are in the rows of `composites.py`.
PLAIN_VITS = (
    plain_vit("aimv2_vision_model", "Aimv2Vision", processor="CLIPImageProcessor"),
    plain_vit("altclip_vision_model", "AltCLIPVision", VISION_MODEL, processor="CLIPImageProcessor"),
    plain_vit("blip_2_vision_model", "Blip2Vision", VISION_MODEL, processor="BlipImageProcessor"),
    plain_vit("blip_vision_model", "BlipVision", VISION_MODEL, processor="BlipImageProcessor"),
    plain_vit("chinese_clip_vision_model", "ChineseCLIPVision", VISION_MODEL, processor="ChineseCLIPImageProcessor"),
    plain_vit("clip_vision_model", "CLIPVision", VISION_MODEL, processor="CLIPImageProcessor"),
    plain_vit("clipseg_vision_model", "CLIPSegVision", VISION_MODEL, pixels=IMAGENET),
    Family(
        "data2vec-vision",
        "Data2VecVision",
        prefixes=("", "data2vec_vision."),
        ids=tuple(f"facebook/data2vec-vision-{size}{head}" for size in ("base", "large") for head in ("", "-ft1k")),
        processor="BeitImageProcessor",
        pixels=HALVES,
        module="beit",
        config="backbone_cli.configs.beit:Data2VecVisionConfig",
    ),
    plain_vit(
        "deit",
        "DeiT",
        ("", "deit."),
        ids=(
            "facebook/deit-tiny-distilled-patch16-224",
            "facebook/deit-small-distilled-patch16-224",
            "facebook/deit-base-distilled-patch16-224",
            "facebook/deit-base-distilled-patch16-384",
        ),
        processor="DeiTImageProcessor",
        pixels=IMAGENET,
    ),
    plain_vit("git_vision_model", "GitVision", processor="CLIPImageProcessor"),
    plain_vit("idefics2_vision", "Idefics2Vision", processor="Idefics2ImageProcessor"),
    plain_vit("idefics3_vision", "Idefics3Vision", processor="SiglipImageProcessor"),
    plain_vit(
        "ijepa",
        "IJepa",
        ("", "ijepa."),
        ids=tuple(f"facebook/ijepa_{kind}" for kind in ("vith14_1k", "vith14_22k", "vith16_1k", "vitg16_22k")),
        pixels=IMAGENET,
    ),
    plain_vit("instructblip_vision_model", "InstructBlipVision", VISION_MODEL, processor="BlipImageProcessor"),
    plain_vit("internvl_vision", "InternVLVision", processor="GotOcr2ImageProcessor", pixels=IMAGENET),
    plain_vit("janus_vision_model", "JanusVision", VISION_MODEL, processor="JanusImageProcessor"),
    plain_vit("kosmos_2_vision_model", "Kosmos2Vision", processor="CLIPImageProcessor"),
    plain_vit("metaclip_2_vision_model", "MetaClip2Vision", VISION_MODEL, processor="CLIPImageProcessor"),
    plain_vit(
        "mlcd_vision_model",
        "MLCDVision",
        VISION_MODEL,
        ids=("DeepGlint-AI/mlcd-vit-bigG-patch14-336", "DeepGlint-AI/mlcd-vit-bigG-patch14-448"),
        processor="CLIPImageProcessor",
    ),
    plain_vit("owlv2_vision_model", "Owlv2Vision", processor="Owlv2ImageProcessor"),
    plain_vit("owlvit_vision_model", "OwlViTVision", processor="OwlViTImageProcessor"),
    plain_vit("radio", "Radio", ("", "model."), ids=("nvidia/C-RADIOv4-H",), processor="CLIPImageProcessor"),
    *(
        Family(
            model_type,
            stem,
            prefixes,
            processor=processor,
            module="sam",
            config=f"backbone_cli.configs.sam:{stem}Config",
        )
        for model_type, stem, prefixes, processor in (
            ("sam3_vit_model", "Sam3ViT", ("",), "Sam3ImageProcessor"),
            ("sam_hq_vision_model", "SamHQVision", ("",), "SamImageProcessor"),
            ("sam_vision_model", "SamVision", ("",), "SamImageProcessor"),
        )
    ),
    plain_vit("siglip2_vision_model", "Siglip2Vision", VISION_MODEL, processor="Siglip2ImageProcessor"),
    plain_vit("siglip_vision_model", "SiglipVision", VISION_MODEL, processor="SiglipImageProcessor"),
    plain_vit("smolvlm_vision", "SmolVLMVision", processor="SiglipImageProcessor"),
    plain_vit(
        "vit",
        "ViT",
        ("", "vit."),
        ids=(
            "google/vit-base-patch16-224",
            "google/vit-base-patch16-224-in21k",
            "google/vit-base-patch16-384",
            "google/vit-base-patch32-224-in21k",
            "google/vit-base-patch32-384",
            "google/vit-large-patch16-224",
            "google/vit-large-patch16-224-in21k",
            "google/vit-large-patch16-384",
            "google/vit-large-patch32-224-in21k",
            "google/vit-large-patch32-384",
            "google/vit-huge-patch14-224-in21k",
            *(f"facebook/dino-{size}" for size in ("vits16", "vits8", "vitb16", "vitb8")),
            *(f"facebook/deit-{size}-patch16-224" for size in ("tiny", "small", "base")),
            "facebook/deit-base-patch16-384",
            "WinKawaks/vit-tiny-patch16-224",
            "WinKawaks/vit-small-patch16-224",
        ),
        pixels=HALVES,
    ),
    plain_vit(
        "vit_mae",
        "ViTMAE",
        ("", "vit."),
        ids=tuple(f"facebook/vit-mae-{size}" for size in ("base", "large", "huge")),
        pixels=IMAGENET,
    ),
    plain_vit(
        "vit_msn",
        "ViTMSN",
        ("", "vit."),
        ids=tuple(f"facebook/vit-msn-{size}" for size in ("small", "base", "base-4", "large", "large-7")),
        pixels=IMAGENET,
    ),
    plain_vit(
        "yolos",
        "Yolos",
        ("", "vit."),
        ids=tuple(f"hustvl/yolos-{size}" for size in ("tiny", "small", "small-300", "small-dwr", "base")),
        processor="YolosImageProcessor",
    ),
)


FAMILIES = (
    Family(
        "beit",
        "Beit",
        prefixes=("", "beit."),
        ids=(
            "microsoft/beit-base-patch16-224",
            "microsoft/beit-base-patch16-224-pt22k",
            "microsoft/beit-base-patch16-224-pt22k-ft22k",
            "microsoft/beit-base-patch16-384",
            "microsoft/beit-base-finetuned-ade-640-640",
            "microsoft/beit-large-patch16-224",
            "microsoft/beit-large-patch16-224-pt22k",
            "microsoft/beit-large-patch16-224-pt22k-ft22k",
            "microsoft/beit-large-patch16-384",
            "microsoft/beit-large-patch16-512",
            "microsoft/beit-large-finetuned-ade-640-640",
        ),
        processor="BeitImageProcessor",
        pixels=HALVES,
    ),
    Family(
        "bit",
        "Bit",
        prefixes=("", "bit."),
        ids=("google/bit-50",),
        processor="BitImageProcessor",
        pixels=HALVES,
    ),
    Family(
        "convnext",
        "ConvNext",
        prefixes=("", "convnext."),
        ids=(
            "facebook/convnext-tiny-224",
            "facebook/convnext-small-224",
            "facebook/convnext-base-224",
            "facebook/convnext-base-224-22k",
            "facebook/convnext-base-224-22k-1k",
            "facebook/convnext-base-384",
            "facebook/convnext-base-384-22k-1k",
            "facebook/convnext-large-224",
            "facebook/convnext-large-224-22k",
            "facebook/convnext-large-224-22k-1k",
            "facebook/convnext-large-384",
            "facebook/convnext-large-384-22k-1k",
            "facebook/convnext-xlarge-224-22k",
            "facebook/convnext-xlarge-224-22k-1k",
            "facebook/convnext-xlarge-384-22k-1k",
        ),
        processor="ConvNextImageProcessor",
    ),
    Family(
        "convnextv2",
        "ConvNextV2",
        prefixes=("", "convnextv2."),
        ids=(
            "facebook/convnextv2-atto-1k-224",
            "facebook/convnextv2-femto-1k-224",
            "facebook/convnextv2-pico-1k-224",
            "facebook/convnextv2-nano-1k-224",
            "facebook/convnextv2-nano-22k-224",
            "facebook/convnextv2-nano-22k-384",
            "facebook/convnextv2-tiny-1k-224",
            "facebook/convnextv2-tiny-22k-224",
            "facebook/convnextv2-tiny-22k-384",
            "facebook/convnextv2-base-1k-224",
            "facebook/convnextv2-base-22k-224",
            "facebook/convnextv2-base-22k-384",
            "facebook/convnextv2-large-1k-224",
            "facebook/convnextv2-large-22k-224",
            "facebook/convnextv2-large-22k-384",
            "facebook/convnextv2-huge-1k-224",
            "facebook/convnextv2-huge-22k-384",
            "facebook/convnextv2-huge-22k-512",
        ),
        processor="ConvNextImageProcessor",
        module="convnext",
    ),
    Family(
        "dinat",
        "Dinat",
        prefixes=("", "dinat."),
        ids=(
            *(f"shi-labs/dinat-{size}-in1k-224" for size in ("mini", "tiny", "small", "base")),
            "shi-labs/dinat-large-in22k-in1k-224",
            "shi-labs/dinat-large-in22k-in1k-384",
            "shi-labs/dinat-large-11x11-in22k-in1k-384",
        ),
        module="nat",
    ),
    Family(
        "dinov2",
        "Dinov2",
        prefixes=("", "dinov2."),
        ids=(
            *(f"facebook/dinov2-{size}" for size in ("small", "base", "large", "giant")),
            *(f"facebook/dinov2-{size}-imagenet1k-1-layer" for size in ("small", "base", "large", "giant")),
        ),
        processor="BitImageProcessor",
        module="vit_models",
    ),
    Family(
        "dinov2_with_registers",
        "Dinov2WithRegisters",
        prefixes=("", "dinov2_with_registers."),
        ids=tuple(
            f"facebook/dinov2-with-registers-{size}{head}"
            for size in ("small", "base", "large", "giant")
            for head in ("", "-imagenet1k-1-layer")
        ),
        processor="BitImageProcessor",
        module="vit_models",
    ),
    Family(
        "dinov3_convnext",
        "DINOv3ConvNext",
        prefixes=("", "model."),
        ids=tuple(f"facebook/dinov3-convnext-{size}-pretrain-lvd1689m" for size in ("tiny", "small", "base", "large")),
        processor="DINOv3ViTImageProcessor",
        module="convnext",
    ),
    Family(
        "dinov3_vit",
        "DINOv3ViT",
        prefixes=("", "model."),
        ids=(
            *(
                f"facebook/dinov3-{size}-pretrain-lvd1689m"
                for size in ("vits16", "vits16plus", "vitb16", "vitl16", "vith16plus", "vit7b16")
            ),
            "facebook/dinov3-vitl16-pretrain-sat493m",
            "facebook/dinov3-vit7b16-pretrain-sat493m",
        ),
        processor="DINOv3ViTImageProcessor",
    ),
    Family(
        "focalnet",
        "FocalNet",
        prefixes=("", "focalnet."),
        ids=(
            "microsoft/focalnet-tiny",
            "microsoft/focalnet-tiny-lrf",
            "microsoft/focalnet-small",
            "microsoft/focalnet-small-lrf",
            "microsoft/focalnet-base",
            "microsoft/focalnet-base-lrf",
        ),
        processor="BitImageProcessor",
    ),
    # Its other ids are D-FINE's.
    Family("hgnet_v2", "HGNetV2", prefixes=("",), ids=("ustc-community/hgnet-v2",), processor="RTDetrImageProcessor"),
    # Its ids are MaskFormer's, whose checkpoints hold it.
    Family("maskformer-swin", "MaskFormerSwin", prefixes=("", "model."), module="swin"),
    Family(
        "nat",
        "Nat",
        prefixes=("", "nat."),
        ids=tuple(f"shi-labs/nat-{size}-in1k-224" for size in ("mini", "tiny", "small", "base")),
    ),
    Family(
        "resnet",
        "ResNet",
        prefixes=("", "resnet."),
        ids=tuple(f"microsoft/resnet-{depth}" for depth in (18, 26, 34, 50, 101, 152)),
        processor="ConvNextImageProcessor",
    ),
    # Its ids are RT-DETR's.
    Family(
        "rt_detr_resnet", "RTDetrResNet", prefixes=("", "resnet."), processor="RTDetrImageProcessor", module="resnet"
    ),
    Family(
        "swin",
        "Swin",
        prefixes=("", "swin."),
        ids=(
            "microsoft/swin-tiny-patch4-window7-224",
            "microsoft/swin-small-patch4-window7-224",
            "microsoft/swin-base-patch4-window7-224",
            "microsoft/swin-base-patch4-window7-224-in22k",
            "microsoft/swin-base-patch4-window12-384",
            "microsoft/swin-base-patch4-window12-384-in22k",
            "microsoft/swin-base-simmim-window6-192",
            "microsoft/swin-large-patch4-window7-224",
            "microsoft/swin-large-patch4-window7-224-in22k",
            "microsoft/swin-large-patch4-window12-384",
            "microsoft/swin-large-patch4-window12-384-in22k",
        ),
    ),
    Family(
        "swinv2",
        "Swinv2",
        prefixes=("", "swinv2."),
        ids=(
            "microsoft/swinv2-tiny-patch4-window8-256",
            "microsoft/swinv2-tiny-patch4-window16-256",
            "microsoft/swinv2-small-patch4-window8-256",
            "microsoft/swinv2-small-patch4-window16-256",
            "microsoft/swinv2-base-patch4-window8-256",
            "microsoft/swinv2-base-patch4-window16-256",
            "microsoft/swinv2-base-patch4-window12-192-22k",
            "microsoft/swinv2-base-patch4-window12to16-192to256-22kto1k-ft",
            "microsoft/swinv2-base-patch4-window12to24-192to384-22kto1k-ft",
            "microsoft/swinv2-large-patch4-window12-192-22k",
            "microsoft/swinv2-large-patch4-window12to16-192to256-22kto1k-ft",
            "microsoft/swinv2-large-patch4-window12to24-192to384-22kto1k-ft",
        ),
    ),
    Family(
        "timm_backbone",
        "Timm",
        # Saved by timm itself, by transformers' backbone class, and by its wrapper of a whole timm model.
        prefixes=("", "_backbone.", "timm_model."),
        config="backbone_cli.timm.config:TimmBackboneConfig",
        model="backbone_cli.timm.backbone:TimmBackbone",
    ),
    # Its ids are VitMatte's, whose checkpoints hold it.
    Family("vitdet", "VitDet", prefixes=("", "vitdet.")),
    # Its ids are ViTPose's.
    Family(
        "vitpose_backbone",
        "VitPose",
        prefixes=("", "vit."),
        processor="VitPoseImageProcessor",
        config="backbone_cli.configs.vitpose_backbone:VitPoseBackboneConfig",
    ),
    *PLAIN_VITS,
)


# Families added by `register`, by model type.
REGISTERED: dict[str, Family] = {}


def register(
    model_type: str,
    config: type[BackboneConfig] | str,
    model: type[Backbone] | str,
    *,
    prefixes: tuple[str, ...] = ("",),
    ids: tuple[str, ...] = (),
    processor: str = "ViTImageProcessor",
) -> Family:
    """Add a family of your own: from then on its checkpoints load like any other's, here and on the command line.

    `model_type` is the type in its config.json files. `config` and `model` are its classes (subclasses of
    `BackboneConfig` and `Backbone`), or strings with their places (`my_package.module:MyConfig`), which are imported
    when needed. `prefixes` are prefixes that tensor names may have in its weight files, `ids` are well-known Hub ids,
    and `processor` is the image processor of repositories that don't name one.

    To make the family known to the command line, declare the module that calls `register` as an entry point of the
    group `backbone_cli.families` in the package that contains it.
    """
    if any(family.model_type == model_type for family in FAMILIES):
        raise UsageError(f"The family '{model_type}' is built in; choose another model_type.")
    name = config.rpartition(":")[2] if isinstance(config, str) else config.__name__
    family = Family(
        model_type,
        name.removesuffix("Config"),
        prefixes,
        ids,
        processor,
        config=config,
        model=model,
    )
    REGISTERED[model_type] = family
    return family


@cache
def load_plugins() -> None:
    """Import the entry points of the group `backbone_cli.families`, each of which calls `register`."""
    from importlib.metadata import entry_points

    for point in entry_points(group="backbone_cli.families"):
        try:
            point.load()
        except (ImportError, AttributeError) as error:
            raise UnsupportedModel(
                f"The family '{point.name}' of {point.value} can't be loaded ({error}); fix or uninstall that package."
            ) from error


def families() -> Iterator[Family]:
    """Every family: the built-in ones, then the registered ones."""
    load_plugins()
    yield from FAMILIES
    yield from REGISTERED.values()


# Model types without a backbone class, and a pattern for similar timm models.
ONLY_IN_TIMM = {
    "efficientnet": "*efficientnet*",
    "levit": "levit*",
    "mobilenet_v1": "mobilenetv1*",
    "mobilenet_v2": "mobilenetv2*",
    "mobilevit": "mobilevit*",
    "mobilevitv2": "mobilevitv2*",
    "poolformer": "poolformer*",
    "regnet": "regnet*",
}


def find_family(model_type: str, composite_type: str = "") -> Family:
    """The family of a model type; `composite_type` is the type of the model that contains it, for messages."""
    for known in (FAMILIES, families()):  # plugins are only loaded if the type isn't built in
        for family in known:
            if family.model_type == model_type:
                return family
    if composite_type:
        raise UnsupportedModel(
            f"The backbone of this {composite_type} model has the type '{model_type}', which is not supported."
            " `backbone models` lists the supported types."
        )
    if model_type in ONLY_IN_TIMM:
        raise UnsupportedModel(
            f"Models of type '{model_type}' have no backbone class, so their stages are undefined."
            f" timm has similar models with stages: `backbone models --timm '{ONLY_IN_TIMM[model_type]}'`."
        )
    names = [family.model_type for family in families()]
    raise UnsupportedModel(
        f"Models of type '{model_type}' are not supported.{did_you_mean(model_type, names)}"
        " `backbone models` lists the supported families."
    )
