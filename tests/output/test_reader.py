"""Reading features back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import backbone_cli
from backbone_cli.errors import OutputError, UsageError
from backbone_cli.output.reader import open_features

from ..pipeline.stub import STAGES, StubEngine, extract, make_photos, processed, stub_maps


@pytest.mark.parametrize("form", ["npy", "safetensors"])
@pytest.mark.parametrize("layout", ["files", "stacked"])
@pytest.mark.parametrize("shards", [1, 3])
def test_all_layouts_are_read_alike(form, layout, shards, model, photos, out):
    for i in range(shards):
        shard = (i + 1, shards) if shards > 1 else None
        extract(photos, model=model, output=str(out), format=form, layout=layout, shard=shard, out_indices=("all",))
    features = open_features(out)
    assert len(features) == 10 and features.stages == list(STAGES)
    for name, maps in features.items():
        expected = stub_maps(processed(features.source(name)))
        assert set(maps) == set(STAGES)
        assert all(np.array_equal(maps[stage], expected[stage]) for stage in STAGES)
    stage = features.stage("stage2")
    assert np.asarray(stage).shape == (10, 8, 4, 4)
    assert np.array_equal(stage[3], features[features.names[3]]["stage2"])
    assert len(stage[2:5]) == 3


def test_bfloat16_is_read_as_float32(model, photos, out):
    class Bfloat16Engine(StubEngine):
        def __call__(self, images):
            results = super().__call__(images)
            return [{s: (m.view(np.uint32) >> 16).astype(np.uint16) for s, m in maps.items()} for maps in results]

    engine = Bfloat16Engine(["stage2"])
    extract(photos, model=model, output=str(out), format="safetensors", save_dtype="bfloat16", engine=engine)
    features = open_features(out)
    array = features["a/0000"]["stage2"]
    assert array.dtype == np.float32
    assert np.allclose(array, stub_maps(processed(features.source("a/0000")))["stage2"], rtol=2**-7)


def test_failed_images_are_listed(model, tmp_path, out):
    photos = make_photos(tmp_path / "in", 3)
    bad = tmp_path / "in/a/0000.png"
    bad.write_bytes(b"not an image")
    extract(photos, model=model, output=str(out))
    features = open_features(out)
    assert features.names == ["b/0001", "c/0002"]
    assert list(features.failed) == [str(bad)]


def test_torch_dataset(model, photos, out):
    import torch
    from torch.utils.data import DataLoader, Dataset

    extract(photos, model=model, output=str(out), out_indices=("all",))
    dataset = open_features(out).torch_dataset(["stage2"])
    assert isinstance(dataset, Dataset)
    batches = list(DataLoader(pickle.loads(pickle.dumps(dataset)), batch_size=4))
    assert [len(batch["name"]) for batch in batches] == [4, 4, 2]
    assert batches[0]["stage2"].shape == torch.Size([4, 8, 4, 4])


def test_missing_features_are_reported(model, photos, tmp_path, out):
    with pytest.raises(UsageError, match="holds no features"):
        open_features(tmp_path)
    extract(photos, model=model, output=str(out))
    features = open_features(out)
    with pytest.raises(KeyError, match="Did you mean 'b/0001'"):
        features["b/0001x"]
    with pytest.raises(UsageError, match="no stage 'stage9'"):
        features.stage("stage9")
    (out / "a/0000.stage2.npy").write_bytes(b"torn")
    with pytest.raises(OutputError, match="run the same `backbone extract` command again"):
        features["a/0000"]["stage2"]
    assert "10 images" in repr(features)
    assert backbone_cli.open_features is open_features
