"""Every family of backbones, one row each; the rows are facts in strings, so that importing them imports nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedModel, UsageError, near_miss

if TYPE_CHECKING:
    from .configs.base import BackboneConfig
    from .models.base import Backbone


IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
HALVES = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class Family:
    """`model_type` as config.json has it, the stem of the class names, and what is known of its checkpoints."""

    model_type: str
    stem: str
    prefixes: tuple[str, ...]
    """What stands before a tensor's name in the files of this family, by the class that saved them."""
    ids: tuple[str, ...] = ()
    """Hub ids that it is known by."""
    processor: str = "ViTImageProcessor"
    """The image processor that its repositories name, for those that have no preprocessor_config.json."""
    pixels: Mapping[str, tuple[float, float, float]] = field(default_factory=lambda: IMAGENET, hash=False)
    """The mean and deviation that its repositories say, for the same."""
    module: str = ""
    """Where its model is written; near-twins share a file. By default the file named as the family's type."""
    config: type[BackboneConfig] | str = ""
    model: type[Backbone] | str = ""
    """The two classes, or where they are (`package.module:Class`), for families that are not built in."""

    def config_class(self) -> type[BackboneConfig]:
        name = self.model_type.replace("-", "_")
        return imported(self.config or f"backbone_cli.configs.{name}:{self.stem}Config")

    def model_class(self) -> type[Backbone]:
        name = (self.module or self.model_type).replace("-", "_")
        return imported(self.model or f"backbone_cli.models.{name}:{self.stem}Backbone")


def imported(place: Any) -> Any:
    """The class of `package.module:Class`; a class is itself."""
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


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
        module="dinov2",
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
    # Most of its ids are those of D-FINE.
    Family("hgnet_v2", "HGNetV2", prefixes=("",), ids=("ustc-community/hgnet-v2",), processor="RTDetrImageProcessor"),
    # Its ids are those of MaskFormer, whose checkpoints hold it.
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
    # Its ids are those of RT-DETR.
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
        # By timm itself; as transformers' backbone, and as its wrapper of a whole timm model.
        prefixes=("", "_backbone.", "timm_model."),
        config="backbone_cli.configs.timm_backbone:TimmBackboneConfig",
        model="backbone_cli.models.timm_backbone:TimmBackbone",
    ),
    # Its ids are those of VitMatte, whose checkpoints hold it.
    Family("vitdet", "VitDet", prefixes=("", "vitdet.")),
    # Its ids are those of ViTPose.
    Family(
        "vitpose_backbone",
        "VitPose",
        prefixes=("", "vit."),
        processor="VitPoseImageProcessor",
        config="backbone_cli.configs.vitpose_backbone:VitPoseBackboneConfig",
    ),
)


# Families from outside, by their type.
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
    """Add a family of your own: from then on its checkpoints load, here and on the command line, like any other.

    `model_type` is what its config.json files say. `config` and `model` are its classes (of `BackboneConfig` and
    `Backbone`), or texts that say where they are (`my_package.module:MyConfig`), which are then imported when needed.
    `prefixes` may stand before a tensor's name in its weight files, `ids` are hub ids that it is known by, and
    `processor` is the image processor of repositories that name none.

    So that the command line knows the family, let the package that holds it name the module that calls `register`
    as an entry point of the group `backbone_cli.families`.
    """
    if any(family.model_type == model_type for family in FAMILIES):
        raise UsageError(f"The family '{model_type}' is built in; give yours another model_type.")
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
    """Import the modules that installed packages name in the group `backbone_cli.families`; each calls `register`."""
    from importlib.metadata import entry_points

    for point in entry_points(group="backbone_cli.families"):
        try:
            point.load()
        except (ImportError, AttributeError) as error:
            raise UnsupportedModel(
                f"The family '{point.name}' that {point.value} brings can't be loaded ({error});"
                " mend or uninstall that package."
            ) from error


def families() -> Iterator[Family]:
    """Every family: the built-in ones, then those from outside."""
    load_plugins()
    yield from FAMILIES
    yield from REGISTERED.values()


# Types that have no backbone class, and what their like is called in timm.
ONLY_IN_TIMM = {
    "clip": "vit_*clip*",
    "clip_vision_model": "vit_*clip*",
    "deit": "deit*",
    "efficientnet": "*efficientnet*",
    "levit": "levit*",
    "mobilenet_v1": "mobilenetv1*",
    "mobilenet_v2": "mobilenetv2*",
    "mobilevit": "mobilevit*",
    "mobilevitv2": "mobilevitv2*",
    "poolformer": "poolformer*",
    "regnet": "regnet*",
    "sam": "samvit*",
    "siglip": "vit_*siglip*",
    "siglip2": "vit_*siglip*",
    "siglip_vision_model": "vit_*siglip*",
    "vit": "vit_*",
    "vit_mae": "vit_*",
    "vit_msn": "vit_*",
}


def find(model_type: str, inside: str = "") -> Family:
    """The family of this `model_type`; `inside` is the type of the model that has it for its backbone."""
    for known in (FAMILIES, families()):  # those from outside are only looked for when they are needed
        for family in known:
            if family.model_type == model_type:
                return family
    if inside:
        raise UnsupportedModel(
            f"The backbone of this {inside} model is of type '{model_type}', which is not supported."
            " `backbone models` lists the types that are."
        )
    if model_type in ONLY_IN_TIMM:
        raise UnsupportedModel(
            f"Models of type '{model_type}' have no backbone class: nothing says what their stages are."
            f" timm has such models with stages: `backbone models --timm '{ONLY_IN_TIMM[model_type]}'`."
        )
    names = [family.model_type for family in families()]
    raise UnsupportedModel(
        f"Models of type '{model_type}' are not supported.{near_miss(model_type, names)}"
        " `backbone models` lists the families that are."
    )
