"""How far half precision is from float32, family by family: `python -m benchmarks.precision`.

Published layouts, random weights, one photograph; the root mean square of the difference as a share of the last
stage's standard deviation, and the cosine between the two maps. Prints the table that docs/speed.md shows.
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
        processor = ImageProcessor.from_dict(family.pixels, kind_if_unsaid="ViTImageProcessor").with_size(size)
        with Image.open(PHOTO) as photo:
            pixels = processor(photo, return_tensors="pt").pixel_values
        with torch.inference_mode():
            wanted = model(pixels).feature_maps[0]
            got = copy.deepcopy(model).bfloat16()(pixels.bfloat16()).feature_maps[0].float()
        rms = ((got - wanted).square().mean().sqrt() / wanted.std()).item()
        cosine = torch.nn.functional.cosine_similarity(got.flatten(), wanted.flatten(), 0).item()
        print(f"| {family.model_type} | {rms:.2%} | {cosine:.5f} |", flush=True)


if __name__ == "__main__":
    main()
