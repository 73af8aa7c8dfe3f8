"""Feature maps of vision backbones, and nothing else.

    from backbone_cli import AutoBackbone, AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained("microsoft/swin-tiny-patch4-window7-224")
    model = AutoBackbone.from_pretrained("microsoft/swin-tiny-patch4-window7-224", out_indices=(0, 1, 2))
    maps = model(**processor(image, return_tensors="pt")).feature_maps

Every public name is in `__all__`. A name, and torch with it, is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auto import AutoBackbone, AutoConfig, AutoImageProcessor
    from .configs.base import BackboneConfig, BackboneConfigMixin
    from .configs.beit import BeitConfig
    from .configs.bit import BitConfig
    from .configs.convnext import ConvNextConfig
    from .configs.convnextv2 import ConvNextV2Config
    from .configs.dinat import DinatConfig
    from .configs.dinov2 import Dinov2Config
    from .configs.dinov2_with_registers import Dinov2WithRegistersConfig
    from .configs.dinov3_convnext import DINOv3ConvNextConfig
    from .configs.dinov3_vit import DINOv3ViTConfig
    from .configs.focalnet import FocalNetConfig
    from .configs.hgnet_v2 import HGNetV2Config
    from .configs.maskformer_swin import MaskFormerSwinConfig
    from .configs.nat import NatConfig
    from .configs.resnet import ResNetConfig
    from .configs.rt_detr_resnet import RTDetrResNetConfig
    from .configs.swin import SwinConfig
    from .configs.swinv2 import Swinv2Config
    from .configs.vitdet import VitDetConfig
    from .configs.vitpose_backbone import VitPoseBackboneConfig
    from .maskformer.config import MaskFormerConfig
    from .maskformer.model import MaskFormerForInstanceSegmentation
    from .models.base import Backbone, BackboneMixin, BackboneOutput
    from .models.beit import BeitBackbone
    from .models.bit import BitBackbone
    from .models.convnext import ConvNextBackbone, ConvNextV2Backbone, DINOv3ConvNextBackbone
    from .models.dinov2 import Dinov2Backbone, Dinov2WithRegistersBackbone
    from .models.dinov3_vit import DINOv3ViTBackbone
    from .models.focalnet import FocalNetBackbone
    from .models.hgnet_v2 import HGNetV2Backbone
    from .models.nat import DinatBackbone, NatBackbone
    from .models.resnet import ResNetBackbone, RTDetrResNetBackbone
    from .models.swin import MaskFormerSwinBackbone, SwinBackbone
    from .models.swinv2 import Swinv2Backbone
    from .models.vitdet import VitDetBackbone
    from .models.vitpose_backbone import VitPoseBackbone
    from .optimization import optimize
    from .output.reader import open_features
    from .pipeline.extract import ExtractResult, extract
    from .registry import register
    from .timm.backbone import TimmBackbone
    from .timm.config import TimmBackboneConfig

__all__ = [
    "AutoBackbone",
    "AutoConfig",
    "AutoImageProcessor",
    "Backbone",
    "BackboneConfig",
    "BackboneConfigMixin",
    "BackboneMixin",
    "BackboneOutput",
    "BeitBackbone",
    "BeitConfig",
    "BitBackbone",
    "BitConfig",
    "ConvNextBackbone",
    "ConvNextConfig",
    "ConvNextV2Backbone",
    "ConvNextV2Config",
    "DINOv3ConvNextBackbone",
    "DINOv3ConvNextConfig",
    "DINOv3ViTBackbone",
    "DINOv3ViTConfig",
    "DinatBackbone",
    "DinatConfig",
    "Dinov2Backbone",
    "Dinov2Config",
    "Dinov2WithRegistersBackbone",
    "Dinov2WithRegistersConfig",
    "ExtractResult",
    "FocalNetBackbone",
    "FocalNetConfig",
    "HGNetV2Backbone",
    "HGNetV2Config",
    "MaskFormerConfig",
    "MaskFormerForInstanceSegmentation",
    "MaskFormerSwinBackbone",
    "MaskFormerSwinConfig",
    "NatBackbone",
    "NatConfig",
    "RTDetrResNetBackbone",
    "RTDetrResNetConfig",
    "ResNetBackbone",
    "ResNetConfig",
    "SwinBackbone",
    "SwinConfig",
    "Swinv2Backbone",
    "Swinv2Config",
    "TimmBackbone",
    "TimmBackboneConfig",
    "VitDetBackbone",
    "VitDetConfig",
    "VitPoseBackbone",
    "VitPoseBackboneConfig",
    "extract",
    "open_features",
    "optimize",
    "register",
]

# The modules of the names that belong to no family; a family's two classes are where its row in the registry says.
_MODULES = {
    "AutoBackbone": "auto",
    "AutoConfig": "auto",
    "AutoImageProcessor": "auto",
    "Backbone": "models.base",
    "BackboneConfig": "configs.base",
    "BackboneConfigMixin": "configs.base",
    "BackboneMixin": "models.base",
    "BackboneOutput": "models.base",
    "ExtractResult": "pipeline.extract",
    "MaskFormerConfig": "maskformer.config",
    "MaskFormerForInstanceSegmentation": "maskformer.model",
    "extract": "pipeline.extract",
    "open_features": "output.reader",
    "optimize": "optimization",
    "register": "registry",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from .versions import installed

        return installed("backbone-cli") or "0+unknown"
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    else:
        from .registry import FAMILIES

        stem = name.removesuffix("Config").removesuffix("Backbone")
        family = next(family for family in FAMILIES if family.stem == stem)
        value = family.config_class() if name.endswith("Config") else family.model_class()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
