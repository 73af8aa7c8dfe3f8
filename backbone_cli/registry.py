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
        return getattr(import_module(f"{self.package}.configs.{self.model_type}"), f"{self.stem}Config")

    def model_class(self) -> type[Backbone]:
        module = import_module(f"{self.package}.models.{self.module or self.model_type}")
        return getattr(module, f"{self.stem}Backbone")


FAMILIES = (
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
