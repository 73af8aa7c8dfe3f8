"""How much bfloat16 differs from float32 in each family: `python -m benchmarks.precision`.

Uses published layouts, random weights and one photograph. Prints the table of docs/speed.md: the root mean square of
the difference as a share of the last stage's standard deviation, and the cosine similarity of the two maps.
"""

from __future__ import annotations

import copy

import torch
from PIL import Image

from backbone_cli import registry
from backbone_cli.auto import AutoBackbone
from backbone_cli.images.processor import ImageProcessor
from benchmarks.materials import PHOTO


def main() -> None:
    print("| family | bfloat16: rms | cosine |\n| --- | --- | --- |")
    for family in registry.families():
        if family.model_type == "timm_backbone":
            continue
        model = AutoBackbone.from_config(family.config_class()())
        size = model.config.default_size()
        processor = ImageProcessor.from_dict(family.pixels, default_class="ViTImageProcessor").with_size(size)
        with Image.open(PHOTO) as photo:
            pixels = processor(photo, return_tensors="pt").pixel_values
        with torch.inference_mode():
            expected = model(pixels).feature_maps[0]
            actual = copy.deepcopy(model).bfloat16()(pixels.bfloat16()).feature_maps[0].float()
        rms = ((actual - expected).square().mean().sqrt() / expected.std()).item()
        cosine = torch.nn.functional.cosine_similarity(actual.flatten(), expected.flatten(), 0).item()
        print(f"| {family.model_type} | {rms:.2%} | {cosine:.5f} |", flush=True)


if __name__ == "__main__":
    main()
