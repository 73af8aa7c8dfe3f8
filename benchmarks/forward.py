"""The forward pass alone, in one process: ours, transformers', and the machine's own limit for matrix products."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.materials import make_model
from benchmarks.measure import call, in_turns


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
    import torch
    import transformers

    from backbone_cli import inference
    from backbone_cli.auto import AutoBackbone

    transformers.logging.set_verbosity_error()
    for name in names:
        folder = str(make_model(name, where))
        for dtype in ("float32", "bfloat16"):
            ours = AutoBackbone.from_pretrained(folder, dtype=dtype)
            config = transformers.AutoConfig.from_pretrained(folder)
            cls = getattr(transformers, type(config).__name__.replace("Config", "Backbone"))
            peer = cls.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
            with torch.inference_mode():
                work = flops(ours, torch.randn(1, 3, 224, 224).to(ours.dtype))
                fast = inference.optimize(ours)
                for batch in (1, 8, 32):
                    pixels = torch.randn(batch, 3, 224, 224).to(peer.dtype)
                    result = in_turns(partial(call, partial(fast, pixels)), partial(call, partial(peer, pixels)), pairs)
                    speed = work * batch / result.seconds("ours") / 1e9
                    yield {
                        "job": f"forward, {name}, {dtype}, batch {batch}",
                        "ours_ms": round(1000 * result.seconds("ours") / batch, 1),
                        "peer_ms": round(1000 * result.seconds("peer") / batch, 1),
                        "ratio": round(result.ratio, 2),
                        "gflops": round(speed),
                        "share_of_peak": round(speed / gemm_peak(dtype), 2),
                    }
