"""Photos as a model sees them, with their feature maps: computed by the model, or from a folder of features."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, UsageError
from ..images.load import processor_from_dict
from ..images.processor import ImageProcessor
from ..output.records import Item
from ..pipeline.compute import compute_one
from ..pipeline.decoding import Decoder
from ..pipeline.prepare import FEW_IMAGES, resolve_request
from ..pipeline.request import Request
from ..pipeline.sources import Sources
from .colours import Bytes, Floats

if TYPE_CHECKING:
    from ..output.reader import Features
    from ..pipeline.engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoFeatures:
    """A photo as the model sees it, and its maps."""

    name: str
    picture: Bytes
    """(H, W, 3), after the processor's resizing and cropping."""
    maps: Mapping[str, Floats]
    """Stage -> (C, H, W)."""


class FeatureViewer:
    """A model with everything needed to compute the maps of photos."""

    def __init__(self, request: Request, images: int) -> None:
        """Computes all stages if the request names none. Results are as `extract` gives them for this many images."""
        from ..pipeline.engine import load_engine

        self.resolved, self.processor = resolve_request(request, default_indices=("all",))
        self.decode = Decoder(self.processor, request.max_pixels)
        self.engine: Engine = load_engine(self.resolved, self.processor, request, request.device, images <= FEW_IMAGES)

    @property
    def strides(self) -> dict[str, int]:
        return {stage.name: stage.stride for stage in self.resolved.config.stages}

    def view(self, item: Item) -> PhotoFeatures:
        """Compute one photo's maps. Raises ImageError."""
        pixels, maps = compute_one(self.decode, self.engine, item)
        return PhotoFeatures(item.name, as_picture(self.processor, pixels), maps)


def as_picture(processor: ImageProcessor, pixels: NDArray[Any]) -> Bytes:
    """A processed image as RGB bytes (H, W, 3); normalization is undone."""
    if pixels.dtype != np.uint8:
        pixels = pixels.transpose(1, 2, 0)
        low, high = processor.table[:, 0], processor.table[:, -1]
        pixels = (((pixels - low) / (high - low)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels[..., ::-1] if processor.do_flip_channel_order else pixels


def list_photos(inputs: Sequence[str], at_most: int) -> list[Item]:
    """The images in the inputs, each once."""
    sources = Sources(tuple(inputs))
    sources.check()
    items: dict[str, Item] = {}
    for item in sources:
        items.setdefault(item.source, item)
        if len(items) > at_most:
            raise UsageError(f"There are more than {at_most} images, the most that can be viewed at once; give fewer.")
    if not items:
        raise UsageError(f"There are no images in {', '.join(inputs[:3])}.")
    return list(items.values())


def view_all(viewer: FeatureViewer, items: Sequence[Item]) -> Iterator[PhotoFeatures | ImageError]:
    """Each photo in turn, or the error that prevents it."""
    for item in items:
        try:
            yield viewer.view(item)
        except ImageError as error:
            yield error


# --- saved features ---------------------------------------------------------------------------------


def load_saved_photos(features: Features, names: Sequence[str], stages: Sequence[str]) -> Iterator[PhotoFeatures]:
    """Photos whose maps are in a folder that `backbone extract` wrote, without loading the model."""
    strides = {stage["name"]: stage["stride"] for stage in features.settings["stages"]}
    preprocessing = features.settings["preprocessing"]
    processor = processor_from_dict({key: preprocessing[key] for key in preprocessing if key != "fast_decode"})
    decode = Decoder(processor, Request.max_pixels, preprocessing["fast_decode"])
    items = find_items({features.source(name) for name in names})
    for name in names:
        maps = {stage: np.asarray(features[name][stage], np.float32) for stage in stages}
        for stage, one in maps.items():
            if one.ndim != 3:
                raise UsageError(
                    f"'{features.folder}' holds vectors ({stage}: {len(one)} numbers), not maps;"
                    " extract with --pool none to view them."
                )
        size = [side * strides[stages[0]] for side in maps[stages[0]].shape[1:]]
        yield PhotoFeatures(name, find_picture(decode, items[features.source(name)], (size[0], size[1])), maps)


def find_items(sources: Collection[str]) -> dict[str, Item]:
    """Items to read the photos with these sources; each tar is scanned once for all its members."""
    items = {source: Item(source, source, source) for source in sources}
    ends = ((source, match.end()) for source in sources for match in re.finditer(r"\.tar(?=/)", source, re.IGNORECASE))
    for tar in {source[:end] for source, end in ends}:
        items |= {item.source: item for item in Sources((tar,)) if item.source in items}
    return items


def find_picture(decode: Decoder, item: Item, size: tuple[int, int]) -> Bytes:
    """The photo that features were made from, as the model saw it; plain grey if it is gone."""
    try:
        if item.error:
            raise ImageError(item.error)
        return as_picture(decode.processor, decode(item))
    except ImageError as error:
        log.warning("%s It is shown in grey.", error)
        return np.full((*size, 3), 128, np.uint8)
