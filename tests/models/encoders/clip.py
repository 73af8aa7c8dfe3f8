"""Encoders that come with a text part."""

import transformers

from .oracle import TEXT, Encoder, Whole, with_text

SWITCHES = {
    "plain": {},
    "another activation": {"hidden_act": "gelu"},
    "coarse norms": {"layer_norm_eps": 1e-2},
    "not normed": {"apply_layernorm": False},
    "rows of tokens": {"reshape_hidden_states": False},
    "made for larger images": {"image_size": 72, "num_hidden_layers": 1},
    "larger patches": {"patch_size": 16, "image_size": 48},
    "wide": {"hidden_size": 40, "num_attention_heads": 5, "intermediate_size": 80, "num_hidden_layers": 3},
}
ONE_CHANNEL = {"one channel": {"num_channels": 1}}
BLOCKS = "encoder.layers"


def clip(model_type, stem, *wholes, **more):
    configs = with_text(f"{stem}Config")
    return Encoder(
        model_type,
        f"{stem}VisionModel",
        BLOCKS,
        "post_layernorm",
        configs=SWITCHES | ONE_CHANNEL,
        wholes=(Whole(f"{stem}Model", configs, "vision_model"), *wholes),
        **more,
    )


CLIP = clip(
    "clip_vision_model",
    "CLIP",
    Whole("CLIPForImageClassification", with_text("CLIPConfig"), "vision_model"),
    Whole("CLIPVisionModelWithProjection", lambda vision: transformers.CLIPVisionConfig(**vision), "vision_model"),
)
ALTCLIP = clip("altclip_vision_model", "AltCLIP")
CHINESE_CLIP = clip("chinese_clip_vision_model", "ChineseCLIP")
CLIPSEG = clip(
    "clipseg_vision_model",
    "CLIPSeg",
    Whole("CLIPSegForImageSegmentation", with_text("CLIPSegConfig", extract_layers=[0]), "clip.vision_model"),
)
METACLIP = clip(
    "metaclip_2_vision_model",
    "MetaClip2",
    Whole("MetaClip2ForImageClassification", with_text("MetaClip2Config"), "vision_model"),
)


def nested(model_type, stem, *wholes, inner="vision_model"):
    configs = SWITCHES | ONE_CHANNEL
    cls = f"{stem}VisionModel"
    return Encoder(model_type, cls, BLOCKS, "post_layernorm", inner, configs=configs, wholes=wholes)


OWLVIT = nested(
    "owlvit_vision_model",
    "OwlViT",
    Whole("OwlViTModel", with_text("OwlViTConfig"), "vision_model"),
    Whole("OwlViTForObjectDetection", with_text("OwlViTConfig"), "owlvit.vision_model"),
)
OWLV2 = nested(
    "owlv2_vision_model",
    "Owlv2",
    Whole("Owlv2Model", with_text("Owlv2Config"), "vision_model"),
    Whole("Owlv2ForObjectDetection", with_text("Owlv2Config"), "owlv2.vision_model"),
)


def git(vision):
    return transformers.GitConfig(vision_config=vision, **TEXT)


GIT = nested(
    "git_vision_model",
    "Git",
    Whole("GitModel", git, "image_encoder.vision_model"),
    Whole("GitForCausalLM", git, "git.image_encoder.vision_model"),
)

SIGLIP = Encoder(
    "siglip_vision_model",
    "SiglipVisionModel",
    BLOCKS,
    "post_layernorm",
    prefix=0,
    configs=SWITCHES | ONE_CHANNEL | {"no head": {"vision_use_head": False}},
    wholes=(
        Whole("SiglipModel", with_text("SiglipConfig"), "vision_model"),
        Whole("SiglipForImageClassification", with_text("SiglipConfig"), "vision_model"),
    ),
)

BLIP = Encoder(
    "blip_vision_model",
    "BlipVisionModel",
    BLOCKS,
    "post_layernorm",
    configs=SWITCHES,
    wholes=(
        Whole("BlipModel", with_text("BlipConfig"), "vision_model"),
        Whole("BlipForConditionalGeneration", with_text("BlipConfig"), "vision_model"),
        Whole("BlipForImageTextRetrieval", with_text("BlipConfig"), "vision_model"),
    ),
)

AIMV2_SWITCHES = {key: value for key, value in SWITCHES.items() if key != "coarse norms"}
AIMV2 = Encoder(
    "aimv2_vision_model",
    "Aimv2VisionModel",
    BLOCKS,
    "rms_norm",
    prefix=0,
    configs=AIMV2_SWITCHES
    | ONE_CHANNEL
    | {
        "coarse norms": {"rms_norm_eps": 1e-2},
        "biases": {"qkv_bias": True, "mlp_bias": True},
        "native": {"is_native": True},
        "no head": {"use_head": False},
    },
    resizes=False,
    wholes=(Whole("Aimv2Model", with_text("Aimv2Config"), "vision_model"),),
)

MLCD = Encoder(
    "mlcd_vision_model",
    "MLCDVisionModel",
    BLOCKS,
    "post_layernorm",
    configs=SWITCHES
    | ONE_CHANNEL
    | {
        "shorter waves": {"rope_parameters": {"rope_type": "axial", "rope_theta": 50.0}},
        "wide": {"hidden_size": 32, "num_attention_heads": 2},
    },
    resizes=False,
)

ENCODERS = (CLIP, ALTCLIP, CHINESE_CLIP, CLIPSEG, METACLIP, OWLVIT, OWLV2, GIT, SIGLIP, BLIP, AIMV2, MLCD)
