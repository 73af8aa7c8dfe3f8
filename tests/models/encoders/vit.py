"""ViT and its closest relatives."""

import torch
import transformers

from .oracle import TINY, Encoder, Whole


def whole(cls, path):
    stem = cls.partition("For")[0]
    return Whole(cls, lambda config: getattr(transformers, f"{stem}Config")(**config), path)


SWITCHES = {
    "plain": {},
    "no qkv bias": {"qkv_bias": False},
    "another activation": {"hidden_act": "quick_gelu"},
    "coarse norms": {"layer_norm_eps": 1e-2},
    "not normed": {"apply_layernorm": False},
    "rows of tokens": {"reshape_hidden_states": False},
    "made for larger images": {"image_size": 72, "num_hidden_layers": 1},
    "larger patches": {"patch_size": 16, "image_size": 48},
    "one channel": {"num_channels": 1},
}

VIT = Encoder(
    "vit",
    "ViTModel",
    "layers",
    "layernorm",
    configs=SWITCHES,
    wholes=(whole("ViTForImageClassification", "vit"), whole("ViTForMaskedImageModeling", "vit")),
)
DEIT = Encoder(
    "deit",
    "DeiTModel",
    "layers",
    "layernorm",
    prefix=2,
    configs=SWITCHES,
    wholes=(
        whole("DeiTForImageClassification", "deit"),
        whole("DeiTForImageClassificationWithTeacher", "deit"),
        whole("DeiTForMaskedImageModeling", "deit"),
    ),
)
IJEPA = Encoder(
    "ijepa",
    "IJepaModel",
    "layers",
    "layernorm",
    prefix=0,
    configs=SWITCHES,
    wholes=(whole("IJepaForImageClassification", "ijepa"),),
)
MSN = Encoder(
    "vit_msn",
    "ViTMSNModel",
    "layers",
    "layernorm",
    configs=SWITCHES,
    wholes=(whole("ViTMSNForImageClassification", "vit"),),
)


def in_order(encoder, pixels):
    """All patches, in order: nothing is masked, and the noise that orders patches rises."""
    encoder.config.mask_ratio = 0.0
    count = (pixels.shape[-2] // encoder.config.patch_size) * (pixels.shape[-1] // encoder.config.patch_size)
    noise = torch.arange(count).expand(pixels.shape[0], -1).float()
    encoder(pixels, noise=noise, interpolate_pos_encoding=True)


MAE = Encoder(
    "vit_mae",
    "ViTMAEModel",
    "layers",
    "layernorm",
    configs=SWITCHES,
    call=in_order,
    wholes=(
        Whole(
            "ViTMAEForPreTraining",
            lambda config: transformers.ViTMAEConfig(
                **config, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2
            ),
            "vit",
        ),
    ),
)
YOLOS = Encoder(
    "yolos",
    "YolosModel",
    "encoder.layer",
    "layernorm",
    suffix=lambda config: config["num_detection_tokens"],
    small=TINY | {"image_size": (32, 48), "num_detection_tokens": 5, "num_hidden_layers": 3},
    configs=SWITCHES
    | {
        "made for larger images": {"image_size": (64, 24)},
        "larger patches": {"patch_size": 16, "image_size": (64, 48)},
        "no positions between blocks": {"use_mid_position_embeddings": False},
        "one block": {"num_hidden_layers": 1, "use_mid_position_embeddings": False},
    },
    sizes=((32, 48), (41, 67), (48, 16)),
    resizes=False,
    wholes=(whole("YolosForObjectDetection", "vit"),),
)

ENCODERS = (VIT, DEIT, IJEPA, MSN, MAE, YOLOS)
