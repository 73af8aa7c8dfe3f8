"""The oracle: timm's own feature extraction, and models with random weights saved like timm's Hub repositories."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import save_for_hf
from torch import Tensor, nn

from tests.models.parity import randomized


@dataclass(frozen=True)
class Model:
    """A timm architecture; `args` make it shallow if there is no small one of its kind."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ((64, 96), (97, 61))
    flexible: dict[str, Any] = field(default_factory=dict)
    """The arguments with which timm accepts these sizes."""

    def whole(self) -> nn.Module:
        torch.manual_seed(0)
        return randomized(timm.create_model(self.name, num_classes=7, **self.args).eval())

    def save(self, folder: Path) -> Path:
        save_for_hf(self.whole(), folder, safe_serialization=True)
        return folder

    def features(self, folder: Path, count: int, **create_args: Any) -> nn.Module:
        """timm's feature extraction of the first `count` stages, with the weights in a folder."""
        return timm.create_model(
            f"local-dir:{folder}",
            pretrained=True,
            features_only=True,
            out_indices=tuple(range(count)),
            **{**self.flexible, **create_args},
        ).eval()


def channels_first(net: nn.Module, maps: list[Tensor]) -> list[Tensor]:
    """timm's maps as B C H W; some of its networks compute in B H W C."""
    is_nhwc = str(getattr(net, "output_fmt", "")).endswith("NHWC")
    return [x.permute(0, 3, 1, 2) if is_nhwc else x for x in maps]


DYNAMIC = {"dynamic_img_size": True}
VIT = {**DYNAMIC, "dynamic_img_pad": True}

MODELS = {
    "ResNet": Model("test_resnet"),
    "ConvNeXt": Model("test_convnext"),
    "Swin, N H W C": Model("swin_tiny_patch4_window7_224", {"depths": (2, 1, 1, 1)}, ((64, 96), (76, 60)), DYNAMIC),
    "ViT": Model("test_vit", flexible=VIT),
    "EfficientNet": Model("test_efficientnet"),
    "FBNet, with other norms when pretrained": Model("fbnetc_100"),
    "RegNet": Model("regnetx_002"),
    "MobileNet": Model("mobilenetv3_small_050"),
    "MaxViT": Model("test_maxvit", sizes=((160, 160),)),
    "EVA": Model("eva02_tiny_patch14_224", {"depth": 2}, ((70, 98), (59, 83)), VIT),
    "DaViT": Model("davit_tiny", {"depths": (1, 1, 1, 1)}),
    "Hiera": Model("hiera_tiny_224", {"stages": (1, 1, 1, 1)}, ((224, 224),)),
    "hooks": Model("pit_ti_224", {"depth": (1, 1, 1)}, ((224, 224),)),
    "hooks in a whole network": Model("xception41p"),
    "branches": Model("crossvit_9_240", sizes=((240, 240),)),
}
