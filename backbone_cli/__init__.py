"""Feature maps of vision backbones, and nothing else.

    from backbone_cli import AutoBackbone, AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained("microsoft/swin-tiny-patch4-window7-224")
    model = AutoBackbone.from_pretrained("microsoft/swin-tiny-patch4-window7-224", out_indices=(0, 1, 2))
    maps = model(**processor(image, return_tensors="pt")).feature_maps

Every public name is in `__all__`: those listed here, and `<Stem>Config` and `<Stem>Backbone` of every family in the
registry. A name, and torch with it, is imported when it is first used. Type checkers read `__init__.pyi`, which
`tools/make_stub.py` generates.
"""

from __future__ import annotations

from typing import Any

from .registry import FAMILIES, import_object

# Public name -> the module that defines it.
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

_FAMILY_CLASSES = {
    path.partition(":")[2]: path for family in FAMILIES for path in (family.config_path, family.model_path)
}

__all__ = sorted([*_MODULES, *_FAMILY_CLASSES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    elif name in _FAMILY_CLASSES:
        value = import_object(_FAMILY_CLASSES[name])
    elif name == "__version__":
        from .versions import installed

        value = installed("backbone-cli") or "0+unknown"
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
