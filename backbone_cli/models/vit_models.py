"""The plain ViTs: what distinguishes CLIP from DINOv2, BLIP from MAE, and some thirty others from each other.

Their common architecture is in `plain_vit.py`, their sizes and switches are in `configs/plain_vit.py`, with the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ..configs.dinov2 import Dinov2Config
from ..configs.plain_vit import Aimv2VisionConfig, InternVLVisionConfig, MLCDVisionConfig, RadioConfig, YolosConfig
from .base import Names, Source
from .layers import Attention, GatedMlp, RotaryAttention, resize_positions, size_cached
from .plain_vit import (
    Design,
    LinearPatches,
    LinearPatchesChannelsLast,
    NormedAttention,
    PlainViTBackbone,
    fixed,
    looked_up,
    resized_and_cropped,
    resized_from_any_shape,
    resized_smoothly,
    sines,
    swiglu,
)

# --- names on disk -------------------------------------------------------------------------------------------------

LAYER = "encoder.layer.*"

VIT_NAMES: Names = {
    "embed.proj": "embeddings.patch_embeddings.projection",
    "embed.cls": "embeddings.cls_token",
    "embed.positions": "embeddings.position_embeddings",
    "layers.*.norm1": f"{LAYER}.layernorm_before",
    "layers.*.attn.qkv": tuple(f"{LAYER}.attention.attention.{part}" for part in ("query", "key", "value")),
    "layers.*.attn.proj": f"{LAYER}.attention.output.dense",
    "layers.*.norm2": f"{LAYER}.layernorm_after",
    "layers.*.mlp.fc1": f"{LAYER}.intermediate.dense",
    "layers.*.mlp.fc2": f"{LAYER}.output.dense",
    "norm": "layernorm",
}

DINOV2_NAMES: Names = {
    **VIT_NAMES,
    "embed.extra": "embeddings.register_tokens",
    "layers.*.norm1": f"{LAYER}.norm1",
    "layers.*.scale1.weight": f"{LAYER}.layer_scale1.lambda1",
    "layers.*.norm2": f"{LAYER}.norm2",
    "layers.*.mlp.fc1": f"{LAYER}.mlp.fc1",
    "layers.*.mlp.fc2": f"{LAYER}.mlp.fc2",
    "layers.*.scale2.weight": f"{LAYER}.layer_scale2.lambda1",
}

GATED_DINOV2_NAMES: Names = {
    **DINOV2_NAMES,
    "layers.*.mlp.fc1": f"{LAYER}.mlp.weights_in",
    "layers.*.mlp.fc2": f"{LAYER}.mlp.weights_out",
}

INTERNVL_NAMES: Names = {
    **VIT_NAMES,
    "layers.*.attn.qkv": tuple(f"{LAYER}.attention.{part}_proj" for part in "qkv"),
    "layers.*.attn.q_norm": f"{LAYER}.attention.q_norm",
    "layers.*.attn.k_norm": f"{LAYER}.attention.k_norm",
    "layers.*.attn.proj": f"{LAYER}.attention.projection_layer",
    "layers.*.scale1.weight": f"{LAYER}.lambda_1",
    "layers.*.mlp.fc1": f"{LAYER}.mlp.fc1",
    "layers.*.mlp.fc2": f"{LAYER}.mlp.fc2",
    "layers.*.scale2.weight": f"{LAYER}.lambda_2",
}

BLOCK = "radio_model.model.blocks.*"

RADIO_NAMES: Names = {
    "mean": "radio_model.input_conditioner.norm_mean",
    "std": "radio_model.input_conditioner.norm_std",
    "embed.proj": "radio_model.model.patch_generator.embedder",
    "embed.extra": "radio_model.model.patch_generator.cls_token.token",
    "embed.positions": "radio_model.model.patch_generator.pos_embed",
    "layers.*.norm1": f"{BLOCK}.norm1",
    "layers.*.attn.qkv": f"{BLOCK}.attn.qkv",
    "layers.*.attn.proj": f"{BLOCK}.attn.proj",
    "layers.*.scale1.weight": f"{BLOCK}.layer_scale1.lambda1",
    "layers.*.norm2": f"{BLOCK}.norm2",
    "layers.*.mlp.fc1": f"{BLOCK}.mlp.fc1",
    "layers.*.mlp.fc2": f"{BLOCK}.mlp.fc2",
    "layers.*.scale2.weight": f"{BLOCK}.layer_scale2.lambda1",
}

GATED_RADIO_NAMES: Names = {
    **RADIO_NAMES,
    "layers.*.mlp.fc1": (f"{BLOCK}.mlp.gate_proj", f"{BLOCK}.mlp.up_proj"),
    "layers.*.mlp.fc2": f"{BLOCK}.mlp.down_proj",
}


CLIP_NAMES: dict[str, Source] = {
    "embed.proj": "embeddings.patch_embedding",
    "embed.cls": "embeddings.class_embedding",
    "embed.positions": "embeddings.position_embedding.weight",
    "pre_norm": "pre_layrnorm",
    "layers.*.norm1": "encoder.layers.*.layer_norm1",
    "layers.*.attn.qkv": tuple(f"encoder.layers.*.self_attn.{part}_proj" for part in "qkv"),
    "layers.*.attn.proj": "encoder.layers.*.self_attn.out_proj",
    "layers.*.norm2": "encoder.layers.*.layer_norm2",
    "layers.*.mlp.fc1": "encoder.layers.*.mlp.fc1",
    "layers.*.mlp.fc2": "encoder.layers.*.mlp.fc2",
    "norm": "post_layernorm",
}


def renamed(names: dict[str, Source], rename: Callable[[str], str]) -> dict[str, Source]:
    """A table with other checkpoint names."""
    return {own: rename(name) if isinstance(name, str) else tuple(map(rename, name)) for own, name in names.items()}


# In these models, the class of the vision part alone says so, too.
GIT_NAMES: Names = renamed(CLIP_NAMES, "vision_model.{}".format)
KOSMOS2_NAMES: Names = renamed(CLIP_NAMES, "model.{}".format)
OWLVIT_NAMES: Names = {**GIT_NAMES, "pre_norm": "vision_model.pre_layernorm"}

# AltCLIP files that transformers 5 saves say `layer`, others `layers`.
ALTCLIP_LAYER = renamed(CLIP_NAMES, lambda name: name.replace("layers.", "layer."))
ALTCLIP_NAMES: Names = {own: [name, ALTCLIP_LAYER[own]] for own, name in CLIP_NAMES.items()}

JANUS_NAMES: Names = {**CLIP_NAMES, "layers.*.attn.proj": "encoder.layers.*.self_attn.projection_layer"}

BLIP_NAMES: Names = {
    **CLIP_NAMES,
    "embed.positions": "embeddings.position_embedding",
    "layers.*.attn.qkv": "encoder.layers.*.self_attn.qkv",
    "layers.*.attn.proj": "encoder.layers.*.self_attn.projection",
}

AIMV2_NAMES: Names = {
    **CLIP_NAMES,
    "embed.proj": "embeddings.patch_embed",
    "embed.norm": "embeddings.rms_norm",
    "layers.*.norm1": "encoder.layers.*.rms_norm1",
    "layers.*.attn.qkv": tuple(f"encoder.layers.*.attention.{part}_proj" for part in "qkv"),
    "layers.*.attn.proj": "encoder.layers.*.attention.out_proj",
    "layers.*.norm2": "encoder.layers.*.rms_norm2",
    "layers.*.mlp.fc1": tuple(f"encoder.layers.*.ffn.{part}_proj" for part in ("gate", "up")),
    "layers.*.mlp.fc2": "encoder.layers.*.ffn.down_proj",
    "norm": "rms_norm",
}

# --- pretrained on images alone ----------------------------------------------------------------


VIT = Design(VIT_NAMES)


class ViTBackbone(PlainViTBackbone):
    design = VIT


class DeiTBackbone(PlainViTBackbone):
    design = Design({**VIT_NAMES, "embed.extra": "embeddings.distillation_token"}, positioned_tokens=2)


class ViTMAEBackbone(PlainViTBackbone):
    design = VIT


class ViTMSNBackbone(PlainViTBackbone):
    design = VIT


class IJepaBackbone(PlainViTBackbone):
    design = Design(VIT_NAMES, cls=False, positioned_tokens=0)


class Dinov2Backbone(PlainViTBackbone):
    config: Dinov2Config
    design = Design(DINOV2_NAMES, positions=resize_positions, scaled=True)

    def describe(self) -> Design:
        gated = replace(self.design, names=GATED_DINOV2_NAMES, mlp=swiglu)
        return gated if self.config.use_swiglu_ffn else self.design


class Dinov2WithRegistersBackbone(Dinov2Backbone):
    design = replace(Dinov2Backbone.design, positions=partial(resize_positions, antialias=True))


class YolosBackbone(PlainViTBackbone):
    config: YolosConfig
    design = Design(
        {
            **VIT_NAMES,
            "embed.suffix": "embeddings.detection_tokens",
            "between.positions": "encoder.mid_position_embeddings",
        },
        positions=resized_from_any_shape,
    )

    def __init__(self, config: YolosConfig) -> None:
        super().__init__(config)
        between = config.use_mid_position_embeddings and self.last > 1
        self.between = PositionsBetween(config) if between else None

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        """Positions are added to what a block is given, not to what it gives."""
        x = self.embed(pixels)
        yield x
        grid = self.config.patch_grid(pixels.shape[-2], pixels.shape[-1])
        positions = None if self.between is None else self.between(grid)
        for i, layer in enumerate(self.layers):
            x = layer(x if positions is None or i == 0 else x + positions[i - 1])
            yield x


class PositionsBetween(nn.Module):
    """Positions of all tokens for each block but the first."""

    size_cached_methods = ("forward",)

    def __init__(self, config: YolosConfig) -> None:
        super().__init__()
        self.grid = config.position_grid
        self.prefix, self.suffix = config.num_prefix_tokens, config.num_suffix_tokens
        tokens = self.prefix + self.grid[0] * self.grid[1] + self.suffix
        self.positions = nn.Parameter(torch.zeros(config.num_hidden_layers - 1, 1, tokens, config.hidden_size))

    def forward(self, grid: tuple[int, int]) -> Tensor:  # blocks - 1, 1 N C
        table = self.positions[:, 0]
        patches = resized_from_any_shape(table[:, self.prefix : -self.suffix], self.grid, grid).flatten(1, 2)
        return torch.cat([table[:, : self.prefix], patches, table[:, -self.suffix :]], 1)[:, None]


class RadioBackbone(PlainViTBackbone):
    config: RadioConfig
    design = Design(
        RADIO_NAMES,
        patches=LinearPatches,
        patch_bias=False,
        cls=False,
        positions=resized_and_cropped,
        positioned_tokens=0,
        flat=("extra",),
        scaled=True,
        final_norm=None,
    )

    def __init__(self, config: RadioConfig) -> None:
        super().__init__(config)
        self.mean, self.std = (nn.Buffer(torch.zeros(config.num_channels, 1, 1)) for _ in range(2))

    def describe(self) -> Design:
        return replace(self.design, names=GATED_RADIO_NAMES, mlp=swiglu) if self.config.use_swiglu_ffn else self.design

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        """The processor leaves normalizing to the model."""
        normalized = (pixels.float() - self.mean.float()) / self.std.float()
        yield from super().states(normalized.to(pixels.dtype))

    def optional_tensors(self) -> Mapping[str, float]:
        return {f"{BLOCK}.layer_scale{i}.lambda1": self.config.layerscale_value for i in (1, 2)}


# --- CLIP and its relatives ----------------------------------------------------------------------------------------


CLIP = Design(CLIP_NAMES, patch_bias=False, flat=("cls", "positions"), pre_norm=True)


class CLIPVisionBackbone(PlainViTBackbone):
    design = CLIP


class AltCLIPVisionBackbone(PlainViTBackbone):
    design = replace(CLIP, names=ALTCLIP_NAMES)


class ChineseCLIPVisionBackbone(PlainViTBackbone):
    design = CLIP


class CLIPSegVisionBackbone(PlainViTBackbone):
    design = CLIP


class MetaClip2VisionBackbone(PlainViTBackbone):
    design = CLIP


class GitVisionBackbone(PlainViTBackbone):
    design = replace(CLIP, names=GIT_NAMES)


class Kosmos2VisionBackbone(PlainViTBackbone):
    design = replace(CLIP, names=KOSMOS2_NAMES)


OWLVIT = replace(CLIP, names=OWLVIT_NAMES)


class OwlViTVisionBackbone(PlainViTBackbone):
    design = OWLVIT


class Owlv2VisionBackbone(PlainViTBackbone):
    design = OWLVIT


class MLCDVisionBackbone(PlainViTBackbone):
    config: MLCDVisionConfig
    design = replace(
        CLIP,
        names={**CLIP_NAMES, "cls_angles": "class_pos_emb"},
        positions=None,
        attention=lambda config: RotaryAttention(config.hidden_size, config.num_attention_heads),
    )

    def __init__(self, config: MLCDVisionConfig) -> None:
        super().__init__(config)
        self.cls_angles = nn.Parameter(torch.zeros(1, config.head_dim // 2)) if self.last else None

    def context(self, x: Tensor, pixels: Tensor) -> tuple[Tensor, ...]:
        if self.cls_angles is None:
            return ()
        grid = self.config.patch_grid(pixels.shape[-2], pixels.shape[-1])
        patches = patch_angles(grid, self.config.head_dim, self.config.theta, x.device)
        angles = torch.cat([self.cls_angles.to(patches.dtype), patches]).tile(2)  # N D
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


@size_cached
def patch_angles(grid: tuple[int, int], dim: int, theta: float, device: torch.device) -> Tensor:
    """Half of the angles of every patch (H·W D/2), which rise with its row and with its column."""
    frequencies = 1 / theta ** (torch.arange(0, dim // 2, 2) / (dim // 2))
    down, right = (torch.arange(length)[:, None] * frequencies for length in grid)
    both = torch.cat(torch.broadcast_tensors(down[:, None], right[None]), -1)
    return both.flatten(0, 1).to(device)


BLIP = Design(BLIP_NAMES)


class BlipVisionBackbone(PlainViTBackbone):
    design = BLIP


class Blip2VisionBackbone(PlainViTBackbone):
    design = BLIP


class InstructBlipVisionBackbone(PlainViTBackbone):
    design = BLIP


# --- SigLIP and its relatives, without a class token ---------------------------------------------------------------


SIGLIP = Design(CLIP_NAMES, cls=False, positioned_tokens=0, flat=("positions",))


class SiglipVisionBackbone(PlainViTBackbone):
    design = SIGLIP


class Siglip2VisionBackbone(PlainViTBackbone):
    design = replace(SIGLIP, patches=LinearPatchesChannelsLast, positions=resized_smoothly)


IDEFICS = replace(SIGLIP, positions=looked_up)


class Idefics2VisionBackbone(PlainViTBackbone):
    design = IDEFICS


class Idefics3VisionBackbone(PlainViTBackbone):
    design = IDEFICS


class SmolVLMVisionBackbone(PlainViTBackbone):
    design = IDEFICS


class JanusVisionBackbone(PlainViTBackbone):
    design = replace(SIGLIP, names=JANUS_NAMES)


# --- others pretrained with texts ----------------------------------------------------------------------------------


class InternVLVisionBackbone(PlainViTBackbone):
    config: InternVLVisionConfig
    design = Design(INTERNVL_NAMES, positions=resize_positions, scaled=True)

    def describe(self) -> Design:
        """With mean pooling the norm follows the pooling, so there is none for maps."""
        config = self.config
        return replace(
            self.design,
            positions=self.design.positions if config.use_absolute_position_embeddings else None,
            attention=normed_attention if config.use_qk_norm else self.design.attention,
            norm=nn.RMSNorm if config.norm_type == "rms_norm" else nn.LayerNorm,
            final_norm=None if config.use_mean_pooling else nn.LayerNorm,
        )


def normed_attention(config: InternVLVisionConfig) -> nn.Module:
    return NormedAttention(config.hidden_size, config.num_attention_heads, config.qkv_bias)


class Aimv2VisionBackbone(PlainViTBackbone):
    config: Aimv2VisionConfig
    design = Design(
        AIMV2_NAMES,
        patch_norm=True,
        cls=False,
        positions=fixed,
        positioned_tokens=0,
        flat=("positions",),
        attention=lambda config: Attention(
            config.hidden_size, config.num_attention_heads, config.qkv_bias, proj_bias=config.qkv_bias
        ),
        mlp=lambda config: GatedMlp(config.hidden_size, config.mlp_size, config.hidden_act, config.mlp_bias),
        norm=nn.RMSNorm,
        final_norm=nn.RMSNorm,
    )

    def describe(self) -> Design:
        native = replace(self.design, positions=None, computed_positions=sines)
        return native if self.config.is_native else self.design
