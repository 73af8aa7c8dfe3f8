"""Only the forward pass, in one process: of this package, of its peers, and the machine's limit for matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.materials import TIMM, TIMM_EQUIVALENTS, make_model
from benchmarks.measure import alternate, time_call

Network = Callable[..., object]


def gemm_peak(dtype: str) -> float:
    """GFLOP/s of the fastest matrix product that torch offers on this machine, over typical shapes."""
    import torch

    best = 0.0
    for rows, inner, outer in ((2048, 2048, 2048), (6272, 192, 768), (1568, 384, 1536)):
        x = torch.randn(rows, inner).to(getattr(torch, dtype))
        w = torch.randn(outer, inner).to(getattr(torch, dtype))
        products = [partial(torch.nn.functional.linear, x, w)]
        if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            packed = torch.ops.mkldnn._reorder_linear_weight(w, rows)
            products.append(partial(torch.ops.mkldnn._linear_pointwise, x, packed, None, "none", [], ""))
        for product in products:
            for _ in range(5):
                started = time.perf_counter()
                product()
                best = max(best, 2 * rows * inner * outer / (time.perf_counter() - started) / 1e9)
    return best


def flops(model, pixels) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(pixels)
    return counter.get_total_flops()


def compare(folder: Path, pairs: int, names: list[str]) -> Iterator[dict[str, object]]:
    """All stages in batches of 1, 8 and 32; the last one and the first two in batches of 8."""
    import torch

    from backbone_cli.pipeline.engine import keep_memory

    keep_memory()  # as `extract` does; here the peers benefit from it, too
    torch.manual_seed(0)
    for name in names:
        for dtype in ("float32", "bfloat16"):
            for stages, batches in (("all", (1, 8, 32)), ("last", (8,)), ("first two", (8,))):
                with torch.inference_mode():
                    model, flops_per_image, peers = networks(folder, name, stages, dtype)
                    for batch in batches:
                        pixels = torch.randn(batch, 3, 224, 224).to(getattr(torch, dtype))
                        job = f"forward, {name}, {stages}, {dtype}, batch {batch}"
                        yield measure(job, model, peers, pixels, flops_per_image, pairs)


def networks(folder: Path, name: str, stages: str, dtype: str) -> tuple[Network, float, dict[str, Network]]:
    """The optimized model, its FLOPs per image, and the peers; transformers' has the same weights, timm's others."""
    import timm
    import torch
    import transformers

    from backbone_cli import AutoBackbone, AutoConfig, optimize
    from backbone_cli.timm.catalog import find_architecture

    transformers.logging.set_verbosity_error()
    path = str(make_model(name, folder))
    count = len(AutoConfig.from_pretrained(path).stage_names)
    indices = {"all": list(range(count)), "last": [count - 1], "first two": [0, 1]}[stages]
    model = AutoBackbone.from_pretrained(path, dtype=dtype, out_indices=indices)
    flops_per_image = flops(model, torch.randn(1, 3, 224, 224).to(model.dtype))
    peers = {}
    if name not in TIMM:
        config = transformers.AutoConfig.from_pretrained(path)
        config.out_indices = indices
        cls = getattr(transformers, type(config).__name__.replace("Config", "Backbone"))
        peers["transformers"] = cls.from_pretrained(path, config=config, dtype=getattr(torch, dtype)).eval()
    timm_name, options = TIMM_EQUIVALENTS[name]
    # If timm's stages don't include the stem, its first is the second here.
    missing = count - len(find_architecture(timm_name).stages)
    timm_indices = sorted({max(0, i - missing) for i in indices})
    net = timm.create_model(timm_name, features_only=True, out_indices=timm_indices, **options)
    peers["timm"] = net.eval().to(getattr(torch, dtype))
    return optimize(model), flops_per_image, peers


def measure(
    job: str, model: Network, peers: dict[str, Network], pixels: object, flops_per_image: float, pairs: int
) -> dict[str, object]:
    batch = len(pixels)  # type: ignore[arg-type]
    row: dict[str, object] = {"job": job}
    seconds = []
    for name, peer in peers.items():
        calls = (partial(time_call, partial(net, pixels)) for net in (model, peer))
        result = alternate(*calls, pairs)
        seconds.append(result.seconds("backbone"))
        row |= {f"{name}_ms": round(1000 * result.seconds("peer") / batch, 1), f"{name}_ratio": round(result.ratio, 2)}
    speed = flops_per_image * batch / median(seconds) / 1e9
    peak = gemm_peak(str(pixels.dtype).removeprefix("torch."))  # type: ignore[attr-defined]
    shares = {"gflops": round(speed), "share_of_peak": round(speed / peak, 2)}
    return row | {"ours_ms": round(1000 * median(seconds) / batch, 1)} | shares
