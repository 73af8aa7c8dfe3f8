"""MaskFormer (Cheng et al. 2021, arXiv 2107.06278).

An image is segmented into a set of masks, each with one class. Learned queries attend to the backbone's last map and
yield a class and an embedding each; a feature pyramid turns the backbone's maps into an embedding per pixel; a query's
mask is the dot product of its embedding with the pixels'.

Shapes: B images, C channels, H x W positions of the finest map, Q queries, N positions of the coarsest map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..auto import AutoBackbone, checkpoint_dtype, load_backbone, to_device
from ..checkpoint import Checkpoint, load_weights
from ..errors import UsageError
from ..hub import ModelName
from ..models.base import Backbone, Model, Names, Output, Source
from ..models.layers import activation, join_heads, size_cached
from ..resolve import resolve
from .config import DetrDecoderConfig, MaskFormerConfig
from .segmentation import SegmentationMixin


@dataclass
class MaskFormerForInstanceSegmentationOutput(Output):
    """What a MaskFormer returns."""

    class_queries_logits: Tensor
    """(B, Q, classes + 1): the class scores of each query; the last is "no object"."""
    masks_queries_logits: Tensor
    """(B, Q, H, W): the mask of each query, before the sigmoid."""
    encoder_last_hidden_state: Tensor
    pixel_decoder_last_hidden_state: Tensor
    transformer_decoder_last_hidden_state: Tensor
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    """The backbone's maps; this and the following only with `output_hidden_states=True`."""
    pixel_decoder_hidden_states: tuple[Tensor, ...] | None = None
    """The pyramid's maps, coarsest first."""
    transformer_decoder_hidden_states: tuple[Tensor, ...] | None = None
    """(B, Q, C): the queries before the first layer and after each."""
    hidden_states: tuple[Tensor, ...] | None = None
    """All of these, concatenated."""


class MaskFormerForInstanceSegmentation(SegmentationMixin, Model):
    """MaskFormer on any backbone, for inference: no losses and no dropout.

    `MaskFormerConfig(backbone="...", use_pretrained_backbone=True)` gives it that model's weights in the backbone and
    random ones in the head. `encoder` is an already built backbone to use.
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
        """Pixels (B, C, H, W) to classes and masks. `pixel_mask` has no effect, as in the published model."""
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
        """Yield the queries' states (B Q C), from zeros to the decoder's output for a map (B C H W)."""
        at = positions((image.shape[-2], image.shape[-1]), image.shape[1], image.device, image.dtype)  # N C
        image = image.flatten(2).transpose(1, 2)  # B N C
        queries = self.queries.weight.expand(image.shape[0], -1, -1)
        x = torch.zeros_like(queries)
        for layer in self.layers:
            yield x
            x = layer(x, queries, image, at)
        yield self.norm(x)

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        model: ModelName,
        *,
        revision: str | None = None,
        offline: bool = False,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        **overrides: Any,
    ) -> MaskFormerForInstanceSegmentation:
        """Load a MaskFormer from the hub or a folder, for inference; `overrides` win over its config.json."""
        resolved = resolve(model, revision=revision, offline=offline)
        if resolved.composite_type != MaskFormerConfig.model_type:
            raise UsageError(
                f"'{model}' is a {resolved.composite_type or resolved.family.model_type} model, not a maskformer."
            )
        config = MaskFormerConfig.from_dict(resolved.repo.json("config.json") or {}, offline=offline, **overrides)
        encoder = load_backbone(replace(resolved, config=config.backbone_config))
        with torch.device("meta"):
            whole = cls(config, encoder).eval()
        load_weights(whole, Checkpoint(resolved.repo))
        return to_device(whole, checkpoint_dtype(resolved) if dtype == "auto" else dtype, device)

    def names(self) -> Names:
        """The table of tensor names, including the encoder's."""
        wrapper = WRAPPERS.get(self.config.backbone_config.model_type, "")
        encoder = {
            f"encoder.{name}": add_prefix(ENCODER + ("" if name.startswith("norms.") else wrapper), source)
            for name, source in self.encoder.names().items()
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
    """The pixel decoder: from the coarsest map to the finest, each step adds the backbone's map of that size."""

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
    """Self-attention of the queries, cross-attention to the image, then an MLP; norms come after each sum."""

    def __init__(self, config: DetrDecoderConfig) -> None:
        super().__init__()
        width, heads = config.d_model, config.decoder_attention_heads
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.act = activation(config.activation_function)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, queries: Tensor, image: Tensor, at: Tensor) -> Tensor:  # B Q C
        x = self.norm1(x + self.self_attn(x + queries, x + queries, x))
        x = self.norm2(x + self.cross_attn(x + queries, image + at, image))
        return self.norm3(x + self.fc2(self.act(self.fc1(x))))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:  # B Q C, B N C, B N C
        parts = self.q(queries), self.k(keys), self.v(values)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)  # B heads N D
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, v)))


@size_cached
def positions(size: tuple[int, int], channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Sinusoidal position embeddings, one half for the row, one for the column: N C."""
    half = channels // 2
    wavelengths = 10000 ** (2 * (torch.arange(half, device=device) // 2).to(dtype) / half)

    def waves(length: int) -> Tensor:
        at = torch.arange(1, length + 1, dtype=dtype, device=device) / (length + 1e-6) * 2 * math.pi
        angles = at[:, None] / wavelengths
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), 2).flatten(1)  # length C/2

    rows, columns = waves(size[0]), waves(size[1])
    both = rows[:, None].expand(-1, size[1], -1), columns[None].expand(size[0], -1, -1)
    return torch.cat(both, 2).flatten(0, 1)


def add_prefix(prefix: str, source: Source | list[Source]) -> Any:
    """Add a prefix to every name in a row's source."""
    return prefix + source if isinstance(source, str) else type(source)(add_prefix(prefix, part) for part in source)


# Submodules that transformers wraps these backbones in; their stage norms are outside of it.
WRAPPERS = {"maskformer-swin": "model.", "timm_backbone": "_backbone."}

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
    "layers.*.self_attn.q": f"{LAYER}.self_attn.q_proj",
    "layers.*.self_attn.k": f"{LAYER}.self_attn.k_proj",
    "layers.*.self_attn.v": f"{LAYER}.self_attn.v_proj",
    "layers.*.self_attn.proj": [f"{LAYER}.self_attn.out_proj", f"{LAYER}.self_attn.o_proj"],
    "layers.*.norm1": f"{LAYER}.self_attn_layer_norm",
    "layers.*.cross_attn.q": f"{LAYER}.encoder_attn.q_proj",
    "layers.*.cross_attn.k": f"{LAYER}.encoder_attn.k_proj",
    "layers.*.cross_attn.v": f"{LAYER}.encoder_attn.v_proj",
    "layers.*.cross_attn.proj": [f"{LAYER}.encoder_attn.out_proj", f"{LAYER}.encoder_attn.o_proj"],
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
