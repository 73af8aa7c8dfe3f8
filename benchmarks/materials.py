"""The inputs of the benchmarks: checkpoints with random weights, and photographs of two sizes."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

FIXTURES = Path(__file__).parent.parent / "fixtures"
PHOTO = FIXTURES / "photos" / "grace_hopper.jpg"

MODELS = {
    "swin-tiny": ("swin", {}),
    "resnet-50": ("resnet", {}),
    "convnext-tiny": ("convnext", {}),
    "dinov2-small": (
        "dinov2",
        {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "patch_size": 14, "image_size": 518},
    ),
}
TIMM = {"vit-small": "vit_small_patch16_224"}
TIMM_EQUIVALENTS = {
    "swin-tiny": ("swin_tiny_patch4_window7_224", {}),
    "resnet-50": ("resnet50", {}),
    "convnext-tiny": ("convnext_tiny", {}),
    "dinov2-small": ("vit_small_patch14_dinov2", {"img_size": 224}),
    "vit-small": ("vit_small_patch16_224", {}),
}
"""The same architectures in timm: its name, and the arguments that set the image size."""

PROCESSORS = {
    "swin": {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 3},
    "resnet": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875},
    "convnext": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875},
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "resample": 3,
    },
}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def make_model(name: str, parent: Path) -> Path:
    """The folder of a checkpoint with the published layout, with the same files as a Hub repository."""
    from safetensors.torch import save_file

    from backbone_cli import registry
    from backbone_cli.auto import AutoBackbone
    from backbone_cli.checkpoint import checkpoint_tensors

    folder = parent / name
    if not (folder / "model.safetensors").exists() and name in TIMM:
        import timm
        import torch

        torch.manual_seed(0)
        timm.models.save_for_hf(timm.create_model(TIMM[name]), folder, safe_serialization=True)
    if not (folder / "model.safetensors").exists():
        model_type, options = MODELS[name]
        config = registry.find_family(model_type).config_class()(**options)
        config.out_indices = list(range(len(config.stage_names)))
        tensors = checkpoint_tensors(AutoBackbone.from_config(config))
        config.out_indices = [-1]
        config.save_pretrained(folder)
        processor = PROCESSORS[model_type] | IMAGENET
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_photos(parent: Path, count: int, size: tuple[int, int]) -> Path:
    """The folder of different crops of one photograph, resized to one size, as JPEGs."""
    folder = parent / f"photos-{size[0]}x{size[1]}-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(PHOTO) as photo:
        for i in range(count):
            path = folder / f"{i:04d}.jpg"
            if not path.exists():
                box = (i % 8, i // 8, photo.width - 8 + i % 8, photo.height - 8 + i // 8)
                photo.convert("RGB").crop(box).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return folder
