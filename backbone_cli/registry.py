"""Every family of backbones, one row each; the rows are facts in strings, so that importing them imports nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from .errors import UnsupportedModel, near_miss

if TYPE_CHECKING:
    from .configs.base import BackboneConfig
    from .models.base import Backbone


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
    module: str = ""
    """Where its model is written; near-twins share a file. By default the file named as the family's type."""
    package: str = "backbone_cli"

    def config_class(self) -> type[BackboneConfig]:
        module = import_module(f"{self.package}.configs.{self.model_type.replace('-', '_')}")
        return getattr(module, f"{self.stem}Config")

    def model_class(self) -> type[Backbone]:
        module = import_module(f"{self.package}.models.{self.module or self.model_type}")
        return getattr(module, f"{self.stem}Backbone")


FAMILIES = (
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
        "dinov3_convnext",
        "DINOv3ConvNext",
        prefixes=("", "model."),
        ids=tuple(
            f"facebook/dinov3-convnext-{size}-pretrain-lvd1689m" for size in ("tiny", "small", "base", "large")
        ),
        processor="DINOv3ViTImageProcessor",
        module="convnext",
    ),
    # Its ids are those of MaskFormer, whose checkpoints hold it.
    Family("maskformer-swin", "MaskFormerSwin", prefixes=("", "model."), module="swin"),
    Family(
        "resnet",
        "ResNet",
        prefixes=("", "resnet."),
        ids=tuple(f"microsoft/resnet-{depth}" for depth in (18, 26, 34, 50, 101, 152)),
        processor="ConvNextImageProcessor",
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
)


def families() -> Iterator[Family]:
    yield from FAMILIES


def find(model_type: str) -> Family:
    """The family of this `model_type`."""
    known = {family.model_type: family for family in families()}
    if model_type not in known:
        raise UnsupportedModel(
            f"Models of type '{model_type}' are not supported.{near_miss(model_type, known)}"
            " `backbone models` lists the families that are."
        )
    return known[model_type]
