"""The peers: for each library, a plain script of the kind that a competent user would write.

python -m benchmarks.peers stages MODEL
python -m benchmarks.peers transformers MODEL PHOTOS OUT [--stages 0,1] [--batch 8] [--dtype float32] [--exact]
python -m benchmarks.peers timm MODEL PHOTOS OUT [--stages 0,1] [--batch 8] [--dtype float32]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path


def stages(model: str) -> None:
    from transformers import AutoConfig

    print(AutoConfig.from_pretrained(model).stage_names)


def batches(paths: list[Path], size: int):
    remaining = iter(paths)
    while batch := list(islice(remaining, size)):
        yield batch


def save(out: Path, paths: list[Path], names: list[str], maps) -> None:
    import numpy as np

    for name, stage_maps in zip(names, maps, strict=True):
        for path, feature_map in zip(paths, stage_maps.float().numpy(), strict=True):
            np.save(out / f"{path.stem}.{name}.npy", feature_map)


def with_transformers(args: argparse.Namespace) -> None:
    import torch
    import transformers
    from PIL import Image
    from transformers import AutoConfig, AutoImageProcessor

    config = AutoConfig.from_pretrained(args.model)
    indices = args.stages or [len(config.stage_names) - 1]
    config.out_indices = indices
    # AutoBackbone.from_pretrained refuses local folders; its classes don't.
    cls = getattr(transformers, type(config).__name__.replace("Config", "Backbone"))
    model = cls.from_pretrained(args.model, config=config, dtype=getattr(torch, args.dtype)).eval()
    processor = AutoImageProcessor.from_pretrained(args.model, **({"backend": "pil"} if args.exact else {}))
    with torch.inference_mode():
        for paths in batches(sorted(args.photos.glob("*.jpg")), args.batch):
            images = [Image.open(path).convert("RGB") for path in paths]
            pixels = processor(images, return_tensors="pt")["pixel_values"].to(model.dtype)
            save(args.out, paths, model.out_features, model(pixels).feature_maps)


def with_timm(args: argparse.Namespace) -> None:
    import timm
    import torch
    from PIL import Image

    dtype = getattr(torch, args.dtype)
    kwargs = {"out_indices": args.stages} if args.stages else {}
    model = timm.create_model(f"local-dir:{args.model}", pretrained=True, features_only=True, **kwargs).eval().to(dtype)
    names = model.feature_info.module_name()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model.pretrained_cfg))
    with torch.inference_mode():
        for paths in batches(sorted(args.photos.glob("*.jpg")), args.batch):
            pixels = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
            save(args.out, paths, names, model(pixels.to(dtype)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["stages", "transformers", "timm"])
    parser.add_argument("model")
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--stages", type=lambda text: [int(i) for i in text.split(",")])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--exact", action="store_true", help="use Pillow for pixels, so that outputs can be compared")
    args = parser.parse_args()
    if args.peer == "stages":
        stages(args.model)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    (with_transformers if args.peer == "transformers" else with_timm)(args)


if __name__ == "__main__":
    main()
