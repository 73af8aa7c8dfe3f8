"""`backbone_cli.extract`: a run as one call, with a small real model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import backbone_cli
from backbone_cli.errors import OutputRefused, StageError, UsageError
from backbone_cli.output.records import Finished
from backbone_cli.pipeline.events import Started

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL = FIXTURES / "models/swin-micro"
NAMES = {"drawn/harbour", "drawn/shapes", "grace_hopper"}


@pytest.fixture
def photos(tmp_path) -> Path:
    """The fixture photos, and one file that can't be read."""
    folder = tmp_path / "photos"
    shutil.copytree(FIXTURES / "photos", folder)
    (folder / "broken.jpg").write_bytes(b"not an image")
    return folder


def test_extract_returns_counts_failures_and_features(photos, out):
    result = backbone_cli.extract(MODEL, photos, out_features=["stage2", "stage4"], output=out, workers=0)
    assert isinstance(result, backbone_cli.ExtractResult)
    assert (result.done, result.failed, result.skipped) == (3, 1, 0)
    assert result.counts == {"done": 3, "failed": 1}
    ((source, error),) = result.failures.items()
    assert source == str(photos / "broken.jpg") and "broken.jpg" in error
    features = result.open_features()
    assert set(features) == NAMES
    assert features.stages == ["stage2", "stage4"]
    assert features["drawn/harbour"]["stage4"].shape == (128, 7, 7)
    assert result.bytes == {"stage2": 3 * 32 * 28 * 28 * 4, "stage4": 3 * 128 * 7 * 7 * 4}
    assert list(features.failed) == [source]


def test_extracted_features_are_those_of_the_model(photos, out):
    import torch

    result = backbone_cli.extract(MODEL, photos / "drawn", out_indices=[1, 4], output=out, workers=0)
    features = result.open_features()
    processor = backbone_cli.AutoImageProcessor.from_pretrained(MODEL)
    model = backbone_cli.AutoBackbone.from_pretrained(MODEL, out_indices=[1, 4])
    for name in features:
        with torch.inference_mode():
            expected = model(**processor(features.source(name), return_tensors="pt")).feature_maps
        for stage, m in zip(("stage1", "stage4"), expected, strict=True):
            assert np.abs(features[name][stage] - m[0].numpy()).max() < 1e-5 * m.std()


def test_extract_calls_on_event(photos, out):
    events = []
    result = backbone_cli.extract(str(MODEL), photos, output=out, on_event=events.append, workers=0)
    started, *finished = events
    assert started == Started(total=4)
    assert all(isinstance(event, Finished) for event in finished)
    assert [Path(event.source).name for event in finished] == [
        "broken.jpg",
        "harbour.jpg",
        "shapes.png",
        "grace_hopper.jpg",
    ]
    assert [event.status for event in finished] == ["failed", "done", "done", "done"]
    assert finished[0].error == result.failures[finished[0].source]


def test_extract_resumes(photos, out):
    paths = [photos / "drawn", photos / "grace_hopper.jpg"]
    first = backbone_cli.extract(MODEL, paths[:1], root=str(photos), output=out, workers=0)
    second = backbone_cli.extract(MODEL, paths, root=str(photos), output=out, workers=0)
    assert (first.counts, second.counts) == ({"done": 2}, {"skipped": 2, "done": 1})
    assert set(second.open_features()) == NAMES


def test_extract_raises_errors_of_the_request(photos, tmp_path, out):
    with pytest.raises(UsageError, match="There is no file or folder"):
        backbone_cli.extract(MODEL, tmp_path / "missing", output=out)
    with pytest.raises(StageError, match="stage9"):
        backbone_cli.extract(MODEL, photos, out_features="stage9", output=out)
    assert not out.exists()
    backbone_cli.extract(MODEL, photos / "drawn", output=out, workers=0)
    with pytest.raises(OutputRefused, match="pool is none there and mean now"):
        backbone_cli.extract(MODEL, photos / "drawn", output=out, pool="mean", workers=0)
