"""From pixels to maps with torch: pooling, dtypes, running out of memory, and independence of the rest of a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from backbone_cli.auto import AutoBackbone
from backbone_cli.configs.dinov2 import Dinov2Config
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.errors import ImageError, ModelError, UsageError
from backbone_cli.output.formats import bfloat16_to_float32
from backbone_cli.pipeline.engine import Engine, choose_device

# How much other images, batch sizes and layouts may change a map, relative to its standard deviation.
BOUND = 1e-5


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def make_engine(config=None, pool="none", save=torch.float32, **kwargs) -> Engine:
    config = config or SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[1, 2], num_heads=[2, 2], window_size=4, out_indices=[0, 2]
    )
    model = AutoBackbone.from_config(config)
    return Engine(model, normalize, torch.device("cpu"), config.out_features, pool, save, **kwargs)


def images(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_maps_are_those_of_the_model():
    engine = make_engine()
    pixels = images(3)
    with torch.inference_mode():
        expected = engine.model(normalize(torch.from_numpy(pixels))).feature_maps
    for i, maps in enumerate(engine(pixels)):
        assert list(maps) == ["stem", "stage2"]
        assert all(np.array_equal(maps[s], e[i].numpy()) for s, e in zip(maps, expected, strict=True))
        assert all(array.flags.c_contiguous for array in maps.values())


@pytest.mark.parametrize("others", [1, 2, 5, 8])
def test_maps_do_not_depend_on_other_images_in_the_batch(others):
    engine = make_engine()
    pixels = images(9)
    alone = engine(pixels[:1])[0]
    for batch in (pixels[: others + 1], 255 - pixels[: others + 1]):
        batch = batch.copy()
        batch[others] = pixels[0]
        together = engine(batch)[others]
        for stage in alone:
            assert np.abs(together[stage] - alone[stage]).max() < BOUND * alone[stage].std()


def test_pool_mean():
    pooled, unpooled = make_engine(pool="mean")(images(2)), make_engine()(images(2))
    for vector, maps in zip(pooled, unpooled, strict=True):
        assert all(np.allclose(vector[stage], maps[stage].mean((1, 2)), atol=1e-6) for stage in maps)


def test_pool_cls():
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14, out_indices=[1, 2]
    )
    engine = make_engine(config, pool="cls")
    engine.check_pool((28, 28))
    pixels = images(2, 28)
    with torch.inference_mode():
        states = list(engine.model.states(normalize(torch.from_numpy(pixels))))
        expected = [engine.model.class_token(i, states[i]) for i in (1, 2)]
    for i, maps in enumerate(engine(pixels)):
        assert all(np.array_equal(v, e[i].numpy()) for v, e in zip(maps.values(), expected, strict=True))
        assert maps["stage2"].shape == (16,)


def test_pool_cls_needs_class_tokens():
    with pytest.raises(UsageError, match="has no class token; use --pool mean"):
        make_engine(pool="cls").check_pool((32, 32))


def test_save_dtype_converts_maps():
    full = make_engine()(images(2))
    half = make_engine(save=torch.float16)(images(2))
    bfloat = make_engine(save=torch.bfloat16)(images(2))
    for f, h, b in zip(full, half, bfloat, strict=True):
        assert h["stage2"].dtype == np.float16 and b["stage2"].dtype == np.uint16
        assert np.array_equal(h["stage2"], f["stage2"].astype(np.float16))
        assert np.allclose(bfloat16_to_float32(b["stage2"]), f["stage2"], rtol=2**-8)


def change_a_map(engine: Engine, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Make the engine change the last map of the second image."""
    feature_map = engine.model.feature_map

    def changed(index, state, size):
        maps = feature_map(index, state, size).clone()
        if index == 2:
            maps[1] = change(maps[1])
        return maps

    engine.model.feature_map = changed


def test_finite_values_whose_sum_overflows_are_accepted():
    engine = make_engine()
    change_a_map(engine, lambda m: m.abs() * 1e37)
    large = engine(images(3))[1]["stage2"]
    with np.errstate(over="ignore"):
        assert np.isfinite(large).all() and not np.isfinite(large.sum())


@pytest.mark.parametrize("factor", [1e30, float("nan"), float("-inf")])
def test_overflow_fails_only_its_image(factor):
    engine = make_engine(save=torch.float16)
    change_a_map(engine, lambda m: m * factor)
    good, bad, other = engine(images(3))
    assert isinstance(bad, ImageError) and "stage2" in str(bad) and "--save-dtype float32" in str(bad)
    assert isinstance(good, dict) and isinstance(other, dict)


def test_running_out_of_memory_halves_the_batch():
    engine = make_engine()
    expected = make_engine()(images(9))
    batch_sizes = []

    def limited(pixels):
        batch_sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return normalize(pixels)

    engine.normalize = limited
    results = engine(images(9))
    assert batch_sizes == [9, 4, 2, 2, 2, 2, 1]
    assert engine.max_batch == 2
    batch_sizes.clear()
    engine(images(4))
    assert batch_sizes == [2, 2]
    for maps, reference in zip(results, expected, strict=True):
        assert np.abs(maps["stage2"] - reference["stage2"]).max() < BOUND * reference["stage2"].std()


def test_single_image_that_does_not_fit_is_an_error():
    engine = make_engine()

    def out_of_memory(pixels):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    engine.normalize = out_of_memory
    assert all("32 x 32 does not fit" in str(error) for error in engine(images(3)))


def test_other_errors_are_not_caught():
    engine = make_engine()

    def wrong(pixels):
        raise RuntimeError("shapes differ")

    engine.normalize = wrong
    with pytest.raises(RuntimeError, match="shapes differ"):
        engine(images(1))


def test_model_that_does_not_fit_is_an_error():
    from backbone_cli.pipeline.engine import allocating

    with (
        pytest.raises(ModelError, match="does not fit into the memory of cpu"),
        allocating("The model", torch.device("cpu")),
    ):
        raise torch.OutOfMemoryError


def test_devices_are_checked():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="'gpu' is not a device; use auto, cpu, cuda"):
        choose_device("gpu")
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        choose_device("cuda:99")
