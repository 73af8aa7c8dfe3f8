"""From a resolved model to its image processor, or only the processor's settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..composites import find_composite
from ..errors import UnsupportedModel
from .defaults import CLASSES
from .settings import ProcessorSettings

if TYPE_CHECKING:
    from ..resolve import Resolved
    from ..timm.config import TimmBackboneConfig
    from .processor import ImageProcessor

S = TypeVar("S", bound=ProcessorSettings)

log = logging.getLogger(__name__)


def load_processor(resolved: Resolved) -> ImageProcessor:
    """The image processor of a model."""
    if resolved.uses_timm_processor:
        from ..timm.processor import TimmImageProcessor

        config = cast("TimmBackboneConfig", resolved.config)
        return TimmImageProcessor.from_dict(config.data_config).with_size(config.default_size())
    from .processor import ImageProcessor

    return load_settings(resolved, ImageProcessor)


def load_settings(resolved: Resolved, cls: type[S]) -> S:
    """A processor's settings from the model's repository; else its family's usual ones, at the config's image size."""
    composite = find_composite(resolved.composite_type)
    usual = composite.processor if composite else resolved.family.processor
    raw_config = read_preprocessor_config(resolved)
    if raw_config is not None:
        return cls.from_dict(raw_config, default_class=usual)
    pixels: Mapping[str, Any] = {} if composite else resolved.family.pixels
    if usual not in CLASSES:  # the composite's own processor isn't supported, but its backbone is
        usual, pixels = resolved.family.processor, resolved.family.pixels
    size = resolved.config.default_size()
    log.warning(
        "'%s' has no preprocessor_config.json%s: images are processed as by %s, to %dx%d.",
        resolved.name,
        " in the cache" if resolved.repo.is_offline else "",
        usual,
        *size,
    )
    return cls.from_dict(pixels, default_class=usual).with_size(size)


def read_preprocessor_config(resolved: Resolved) -> dict[str, Any] | None:
    nested = (resolved.repo.json("processor_config.json") or {}).get("image_processor")
    return nested if isinstance(nested, dict) else resolved.repo.json("preprocessor_config.json")


def input_size(resolved: Resolved) -> tuple[int, int]:
    """The (height, width) that the model's processor brings images to; if that varies, the config's."""
    if resolved.uses_timm_processor:
        return resolved.config.default_size()
    try:
        fixed = load_settings(resolved, ProcessorSettings).fixed_size
    except UnsupportedModel:  # only matters to those who process images
        fixed = None
    return fixed or resolved.config.default_size()


def processor_from_dict(settings: Mapping[str, Any]) -> ImageProcessor:
    """The image processor whose `to_dict` gave these settings."""
    from ..timm.processor import TimmImageProcessor
    from .processor import ImageProcessor

    is_timm = settings.get("image_processor_type") == TimmImageProcessor.image_processor_type
    return TimmImageProcessor.from_dict(settings) if is_timm else ImageProcessor.from_dict(settings)
