"""Pixels to maps with torch: pooling, dtypes, memory that runs out, and independence of the company."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from backbone_cli.auto import AutoBackbone
from backbone_cli.configs.dinov2 import Dinov2Config
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.errors import ImageError, ModelError, UsageError
from backbone_cli.output.formats import widen
from backbone_cli.pipeline.engine import Engine, choose_device

# What neighbours, batch sizes and layouts may change, as a share of a map's standard deviation.
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


def test_maps():
    engine = make_engine()
    pixels = images(3)
    with torch.inference_mode():
        expected = engine.model(normalize(torch.from_numpy(pixels))).feature_maps
    for i, maps in enumerate(engine(pixels)):
        assert list(maps) == ["stem", "stage2"]
        assert all(np.array_equal(maps[s], e[i].numpy()) for s, e in zip(maps, expected, strict=True))
        assert all(array.flags.c_contiguous for array in maps.values())


@pytest.mark.parametrize("others", [1, 2, 5, 8])
def test_an_image_does_not_depend_on_its_company(others):
    engine = make_engine()
    pixels = images(9)
    alone = engine(pixels[:1])[0]
    for company in (pixels[: others + 1], 255 - pixels[: others + 1]):
        company = company.copy()
        company[others] = pixels[0]
        together = engine(company)[others]
        for stage in alone:
            assert np.abs(together[stage] - alone[stage]).max() < BOUND * alone[stage].std()


def test_mean():
    pooled, whole = make_engine(pool="mean")(images(2)), make_engine()(images(2))
    for vector, maps in zip(pooled, whole, strict=True):
        assert all(np.allclose(vector[stage], maps[stage].mean((1, 2)), atol=1e-6) for stage in maps)


def test_class_tokens():
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


def test_a_model_without_class_tokens():
    with pytest.raises(UsageError, match="has no class token; use --pool mean"):
        make_engine(pool="cls").check_pool((32, 32))


def test_saving_in_half():
    whole = make_engine()(images(2))
    half = make_engine(save=torch.float16)(images(2))
    brief = make_engine(save=torch.bfloat16)(images(2))
    for w, h, b in zip(whole, half, brief, strict=True):
        assert h["stage2"].dtype == np.float16 and b["stage2"].dtype == np.uint16
        assert np.array_equal(h["stage2"], w["stage2"].astype(np.float16))
        assert np.allclose(widen(b["stage2"]), w["stage2"], rtol=2**-8)


def spoil(engine: Engine, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change the last map of the second image."""
    forward = engine.model.feature_map

    def spoiled(index, state, size):
        maps = forward(index, state, size).clone()
        if index == 2:
            maps[1] = how(maps[1])
        return maps

    engine.model.feature_map = spoiled


def test_values_whose_sum_alone_is_too_large_are_no_error():
    engine = make_engine()
    spoil(engine, lambda m: m.abs() * 1e37)
    bright = engine(images(3))[1]["stage2"]
    with np.errstate(over="ignore"):
        assert np.isfinite(bright).all() and not np.isfinite(bright.sum())


@pytest.mark.parametrize("factor", [1e30, float("nan"), float("-inf")])
def test_values_that_do_not_fit_are_that_images_error(factor):
    engine = make_engine(save=torch.float16)
    spoil(engine, lambda m: m * factor)
    good, bad, other = engine(images(3))
    assert isinstance(bad, ImageError) and "stage2" in str(bad) and "--save-dtype float32" in str(bad)
    assert isinstance(good, dict) and isinstance(other, dict)


def test_memory_that_runs_out_halves_the_batch():
    engine = make_engine()
    expected = make_engine()(images(9))
    tried = []

    def hungry(pixels):
        tried.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return normalize(pixels)

    engine.normalize = hungry
    results = engine(images(9))
    assert tried == [9, 4, 2, 2, 2, 2, 1]
    assert engine.most == 2
    tried.clear()
    engine(images(4))
    assert tried == [2, 2]
    for maps, whole in zip(results, expected, strict=True):
        assert np.abs(maps["stage2"] - whole["stage2"]).max() < BOUND * whole["stage2"].std()


def test_an_image_that_never_fits():
    engine = make_engine()

    def hungry(pixels):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    engine.normalize = hungry
    assert all("32 x 32 does not fit" in str(error) for error in engine(images(3)))


def test_other_errors_are_not_swallowed():
    engine = make_engine()

    def wrong(pixels):
        raise RuntimeError("shapes differ")

    engine.normalize = wrong
    with pytest.raises(RuntimeError, match="shapes differ"):
        engine(images(1))


def test_a_model_that_does_not_fit():
    from backbone_cli.pipeline.engine import allocating

    with (
        pytest.raises(ModelError, match="does not fit into the memory of cpu"),
        allocating("The model", torch.device("cpu")),
    ):
        raise torch.OutOfMemoryError


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="no device"):
        choose_device("gpu")
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        choose_device("cuda:99")
