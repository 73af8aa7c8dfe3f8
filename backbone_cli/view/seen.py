"""Photos as a model saw them, and what it made of them: from the model itself, or from a folder of features."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, UsageError
from ..images.processor import ImageProcessor, read_processor
from ..pipeline.decoding import Decoder
from ..pipeline.prepare import FEW, look_up
from ..pipeline.request import Request
from ..pipeline.sources import Item, Sources
from .colours import Bytes, Floats

if TYPE_CHECKING:
    from ..features import Features
    from ..pipeline.engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    name: str
    picture: Bytes
    """(H, W, 3), after the processor's resizing and cropping."""
    maps: Mapping[str, Floats]
    """Stage -> (C, H, W)."""


class Eye:
    """A model with all that it takes to look at photos."""

    def __init__(self, request: Request, images: int) -> None:
        """All stages, where the request names none; for so many images, as `extract` would compute them."""
        from ..pipeline.engine import load_engine

        self.found, self.processor = look_up(request, unless_named=("all",))
        self.decode = Decoder(self.processor, request.max_pixels)
        self.engine: Engine = load_engine(self.found, self.processor, request, request.device, images <= FEW)

    @property
    def strides(self) -> dict[str, int]:
        return {stage.name: stage.stride for stage in self.found.config.stages}

    def see(self, item: Item) -> Seen:
        """Raises ImageError where it can't."""
        if item.error:
            raise ImageError(item.error)
        pixels = self.decode(item)
        (maps,) = self.engine(pixels[None])
        if isinstance(maps, ImageError):
            raise maps
        return Seen(item.name, as_picture(self.processor, pixels), maps)


def as_picture(processor: ImageProcessor, pixels: NDArray[Any]) -> Bytes:
    """What the processor gives, as bytes in RGB; what it has normalised already is brought back."""
    if pixels.dtype != np.uint8:
        low, high = processor.table[:, 0], processor.table[:, -1]
        pixels = (((pixels - low) / (high - low)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels[..., ::-1] if processor.do_flip_channel_order else pixels


def list_photos(inputs: Sequence[str], at_most: int) -> list[Item]:
    """The images that were named, each once."""
    sources = Sources(tuple(inputs))
    sources.check()
    items: dict[str, Item] = {}
    for item in sources:
        items.setdefault(item.source, item)
        if len(items) > at_most:
            raise UsageError(f"There are more than {at_most} images, more than can be looked at; name fewer.")
    if not items:
        raise UsageError(f"There are no images in {', '.join(inputs[:3])}.")
    return list(items.values())


def see_all(eye: Eye, items: Sequence[Item]) -> Iterator[Seen | ImageError]:
    """Each photo in turn, or why it can't be seen."""
    for item in items:
        try:
            yield eye.see(item)
        except ImageError as error:
            yield error


# --- features already extracted ---------------------------------------------------------------------------------


def see_saved(features: Features, names: Sequence[str], stages: Sequence[str]) -> Iterator[Seen]:
    """Photos whose maps are in a folder that `backbone extract` wrote; no model is needed."""
    strides = {about["name"]: about["stride"] for about in features.settings["stages"]}
    about = features.settings["preprocessing"]
    processor = read_processor({key: about[key] for key in about if key != "fast_decode"})
    decode = Decoder(processor, Request.max_pixels, about["fast_decode"])
    items = find_items({features.source(name) for name in names})
    for name in names:
        maps = {stage: np.asarray(features[name][stage], np.float32) for stage in stages}
        for stage, one in maps.items():
            if one.ndim != 3:
                raise UsageError(
                    f"'{features.folder}' holds vectors ({stage}: {len(one)} numbers), not maps;"
                    " extract with --pool none to look at them."
                )
        size = [side * strides[stages[0]] for side in maps[stages[0]].shape[1:]]
        yield Seen(name, find_picture(decode, items[features.source(name)], (size[0], size[1])), maps)


def find_items(wanted: Collection[str]) -> dict[str, Item]:
    """Where the photos of these sources are to be read; a tar is gone through once for all of its members."""
    items = {source: Item(source, source, source) for source in wanted}
    ends = ((source, match.end()) for source in wanted for match in re.finditer(r"\.tar(?=/)", source, re.IGNORECASE))
    for tar in {source[:end] for source, end in ends}:
        items |= {item.source: item for item in Sources((tar,)) if item.source in items}
    return items


def find_picture(decode: Decoder, item: Item, size: tuple[int, int]) -> Bytes:
    """The photo that features were made of, as the model saw it then; plain grey where it is gone."""
    try:
        if item.error:
            raise ImageError(item.error)
        return as_picture(decode.processor, decode(item))
    except ImageError as error:
        log.warning("%s It is shown in grey.", error)
        return np.full((*size, 3), 128, np.uint8)
