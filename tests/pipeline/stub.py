"""A run without torch: everything is real except the model, whose maps are a simple function of the pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from backbone_cli.output.records import Finished
from backbone_cli.pipeline.prepare import prepare
from backbone_cli.pipeline.request import Request
from backbone_cli.pipeline.run import run, run_to_stdout

STAGES = ("stem", "stage1", "stage2")
SIDE = 16


def make_model(folder: Path, **processor) -> str:
    """A model folder with all that a run needs if nothing is computed: a config and a preprocessor config."""
    from backbone_cli.configs.swin import SwinConfig

    config = SwinConfig(image_size=SIDE, patch_size=2, embed_dim=4, depths=[1, 1], num_heads=[1, 1], window_size=2)
    config.save_pretrained(folder)
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}} | processor
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return str(folder)


def make_photos(folder: Path, count: int, size: tuple[int, int] = (20, 24)) -> str:
    """Small images in the folders a, b and c, numbered from 0."""
    for i in range(count):
        path = folder / "abc"[i % 3] / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_image(i, size)).save(path)
    return str(folder)


def random_image(seed: int, size: tuple[int, int] = (20, 24)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def processed(path: str | Path) -> np.ndarray:
    """An image file as the model's processor leaves it."""
    return np.array(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def stub_maps(pixels: np.ndarray, stages=STAGES) -> dict[str, np.ndarray]:
    """The maps of one image: (4, H/2, W/2) for stem and stage1, (8, H/4, W/4) for stage2."""
    grey = pixels.astype(np.float32).mean(-1)
    h, w = grey.shape
    shapes = {"stem": (4, h // 2, w // 2), "stage1": (4, h // 2, w // 2), "stage2": (8, h // 4, w // 4)}
    return {stage: np.resize(grey * (1 + STAGES.index(stage)), shapes[stage]) for stage in stages}


class StubEngine:
    def __init__(self, stages):
        self.stages = stages
        self.batches: list[int] = []

    def __call__(self, pixels):
        self.batches.append(len(pixels))
        return [stub_maps(image, self.stages) for image in pixels]


def extract(*inputs, engine=None, **options) -> list[Finished]:
    """Run to the end and return the Finished events. Images are decoded in this process unless `workers` is given."""
    job = prepare(Request(inputs=tuple(map(str, inputs)), random_init=True, **{"workers": 0, **options}))
    load = lambda: engine or StubEngine(job.stages)  # noqa: E731
    events = run_to_stdout(job, load) if job.request.to_stdout else run(job, load)
    return [event for event in events if isinstance(event, Finished)]


def statuses(events) -> dict[str, str]:
    return {event.name: event.status for event in events}


def touch(root: Path, *names: str) -> None:
    """Create empty files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def read_index(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (Path(folder) / "index.jsonl").read_text().splitlines()]
