"""MaskFormer (Cheng et al. 2021, arXiv 2107.06278).

A picture is segmented by a set of masks, each with one class. Learned queries attend to the backbone's last map and
come out as a class and an embedding each; a pyramid turns the backbone's maps into an embedding of each pixel; and a
query's mask is where its embedding and the pixel's agree.

Shapes: B images, C channels, H x W places of the finest map, Q queries, N places of the coarsest map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..auto import AutoBackbone, load, place, saved_dtype
from ..checkpoint import Weights, fill
from ..configs.maskformer import DetrDecoderConfig, MaskFormerConfig
from ..errors import UsageError
from ..hub import Name
from ..models.base import Backbone, Model, Names, Output, Source
from ..models.layers import activation, of_sizes
from ..resolve import resolve
from .segmentation import Segments


@dataclass
class MaskFormerForInstanceSegmentationOutput(Output):
    """What a MaskFormer returns."""

    class_queries_logits: Tensor
    """(B, Q, classes + 1): for each query the classes, and last of all none of them."""
    masks_queries_logits: Tensor
    """(B, Q, H, W): for each query its mask, before the sigmoid."""
    encoder_last_hidden_state: Tensor
    pixel_decoder_last_hidden_state: Tensor
    transformer_decoder_last_hidden_state: Tensor
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    """The backbone's maps; these and the following with `output_hidden_states=True`."""
    pixel_decoder_hidden_states: tuple[Tensor, ...] | None = None
    """The pyramid's maps, the coarsest first."""
    transformer_decoder_hidden_states: tuple[Tensor, ...] | None = None
    """(B, Q, C): the queries' states before the first layer and after each."""
    hidden_states: tuple[Tensor, ...] | None = None
    """All of these in a row."""


class MaskFormerForInstanceSegmentation(Segments, Model):
    """MaskFormer on any backbone, forward only: there are no losses and no dropout.

    From `MaskFormerConfig(backbone="...", use_pretrained_backbone=True)` it has that model's weights in its backbone,
    and random ones in its head. `encoder` takes a backbone that is built already.
    """

    config: MaskFormerConfig

    def __init__(self, config: MaskFormerConfig, encoder: Backbone | None = None) -> None:
        super().__init__()
        decoder, width = config.decoder_config, config.decoder_config.d_model
        self.config = config
        self.encoder = (backbone_of(config) if encoder is None else encoder).train()
        self.pyramid = Pyramid(self.encoder.channels, config.fpn_feature_size, config.mask_feature_size)
        last = self.encoder.channels[-1]
        self.project = nn.Conv2d(last, width, 1) if last != width else nn.Identity()
        self.queries = nn.Embedding(decoder.num_queries, width)
        self.layers = nn.ModuleList(DecoderLayer(decoder) for _ in range(decoder.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, len(config.id2label or ()) + 1)
        self.masks = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, config.mask_feature_size),
        )

    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskFormerForInstanceSegmentationOutput | tuple[Any, ...]:
        """Pixels (B, C, H, W) to classes and masks. `pixel_mask` changes nothing, here as in the published model."""
        maps = self.encoder(pixel_values).feature_maps
        finer = tuple(self.pyramid(maps))
        pixels = self.pyramid.project(finer[-1])
        states = tuple(self.decode(self.project(maps[-1])))
        queries = states[-1]
        masks = torch.einsum("bqc, bchw -> bqhw", self.masks(queries), pixels)
        output = MaskFormerForInstanceSegmentationOutput(self.classes(queries), masks, maps[-1], pixels, queries)
        if self.config.output_hidden_states if output_hidden_states is None else output_hidden_states:
            output = replace(
                output,
                encoder_hidden_states=maps,
                pixel_decoder_hidden_states=finer,
                transformer_decoder_hidden_states=states,
                hidden_states=(*maps, *finer, *states),
            )
        return output if return_dict is not False else output.to_tuple()

    def decode(self, image: Tensor) -> Iterator[Tensor]:
        """The queries' states (B Q C), from nothing at all to what they have found in a map (B C H W)."""
        at = positions((image.shape[-2], image.shape[-1]), image.shape[1], image.device, image.dtype)  # N C
        image = image.flatten(2).transpose(1, 2)  # B N C
        queries = self.queries.weight.expand(len(image), -1, -1)
        x = torch.zeros_like(queries)
        for layer in self.layers:
            yield x
            x = layer(x, queries, image, at)
        yield self.norm(x)

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        model: Name,
        *,
        revision: str | None = None,
        offline: bool = False,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        **overrides: Any,
    ) -> MaskFormerForInstanceSegmentation:
        """Load a MaskFormer from the hub or a folder, for inference; `overrides` win over its config.json."""
        found = resolve(model, revision=revision, offline=offline)
        if found.inside != MaskFormerConfig.model_type:
            raise UsageError(f"'{model}' is a {found.inside or found.family.model_type} model, not a maskformer.")
        config = MaskFormerConfig.from_dict(found.repo.json("config.json") or {}, offline=offline, **overrides)
        encoder = load(replace(found, config=config.backbone_config))
        with torch.device("meta"):
            whole = cls(config, encoder).eval()
        fill(whole, Weights(found.repo))
        return place(whole, saved_dtype(found) if dtype == "auto" else dtype, device)

    def names(self) -> Names:
        """The table of tensor names, the encoder's own among them."""
        inside = INSIDE.get(self.config.backbone_config.model_type, "")
        encoder = {
            f"encoder.{ours}": behind(ENCODER + ("" if ours.startswith("norms.") else inside), theirs)
            for ours, theirs in self.encoder.names().items()
        }
        return {**NAMES, **encoder}


def backbone_of(config: MaskFormerConfig) -> Backbone:
    if not config.use_pretrained_backbone:
        return AutoBackbone.from_config(config.backbone_config)
    assert config.backbone is not None
    return AutoBackbone.from_pretrained(
        config.backbone, config=config.backbone_config, use_timm_backbone=config.use_timm_backbone
    )


class Pyramid(nn.Module):
    """The pixel decoder: from the coarsest map to the finest, each step adds what the backbone saw at that size."""

    def __init__(self, channels: Sequence[int], width: int, out: int) -> None:
        super().__init__()
        finer = list(reversed(channels[:-1]))
        self.stem = ConvNorm(channels[-1], width, 3)
        self.laterals = nn.ModuleList(ConvNorm(dim, width, 1) for dim in finer)
        self.blocks = nn.ModuleList(ConvNorm(width, width, 3) for _ in finer)
        self.project = nn.Conv2d(width, out, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Iterator[Tensor]:
        x = F.relu(self.stem(maps[-1]))
        for lateral, block, finer in zip(self.laterals, self.blocks, reversed(maps[:-1]), strict=True):
            finer = lateral(finer)
            x = F.relu(block(finer + F.interpolate(x, finer.shape[-2:], mode="nearest")))
            yield x


class ConvNorm(nn.Sequential):
    def __init__(self, dim: int, out: int, kernel: int) -> None:
        conv = nn.Conv2d(dim, out, kernel, padding=kernel // 2, bias=False)
        super().__init__(conv, nn.GroupNorm(32, out))


class DecoderLayer(nn.Module):
    """Queries look at one another, then at the image, then each thinks for itself; norms come after each sum."""

    def __init__(self, config: DetrDecoderConfig) -> None:
        super().__init__()
        width, heads = config.d_model, config.decoder_attention_heads
        self.to_queries = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.to_image = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.act = activation(config.activation_function)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, queries: Tensor, image: Tensor, at: Tensor) -> Tensor:  # B Q C
        x = self.norm1(x + self.to_queries(x + queries, x + queries, x))
        x = self.norm2(x + self.to_image(x + queries, image + at, image))
        return self.norm3(x + self.fc2(self.act(self.fc1(x))))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:  # B Q C, B N C, B N C
        parts = self.q(queries), self.k(keys), self.v(values)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)  # B heads N D
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@of_sizes
def positions(size: tuple[int, int], channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Sines and cosines of where a place lies, one half for its row, one for its column: N C."""
    half = channels // 2
    wavelengths = 10000 ** (2 * (torch.arange(half, device=device) // 2).to(dtype) / half)

    def waves(length: int) -> Tensor:
        at = torch.arange(1, length + 1, dtype=dtype, device=device) / (length + 1e-6) * 2 * math.pi
        angles = at[:, None] / wavelengths
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), 2).flatten(1)  # length C/2

    rows, columns = waves(size[0]), waves(size[1])
    both = rows[:, None].expand(-1, size[1], -1), columns[None].expand(size[0], -1, -1)
    return torch.cat(both, 2).flatten(0, 1)


def behind(prefix: str, source: Source | list[Source]) -> Any:
    """A source of the table of names, with a prefix before each name in it."""
    return prefix + source if isinstance(source, str) else type(source)(behind(prefix, part) for part in source)


# What transformers keeps these backbones in; their stage norms lie beside it.
INSIDE = {"maskformer-swin": "model.", "timm_backbone": "_backbone."}

ENCODER = "model.pixel_level_module.encoder."
FPN = "model.pixel_level_module.decoder.fpn"
LAYER = "model.transformer_module.decoder.layers.*"

NAMES: Names = {
    "pyramid.stem": f"{FPN}.stem",
    "pyramid.laterals.*": f"{FPN}.layers.*.proj",
    "pyramid.blocks.*": f"{FPN}.layers.*.block",
    "pyramid.project": "model.pixel_level_module.decoder.mask_projection",
    "project": "model.transformer_module.input_projection",
    "queries": "model.transformer_module.queries_embedder",
    "layers.*.to_queries.q": f"{LAYER}.self_attn.q_proj",
    "layers.*.to_queries.k": f"{LAYER}.self_attn.k_proj",
    "layers.*.to_queries.v": f"{LAYER}.self_attn.v_proj",
    "layers.*.to_queries.proj": [f"{LAYER}.self_attn.out_proj", f"{LAYER}.self_attn.o_proj"],
    "layers.*.norm1": f"{LAYER}.self_attn_layer_norm",
    "layers.*.to_image.q": f"{LAYER}.encoder_attn.q_proj",
    "layers.*.to_image.k": f"{LAYER}.encoder_attn.k_proj",
    "layers.*.to_image.v": f"{LAYER}.encoder_attn.v_proj",
    "layers.*.to_image.proj": [f"{LAYER}.encoder_attn.out_proj", f"{LAYER}.encoder_attn.o_proj"],
    "layers.*.norm2": f"{LAYER}.encoder_attn_layer_norm",
    "layers.*.fc1": [f"{LAYER}.fc1", f"{LAYER}.mlp.fc1"],
    "layers.*.fc2": [f"{LAYER}.fc2", f"{LAYER}.mlp.fc2"],
    "layers.*.norm3": f"{LAYER}.final_layer_norm",
    "norm": "model.transformer_module.decoder.layernorm",
    "classes": "class_predictor",
    "masks.0": "mask_embedder.0.0",
    "masks.2": "mask_embedder.1.0",
    "masks.4": "mask_embedder.2.0",
}
