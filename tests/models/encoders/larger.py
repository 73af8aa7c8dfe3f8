"""Encoders of vision-language models, and of others that don't follow CLIP."""

import torch
import transformers

from .clip import BLOCKS, ONE_CHANNEL, SWITCHES
from .oracle import TEXT, Encoder, Whole, with_text

LLAMA = TEXT | {"model_type": "llama", "num_key_value_heads": 2, "pad_token_id": 0}
QFORMER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
QFORMER |= {"vocab_size": 20}
OPT = {"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 24}
OPT |= {"vocab_size": 99, "word_embed_proj_dim": 16, "max_position_embeddings": 20}


def vision_language(name, **more):
    return lambda vision: getattr(transformers, name)(vision_config=vision, text_config=LLAMA, **more)


def blip2(name):
    return lambda vision: getattr(transformers, name)(
        vision_config=vision, text_config=OPT, qformer_config=QFORMER, num_query_tokens=3
    )


BLIP2_SWITCHES = SWITCHES | {"no qkv bias": {"qkv_bias": False}}
BLIP2 = Encoder(
    "blip_2_vision_model",
    "Blip2VisionModel",
    BLOCKS,
    "post_layernorm",
    configs=BLIP2_SWITCHES,
    wholes=(
        Whole("Blip2ForConditionalGeneration", blip2("Blip2Config"), "vision_model"),
        Whole("Blip2ForImageTextRetrieval", blip2("Blip2Config"), "vision_model"),
    ),
)
INSTRUCTBLIP = Encoder(
    "instructblip_vision_model",
    "InstructBlipVisionModel",
    BLOCKS,
    "post_layernorm",
    configs=BLIP2_SWITCHES,
    wholes=(Whole("InstructBlipForConditionalGeneration", blip2("InstructBlipConfig"), "vision_model"),),
)


def kosmos2(vision):
    text = {"vocab_size": 99, "embed_dim": 16, "layers": 1, "attention_heads": 2, "ffn_dim": 24}
    return transformers.Kosmos2Config(vision_config=vision, text_config=text, latent_query_num=3)


KOSMOS2 = Encoder(
    "kosmos_2_vision_model",
    "models.kosmos2.modeling_kosmos2.Kosmos2VisionModel",
    BLOCKS,
    "post_layernorm",
    "model",
    configs=SWITCHES | ONE_CHANNEL,
    wholes=(
        Whole("Kosmos2Model", kosmos2, "vision_model.model"),
        Whole("Kosmos2ForConditionalGeneration", kosmos2, "vision_model.model"),
    ),
)


def idefics(model_type, stem, cls, **more):
    config = vision_language(f"{stem}Config", **more)
    return Encoder(
        model_type,
        cls,
        BLOCKS,
        "post_layernorm",
        prefix=0,
        configs=SWITCHES | ONE_CHANNEL,
        sizes=((32, 32), (41, 67), (48, 16), (104, 120)),
        resizes=False,
        wholes=(
            Whole(f"{stem}Model", config, "vision_model"),
            Whole(f"{stem}ForConditionalGeneration", config, "model.vision_model"),
        ),
    )


PERCEIVER = {"hidden_size": 16, "resampler_n_latents": 2, "resampler_depth": 1, "resampler_n_heads": 2}
PERCEIVER |= {"num_key_value_heads": 1, "resampler_head_dim": 8}
IDEFICS2 = idefics(
    "idefics2_vision",
    "Idefics2",
    "models.idefics2.modeling_idefics2.Idefics2VisionTransformer",
    perceiver_config=PERCEIVER,
)
IDEFICS3 = idefics("idefics3_vision", "Idefics3", "Idefics3VisionTransformer")
SMOLVLM = idefics("smolvlm_vision", "SmolVLM", "SmolVLMVisionTransformer")

VQ = {"embed_dim": 4, "num_embeddings": 8, "base_channels": 32, "channel_multiplier": [1], "num_res_blocks": 1}
VQ |= {"latent_channels": 32, "projection_dim": 16, "image_token_embed_dim": 16}
JANUS = Encoder(
    "janus_vision_model",
    "JanusVisionModel",
    BLOCKS,
    "post_layernorm",
    prefix=0,
    configs={key: value for key, value in SWITCHES.items() if key != "wide"}
    | ONE_CHANNEL
    | {"no qkv bias": {"attention_bias": False}, "wide": {"mlp_ratio": 3.5, "num_attention_heads": 2}},
    wholes=(
        Whole("JanusModel", vision_language("JanusConfig", vq_config=VQ), "vision_model"),
        Whole("JanusForConditionalGeneration", vision_language("JanusConfig", vq_config=VQ), "model.vision_model"),
    ),
)

INTERNVL = Encoder(
    "internvl_vision",
    "InternVLVisionModel",
    "encoder.layer",
    "layernorm",
    small=SWITCHES["plain"]
    | {"image_size": (32, 32), "patch_size": (8, 8), "use_mean_pooling": False}
    | {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40},
    configs={
        "plain": {},
        "mean pooling": {"use_mean_pooling": True},
        "not normed": {"apply_layernorm": False},
        "rows of tokens": {"reshape_hidden_states": False},
        "rms norms": {"norm_type": "rms_norm"},
        "normed queries": {"use_qk_norm": True, "attention_bias": True},
        "biases": {"attention_bias": True, "hidden_act": "quick_gelu"},
        "no positions": {"use_absolute_position_embeddings": False},
        "coarse norms": {"layer_norm_eps": 1e-2},
        "made for larger images": {"image_size": (72, 72), "num_hidden_layers": 1},
        "one channel": {"num_channels": 1},
    },
    resizes=False,
    wholes=(
        Whole("InternVLModel", vision_language("InternVLConfig"), "vision_tower"),
        Whole("InternVLForConditionalGeneration", vision_language("InternVLConfig"), "model.vision_tower"),
    ),
)

RADIO = Encoder(
    "radio",
    "RadioModel",
    "encoder.layer",
    None,
    prefix=10,
    small={"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 32, "patch_size": 8}
    | {"max_img_size": 64},
    configs={
        "plain": {},
        "gated": {"use_swiglu_ffn": True},
        "narrow": {"mlp_ratio": 1.5, "hidden_act": "quick_gelu"},
        "no qkv bias": {"qkv_bias": False},
        "rows of tokens": {"reshape_hidden_states": False},
        "made for larger images": {"max_img_size": 256, "num_hidden_layers": 1},
        "smaller patches": {"patch_size": 4},
        "coarse norms": {"layer_norm_eps": 1e-2},
        "one channel": {"num_channels": 1, "norm_mean": [0.4], "norm_std": [0.3]},
    },
    sizes=((32, 32), (40, 64), (48, 16), (88, 96)),  # transformers takes whole patches only
    resizes=False,
)


def in_patches(encoder, pixels):
    size = encoder.config.patch_size
    patches = pixels.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 4, 5, 1)
    grid = patches.shape[1:3]
    mask = torch.ones(pixels.shape[0], grid[0] * grid[1], dtype=torch.long)
    encoder(patches.flatten(3).flatten(1, 2), mask, torch.tensor([grid] * pixels.shape[0]))


NAFLEX_SWITCHES = {
    key: value for key, value in (SWITCHES | ONE_CHANNEL).items() if "image" not in key and "patch" not in key
}
SIGLIP2 = Encoder(
    "siglip2_vision_model",
    "Siglip2VisionModel",
    BLOCKS,
    "post_layernorm",
    prefix=0,
    small={"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    | {"patch_size": 8, "num_patches": 16},
    configs=NAFLEX_SWITCHES | {"larger patches": {"patch_size": 16}, "made for larger images": {"num_patches": 81}},
    sizes=((32, 32), (41, 67), (48, 16)),
    resizes=False,
    call=in_patches,
    wholes=(Whole("Siglip2Model", with_text("Siglip2Config"), "vision_model"),),
)

ENCODERS = (BLIP2, INSTRUCTBLIP, KOSMOS2, IDEFICS2, IDEFICS3, SMOLVLM, JANUS, INTERNVL, RADIO, SIGLIP2)
