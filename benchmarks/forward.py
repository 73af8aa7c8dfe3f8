"""The forward pass alone, in one process: ours, the peers', and the machine's own limit for matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.materials import SAME_IN_TIMM, TIMM, make_model
from benchmarks.measure import call, in_turns

Network = Callable[..., object]


def gemm_peak(dtype: str) -> float:
    """GFLOP/s of the best matrix product that this machine's torch offers, over shapes as they occur."""
    import torch

    best = 0.0
    for rows, inner, outer in ((2048, 2048, 2048), (6272, 192, 768), (1568, 384, 1536)):
        x = torch.randn(rows, inner).to(getattr(torch, dtype))
        w = torch.randn(outer, inner).to(getattr(torch, dtype))
        ways = [partial(torch.nn.functional.linear, x, w)]
        if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            packed = torch.ops.mkldnn._reorder_linear_weight(w, rows)
            ways.append(partial(torch.ops.mkldnn._linear_pointwise, x, packed, None, "none", [], ""))
        for way in ways:
            for _ in range(5):
                started = time.perf_counter()
                way()
                best = max(best, 2 * rows * inner * outer / (time.perf_counter() - started) / 1e9)
    return best


def flops(model, pixels) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(pixels)
    return counter.get_total_flops()


def compare(where: Path, pairs: int, names: list[str]) -> Iterator[dict[str, object]]:
    """All stages in batches of 1, 8 and 32; the last and the first two of them in batches of 8."""
    import torch

    from backbone_cli.pipeline.engine import keep_memory

    keep_memory()  # as `extract` does; here the peers profit from it, too
    torch.manual_seed(0)
    for name in names:
        for dtype in ("float32", "bfloat16"):
            for stages, batches in (("all", (1, 8, 32)), ("last", (8,)), ("first two", (8,))):
                with torch.inference_mode():
                    ours, work, peers = networks(where, name, stages, dtype)
                    for batch in batches:
                        pixels = torch.randn(batch, 3, 224, 224).to(getattr(torch, dtype))
                        job = f"forward, {name}, {stages}, {dtype}, batch {batch}"
                        yield measure(job, ours, peers, pixels, work, pairs)


def networks(where: Path, name: str, stages: str, dtype: str) -> tuple[Network, float, dict[str, Network]]:
    """Ours, its work for one image, and the peers: transformers' with the same weights, timm's of the same kind."""
    import timm
    import torch
    import transformers

    from backbone_cli import optimize as inference
    from backbone_cli.auto import AutoBackbone, AutoConfig
    from backbone_cli.timm.catalog import find

    transformers.logging.set_verbosity_error()
    folder = str(make_model(name, where))
    count = len(AutoConfig.from_pretrained(folder).stage_names)
    wanted = {"all": list(range(count)), "last": [count - 1], "first two": [0, 1]}[stages]
    ours = AutoBackbone.from_pretrained(folder, dtype=dtype, out_indices=wanted)
    work = flops(ours, torch.randn(1, 3, 224, 224).to(ours.dtype))
    peers = {}
    if name not in TIMM:
        config = transformers.AutoConfig.from_pretrained(folder)
        config.out_indices = wanted
        cls = getattr(transformers, type(config).__name__.replace("Config", "Backbone"))
        peers["transformers"] = cls.from_pretrained(folder, config=config, dtype=getattr(torch, dtype)).eval()
    called, how = SAME_IN_TIMM[name]
    # Where timm has no stem among its stages, its first is our second.
    there = sorted({max(0, i - (count - len(find(called).stages))) for i in wanted})
    net = timm.create_model(called, features_only=True, out_indices=there, **how)
    peers["timm"] = net.eval().to(getattr(torch, dtype))
    return inference.optimize(ours), work, peers


def measure(
    job: str, ours: Network, peers: dict[str, Network], pixels: object, work: float, pairs: int
) -> dict[str, object]:
    batch = len(pixels)  # type: ignore[arg-type]
    row: dict[str, object] = {"job": job}
    seconds = []
    for who, peer in peers.items():
        result = in_turns(partial(call, partial(ours, pixels)), partial(call, partial(peer, pixels)), pairs)
        seconds.append(result.seconds("ours"))
        row |= {f"{who}_ms": round(1000 * result.seconds("peer") / batch, 1), f"{who}_ratio": round(result.ratio, 2)}
    speed = work * batch / median(seconds) / 1e9
    peak = gemm_peak(str(pixels.dtype).removeprefix("torch."))  # type: ignore[attr-defined]
    shares = {"gflops": round(speed), "share_of_peak": round(speed / peak, 2)}
    return row | {"ours_ms": round(1000 * median(seconds) / batch, 1)} | shares
