"""Plain ViTs that transformers has no backbone class for: what their config.json files hold, with published defaults.

What their networks have in common, and what distinguishes them, is in `models/plain_vit.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from .fields import IntOrPair, bounded, pair
from .plain import PlainConfig, RotaryConfig


@dataclass(kw_only=True)
class PlainViTConfig(PlainConfig):
    """What the configurations of plain ViTs share."""

    map_description: ClassVar[str] = (
        "each block's patch tokens, normed by the model's last norm (if it has one) unless the config says not to"
    )
    prefix_tokens: ClassVar[int] = 1

    apply_layernorm: bool = True

    @property
    def num_prefix_tokens(self) -> int:
        return self.prefix_tokens

    @property
    def mlp_size(self) -> int:
        """Channels inside an MLP."""
        raise NotImplementedError

    @property
    def norm_eps(self) -> float:
        return self.layer_norm_eps

    @property
    def position_grid(self) -> tuple[int, int]:
        """Rows and columns of the position table."""
        return self.patch_grid(*self.default_size())


@dataclass(kw_only=True)
class SizedMlpConfig(PlainViTConfig):
    """A plain ViT whose config says how many channels an MLP has inside."""

    intermediate_size: int = bounded(3072)

    @property
    def mlp_size(self) -> int:
        return self.intermediate_size


@dataclass(kw_only=True)
class MlpRatioConfig(PlainViTConfig):
    """A plain ViT whose config says how much wider an MLP is inside."""

    mlp_ratio: float = bounded(4, least=0)

    @property
    def mlp_size(self) -> int:
        return int(self.hidden_size * self.mlp_ratio)


# --- pretrained on images alone ------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class ViTConfig(SizedMlpConfig):
    """ViT (Dosovitskiy et al. 2020); also the type of DINO's checkpoints (Caron et al. 2021) and many others."""

    model_type: ClassVar[str] = "vit"

    layer_norm_eps: float = bounded(1e-12, least=0)
    qkv_bias: bool = True


@dataclass(kw_only=True)
class DeiTConfig(ViTConfig):
    """DeiT (Touvron et al. 2020): a ViT with a second class token, for distillation."""

    model_type: ClassVar[str] = "deit"
    prefix_tokens: ClassVar[int] = 2


@dataclass(kw_only=True)
class IJepaConfig(ViTConfig):
    """I-JEPA (Assran et al. 2023): a ViT without a class token."""

    model_type: ClassVar[str] = "ijepa"
    prefix_tokens: ClassVar[int] = 0


@dataclass(kw_only=True)
class ViTMAEConfig(ViTConfig):
    """MAE's encoder (He et al. 2021): it sees all patches here, in order; none is masked."""

    model_type: ClassVar[str] = "vit_mae"


@dataclass(kw_only=True)
class ViTMSNConfig(ViTConfig):
    """MSN (Assran et al. 2022)."""

    model_type: ClassVar[str] = "vit_msn"

    layer_norm_eps: float = bounded(1e-6, least=0)


@dataclass(kw_only=True)
class YolosConfig(ViTConfig):
    """YOLOS (Fang et al. 2021): a ViT with detection tokens after its patches, and positions between its blocks."""

    model_type: ClassVar[str] = "yolos"

    image_size: IntOrPair = bounded((512, 864))
    num_detection_tokens: int = bounded(100)
    use_mid_position_embeddings: bool = True

    @property
    def num_suffix_tokens(self) -> int:
        return self.num_detection_tokens


@dataclass(kw_only=True)
class RadioConfig(MlpRatioConfig):
    """RADIO (Ranzinger et al. 2023): a ViT distilled from several models, with a class token for each of them."""

    model_type: ClassVar[str] = "radio"

    hidden_size: int = bounded(1280)
    num_hidden_layers: int = bounded(32, least=0)
    num_attention_heads: int = bounded(16)
    qkv_bias: bool = True
    use_swiglu_ffn: bool = False
    layerscale_value: float = 1.0
    max_img_size: int = bounded(2048)
    num_cls_tokens: int = bounded(3)
    num_registers: int = bounded(7, least=0)

    @property
    def num_prefix_tokens(self) -> int:
        return self.num_cls_tokens + self.num_registers

    @property
    def position_grid(self) -> tuple[int, int]:
        return self.patch_grid(self.max_img_size, self.max_img_size)


# --- pretrained with texts: CLIP and its relatives -----------------------------------------------------------------


@dataclass(kw_only=True)
class CLIPVisionConfig(SizedMlpConfig):
    """CLIP's image encoder (Radford et al. 2021): a ViT with a norm before its first block."""

    model_type: ClassVar[str] = "clip_vision_model"

    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = bounded(1e-5, least=0)
    patch_size: IntOrPair = bounded(32)


@dataclass(kw_only=True)
class AltCLIPVisionConfig(CLIPVisionConfig):
    """AltCLIP's image encoder (Chen et al. 2022)."""

    model_type: ClassVar[str] = "altclip_vision_model"


@dataclass(kw_only=True)
class ChineseCLIPVisionConfig(CLIPVisionConfig):
    """Chinese CLIP's image encoder (Yang et al. 2022)."""

    model_type: ClassVar[str] = "chinese_clip_vision_model"


@dataclass(kw_only=True)
class CLIPSegVisionConfig(CLIPVisionConfig):
    """CLIPSeg's image encoder (Lüddecke & Ecker 2021)."""

    model_type: ClassVar[str] = "clipseg_vision_model"


@dataclass(kw_only=True)
class MetaClip2VisionConfig(CLIPVisionConfig):
    """MetaCLIP 2's image encoder (Chuang et al. 2025)."""

    model_type: ClassVar[str] = "metaclip_2_vision_model"


@dataclass(kw_only=True)
class GitVisionConfig(CLIPVisionConfig):
    """GIT's image encoder (Wang et al. 2022)."""

    model_type: ClassVar[str] = "git_vision_model"

    patch_size: IntOrPair = bounded(16)


@dataclass(kw_only=True)
class Kosmos2VisionConfig(CLIPVisionConfig):
    """Kosmos-2's image encoder (Peng et al. 2023)."""

    model_type: ClassVar[str] = "kosmos_2_vision_model"

    hidden_size: int = bounded(1024)
    intermediate_size: int = bounded(4096)
    num_hidden_layers: int = bounded(24, least=0)
    num_attention_heads: int = bounded(16)
    patch_size: IntOrPair = bounded(14)


@dataclass(kw_only=True)
class OwlViTVisionConfig(CLIPVisionConfig):
    """OWL-ViT's image encoder (Minderer et al. 2022)."""

    model_type: ClassVar[str] = "owlvit_vision_model"

    image_size: IntOrPair = bounded(768)


@dataclass(kw_only=True)
class Owlv2VisionConfig(OwlViTVisionConfig):
    """OWLv2's image encoder (Minderer et al. 2023)."""

    model_type: ClassVar[str] = "owlv2_vision_model"

    patch_size: IntOrPair = bounded(16)


@dataclass(kw_only=True)
class MLCDVisionConfig(CLIPVisionConfig, RotaryConfig):
    """MLCD (An et al. 2024): a CLIP encoder with rotary positions, trained on clusters of images."""

    model_type: ClassVar[str] = "mlcd_vision_model"

    hidden_size: int = bounded(1664)
    intermediate_size: int = bounded(8192)
    num_hidden_layers: int = bounded(48, least=0)
    num_attention_heads: int = bounded(16)
    image_size: IntOrPair = bounded(336)
    patch_size: IntOrPair = bounded(14)
    hidden_act: str = "gelu"


@dataclass(kw_only=True)
class BlipVisionConfig(SizedMlpConfig):
    """BLIP's image encoder (Li et al. 2022)."""

    model_type: ClassVar[str] = "blip_vision_model"

    layer_norm_eps: float = bounded(1e-5, least=0)
    image_size: IntOrPair = bounded(384)


@dataclass(kw_only=True)
class Blip2VisionConfig(SizedMlpConfig):
    """BLIP-2's image encoder (Li et al. 2023), EVA-CLIP's ViT-g."""

    model_type: ClassVar[str] = "blip_2_vision_model"

    hidden_size: int = bounded(1408)
    intermediate_size: int = bounded(6144)
    num_hidden_layers: int = bounded(39, least=0)
    num_attention_heads: int = bounded(16)
    patch_size: IntOrPair = bounded(14)
    qkv_bias: bool = True


@dataclass(kw_only=True)
class InstructBlipVisionConfig(Blip2VisionConfig):
    """InstructBLIP's image encoder (Dai et al. 2023)."""

    model_type: ClassVar[str] = "instructblip_vision_model"


@dataclass(kw_only=True)
class SiglipVisionConfig(SizedMlpConfig):
    """SigLIP's image encoder (Zhai et al. 2023), and SigLIP 2's of a fixed resolution (Tschannen et al. 2025)."""

    model_type: ClassVar[str] = "siglip_vision_model"
    prefix_tokens: ClassVar[int] = 0

    hidden_act: str = "gelu_pytorch_tanh"


@dataclass(kw_only=True)
class Siglip2VisionConfig(SiglipVisionConfig):
    """SigLIP 2's NaFlex image encoder (Tschannen et al. 2025): it keeps an image's aspect ratio."""

    model_type: ClassVar[str] = "siglip2_vision_model"

    num_patches: int = bounded(256)

    def default_size(self) -> tuple[int, int]:
        rows, cols = pair(self.patch_size)
        side = math.isqrt(self.num_patches)
        return side * rows, side * cols


@dataclass(kw_only=True)
class Idefics2VisionConfig(SiglipVisionConfig):
    """Idefics2's image encoder (Laurençon et al. 2024): SigLIP's, with positions by fractions of the image."""

    model_type: ClassVar[str] = "idefics2_vision"

    patch_size: IntOrPair = bounded(32)


@dataclass(kw_only=True)
class Idefics3VisionConfig(Idefics2VisionConfig):
    """Idefics3's image encoder (Laurençon et al. 2024)."""

    model_type: ClassVar[str] = "idefics3_vision"

    hidden_size: int = bounded(1152)
    num_attention_heads: int = bounded(16)


@dataclass(kw_only=True)
class SmolVLMVisionConfig(Idefics3VisionConfig):
    """SmolVLM's image encoder (Marafioti et al. 2025)."""

    model_type: ClassVar[str] = "smolvlm_vision"


@dataclass(kw_only=True)
class JanusVisionConfig(MlpRatioConfig):
    """Janus' image encoder (Wu et al. 2024), SigLIP's."""

    model_type: ClassVar[str] = "janus_vision_model"
    supported: ClassVar = {"use_qk_norm": (False,)}
    prefix_tokens: ClassVar[int] = 0

    hidden_size: int = bounded(1024)
    num_hidden_layers: int = bounded(24, least=0)
    num_attention_heads: int = bounded(16)
    image_size: IntOrPair = bounded(384)
    attention_bias: bool = True
    use_qk_norm: bool = False

    @property
    def qkv_bias(self) -> bool:
        return self.attention_bias


@dataclass(kw_only=True)
class InternVLVisionConfig(SizedMlpConfig):
    """InternVL's image encoder (Chen et al. 2023), InternViT."""

    model_type: ClassVar[str] = "internvl_vision"
    supported: ClassVar = {"norm_type": ("layer_norm", "rms_norm")}

    hidden_size: int = bounded(1024)
    intermediate_size: int = bounded(4096)
    num_hidden_layers: int = bounded(24, least=0)
    num_attention_heads: int = bounded(16)
    image_size: IntOrPair = bounded((448, 448))
    patch_size: IntOrPair = bounded((14, 14))
    attention_bias: bool = False
    use_qk_norm: bool = False
    norm_type: str = "layer_norm"
    use_absolute_position_embeddings: bool = True
    use_mean_pooling: bool = True

    @property
    def qkv_bias(self) -> bool:
        return self.attention_bias


@dataclass(kw_only=True)
class Aimv2VisionConfig(SizedMlpConfig):
    """AIMv2's image encoder (Fini et al. 2024). Its native kind computes positions and takes images of any size."""

    model_type: ClassVar[str] = "aimv2_vision_model"
    prefix_tokens: ClassVar[int] = 0

    hidden_size: int = bounded(1024)
    intermediate_size: int = bounded(2816)
    num_hidden_layers: int = bounded(24, least=0)
    num_attention_heads: int = bounded(8)
    hidden_act: str = "silu"
    patch_size: IntOrPair = bounded(14)
    rms_norm_eps: float = bounded(1e-5, least=0)
    qkv_bias: bool = False
    mlp_bias: bool = False
    is_native: bool = False

    def check(self) -> None:
        super().check()
        if self.is_native and self.hidden_size % 4:
            raise ValueError(f"hidden_size {self.hidden_size} is not divisible by 4, as sines on two axes need it.")

    @property
    def takes_any_size(self) -> bool:
        return self.is_native

    @property
    def norm_eps(self) -> float:
        return self.rms_norm_eps
