"""Every architecture of timm through our path, against timm itself, with random weights.

    python -m benchmarks.timm_sweep                       # all of them, the small ones first
    python -m benchmarks.timm_sweep 'convnext*' 'vit_*'   # some of them
    python -m benchmarks.timm_sweep --out sweep.jsonl     # a line an architecture; what is in there is not run again

The weights are named as in timm's own files. The reference is what timm's `features_only=True` gives for them after its
own loading. An architecture passes when every map has the shape that its configuration foretells and is equal within
1e-5 of the map's standard deviation, at the model's own size and, where it takes others, at an odd one.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import warnings
from collections import Counter
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backbone_cli import TimmBackbone, TimmBackboneConfig
from backbone_cli.checkpoint import Weights, fill
from backbone_cli.configs.timm_zoo import Facts, find
from backbone_cli.hub import Repo

TOLERANCE = 1e-5
LARGEST = 1.2e9  # parameters; deeper networks than that are tried with fewer blocks
NOISE = torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--out", type=Path, default=Path("timm-sweep.jsonl"))
    parser.add_argument("--shard", default="1/1", help="I/N: only the I-th of N parts")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    done = {row["name"] for row in rows(args.out)}
    part, parts = map(int, args.shard.split("/"))
    names = sorted(timm.list_models(args.patterns), key=parameters)[part - 1 :: parts]
    for name in names:
        if name not in done:
            row = {"name": name, **verdict(name)}
            with args.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{row['result']:<10} {row['seconds']:6.1f}s  {name}  {row.get('reason', '')}", flush=True)
            gc.collect()
    summarize(rows(args.out))


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def summarize(rows: list[dict]) -> None:
    counts = Counter(row["result"] for row in rows)
    print(f"\n{counts['passes']} of {len(rows)} pass ({counts['passes'] / max(1, len(rows)):.1%}): {dict(counts)}")
    for row in rows:
        if row["result"] != "passes":
            print(f"  {row['name']}: {row['result']}: {row.get('reason', '')}")


def parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name).parameters())


def verdict(name: str) -> dict:
    start = time.perf_counter()
    try:
        worst, sizes = compare(name)
        result = {"result": "passes" if worst <= TOLERANCE else "differs", "distance": worst, "sizes": sizes}
        if worst > TOLERANCE:
            result["reason"] = f"by {worst:.1e} of a standard deviation"
    except Exception as error:  # whatever goes wrong with one architecture is its result
        result = {"result": "fails", "reason": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    return result | {"seconds": round(time.perf_counter() - start, 1)}


def compare(name: str) -> tuple[float, list]:
    """The largest distance over all stages and sizes, and the sizes."""
    facts = find(name)
    less = {"depth": 4} if parameters(name) > LARGEST else {}
    count = 4 if less else len(facts.stages)
    config = TimmBackboneConfig(name, out_indices=list(range(count)), model_args=less or None)
    tensors = random_weights(name, less)
    with torch.device("meta"):
        ours = TimmBackbone(config).eval()
    fill(ours, Held(tensors))
    own = config.default_size()
    sizes = [own] if facts.multiple != 1 else [small(facts, own)]
    worst = 0.0
    for size in sizes:
        theirs = reference(name, tensors, count, {**less, **(facts.build if size != own else {})})
        x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            wanted, got = theirs(x), ours(x).feature_maps
        for shape, mine, its in zip(config.shapes(*size), got, wanted, strict=False):
            if str(getattr(theirs, "output_fmt", "NCHW")).endswith("NHWC"):
                its = its.permute(0, 3, 1, 2)
            assert tuple(mine.shape[1:]) == shape, f"foretold {shape}, got {tuple(mine.shape[1:])} at {size}"
            assert torch.isfinite(its).all() and its.std() > 0, "the reference is not finite, or all of one value"
            worst = max(worst, ((mine - its).abs().max() / its.std()).item())
    return worst, sizes


def small(facts: Facts, own: tuple[int, int]) -> tuple[int, int]:
    """An odd size, of few pixels, that is still some cells of the coarsest map; and not a square."""
    coarsest = max(stage.stride for stage in facts.stages)
    return min(own[0], 3 * coarsest + 1), min(own[1], 4 * coarsest + 7)


class Held(Weights):
    """Weights in memory, as if a file held them."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__(Repo())
        self.repo.name = "memory"
        self.tensors, self.files = tensors, dict.fromkeys(tensors, "")

    def read(self, name: str) -> Tensor:
        return self.tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)


def random_weights(name: str, how: dict) -> dict[str, Tensor]:
    """A whole model's state, drawn so that signals survive its depth and no tensor is at rest."""
    with torch.device("meta"):
        state = timm.create_model(name, **how).state_dict()
    return {key: drawn(key, tensor) for key, tensor in state.items()}


def drawn(name: str, like: Tensor) -> Tensor:
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    count, first = like.numel(), sum(map(ord, name)) % 9973
    value = NOISE.repeat(1 + (first + count) // len(NOISE))[first : first + count].reshape(like.shape)
    if name.endswith(("running_var",)):
        return 1 + 0.2 * value.clamp(-2, 2).abs()
    if like.ndim <= 1:
        return 0.1 * value + (0.0 if name.endswith(("bias", "running_mean")) else 1.0 if "weight" in name else 0.5)
    return value * (like.numel() / like.shape[0]) ** -0.5


class NoRandomStart(TorchFunctionMode):
    """Leaves out the drawing of first weights, which are replaced at once."""

    skipped = (
        *(getattr(Tensor, name) for name in ("normal_", "uniform_", "erfinv_")),
        *(getattr(nn.init, name) for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_")),
        *(getattr(nn.init, name) for name in ("kaiming_uniform_", "xavier_uniform_", "xavier_normal_")),
    )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self.skipped:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def reference(name: str, tensors: dict[str, Tensor], count: int, how: dict) -> nn.Module:
    """timm's own feature extraction, loaded by timm."""
    with NoRandomStart():
        return timm.create_model(
            name,
            pretrained=True,
            features_only=True,
            out_indices=tuple(range(count)),
            pretrained_cfg_overlay={"state_dict": tensors, "custom_load": False},
            **how,
        ).eval()


if __name__ == "__main__":
    main()
