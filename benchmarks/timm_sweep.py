"""Every architecture of timm through our path, against timm itself, with random weights.

    python -m benchmarks.timm_sweep                       # all of them, the small ones first
    python -m benchmarks.timm_sweep 'convnext*' 'vit_*'   # some of them
    python -m benchmarks.timm_sweep --out sweep.jsonl     # a line an architecture; what is in there is not run again
    python -m benchmarks.timm_sweep --packed              # as `extract` makes them fast, which rounds differently

The weights are named as in timm's own files. The reference is what timm's `features_only=True` gives for them after its
own loading. An architecture passes when every map has the shape that its configuration foretells and is equal within
1e-5 of the map's standard deviation: at a small odd size where it takes any, else at its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import subprocess
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from backbone_cli import TimmBackbone, TimmBackboneConfig
from backbone_cli.checkpoint import Checkpoint, fill
from backbone_cli.hub import Repo
from backbone_cli.optimization import optimize
from backbone_cli.timm.catalog import find, zoo
from backbone_cli.timm.facts import Architecture

TOLERANCE, IF_PACKED = 1e-5, 1e-3
CHUNK = 30
LARGEST = 4e8  # parameters; networks beyond that are tried with four blocks, where timm lets them have fewer
TOO_LARGE = 1.5e9  # beyond that, and of one depth: they take more memory than is reasonable
NOISE = torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--out", type=Path, default=Path("timm-sweep.jsonl"))
    parser.add_argument("--packed", action="store_true", help="made fast, as on the command line")
    parser.add_argument("--shard", default="1/1", help="I/N: only the I-th of N parts")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("timm").setLevel(logging.ERROR)
    done = {row["name"] for row in rows(args.out)}
    part, parts = map(int, args.shard.split("/"))
    names = [name for name in sorted(timm.list_models(args.patterns), key=work)[part - 1 :: parts] if name not in done]
    if len(names) > CHUNK:  # in processes of their own, which give their memory back
        for i in range(0, len(names), CHUNK):
            in_a_process(names[i : i + CHUNK], args.out, ["--packed"] * args.packed)
        summarize(rows(args.out))
        return
    for name in names:
        row = {"name": name, **verdict(name, args.packed)}
        keep(args.out, row)
        print(f"{row['result']:<10} {row['seconds']:6.1f}s  {name}  {row.get('reason', '')}", flush=True)


def in_a_process(names: list[str], out: Path, options: list[str]) -> None:
    """If the process is killed, the architecture that it was at is at fault, and the others go on."""
    while names:
        command = [sys.executable, "-m", "benchmarks.timm_sweep", "--out", str(out), *options, *names]
        code = subprocess.run(command).returncode
        if code > 0:
            raise SystemExit(code)
        if code == 0:
            return
        done = {row["name"] for row in rows(out)}
        culprit, *names = [name for name in names if name not in done]
        keep(out, {"name": culprit, "result": "fails", "reason": f"killed by signal {-code}", "seconds": 0.0})


def keep(out: Path, row: dict) -> None:
    with out.open("a") as file:
        file.write(json.dumps(row) + "\n")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def summarize(rows: list[dict]) -> None:
    counts = Counter(row["result"] for row in rows)
    print(f"\n{counts['passes']} of {len(rows)} pass ({counts['passes'] / max(1, len(rows)):.1%}): {dict(counts)}")
    for row in rows:
        if row["result"] != "passes":
            print(f"  {row['name']}: {row['result']}: {row.get('reason', '')}")


def work(name: str) -> int:
    """Roughly in the order of what a model takes; those that no data file tells of come last."""
    if name not in zoo()["models"]:
        return 10**9
    return sum(stage.channels**2 // stage.stride for stage in find(name).stages)


def outline(name: str) -> tuple[dict[str, Tensor], dict]:
    """The state of a whole model, as shapes, and what timm is told so that it is not too large."""
    with torch.device("meta"):
        state = timm.create_model(name).state_dict(keep_vars=True)
        if size(state) > LARGEST:
            with contextlib.suppress(TypeError, AssertionError):
                return timm.create_model(name, depth=4).state_dict(keep_vars=True), {"depth": 4}
    if size(state) > TOO_LARGE:
        raise MemoryError(f"{size(state) / 1e9:.1f} billion parameters")
    return state, {}


def size(state: dict[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in state.values())


def verdict(name: str, packed: bool) -> dict:
    start, most = time.perf_counter(), IF_PACKED if packed else TOLERANCE
    try:
        worst, sizes = compare(name, packed)
        result = {"result": "passes" if worst <= most else "differs", "distance": worst, "sizes": sizes}
        if worst > most:
            result["reason"] = f"by {worst:.1e} of a standard deviation"
    except Exception as error:  # whatever goes wrong with one architecture is its result
        result = {"result": "fails", "reason": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    return result | {"seconds": round(time.perf_counter() - start, 1)}


def compare(name: str, packed: bool) -> tuple[float, list]:
    """The largest distance over all stages and sizes, and the sizes."""
    state, less = outline(name)
    first: dict[int, str] = {}  # parts that share a tensor have it under several names
    tensors = {key: drawn(first.setdefault(id(tensor), key), tensor) for key, tensor in state.items()}
    config = TimmBackboneConfig(name, model_args=less or None)
    facts, count = config.facts, len(config.stage_names)
    config.out_indices = list(range(count))
    with torch.device("meta"):
        ours = TimmBackbone(config).eval()
    fill(ours, Held(tensors))
    if packed:
        optimize(ours)
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


def small(facts: Architecture, own: tuple[int, int]) -> tuple[int, int]:
    """An odd size, of few pixels, that is still some cells of the coarsest map; and not a square."""
    coarsest = max(stage.stride for stage in facts.stages)
    return min(own[0], 3 * coarsest + 1), min(own[1], 4 * coarsest + 7)


class Held(Checkpoint):
    """Weights in memory, as if a file held them."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__(Repo())
        self.repo.name = "memory"
        self.tensors, self.files = tensors, dict.fromkeys(tensors, "")

    def read(self, name: str) -> Tensor:
        return self.tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)


@torch.no_grad()
def drawn(name: str, like: Tensor) -> Tensor:
    """Random values with which signals survive a network's depth, and with which no tensor is at rest."""
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
    """Leaves out the drawing of first weights, and the copying of those that replace them at once."""

    skipped = (
        *(getattr(Tensor, name) for name in ("normal_", "uniform_", "erfinv_")),
        *(getattr(nn.init, name) for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_")),
        *(getattr(nn.init, name) for name in ("kaiming_uniform_", "xavier_uniform_", "xavier_normal_")),
    )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.__deepcopy__ and not isinstance(args[0], nn.Parameter):
            return args[0]
        if func in self.skipped:
            with torch.no_grad():  # some draw again until they like it
                return (args[0] if args else (kwargs or {})["tensor"]).zero_()
        return func(*args, **(kwargs or {}))


def reference(name: str, tensors: dict[str, Tensor], count: int, how: dict) -> nn.Module:
    """timm's own feature extraction, loaded by timm."""
    create = partial(timm.create_model, name, features_only=True, out_indices=tuple(range(count)), **how)
    overlay = {"state_dict": tensors, "custom_load": False}
    with NoRandomStart():
        try:
            return create(pretrained=True, pretrained_cfg_overlay=overlay).eval()
        except LocalEntryNotFoundError:  # networks within networks, whose own weights timm asks the hub for
            net = create().eval()
            net.load_state_dict({f"model.{key}": tensor for key, tensor in tensors.items()}, strict=False)
            return net


if __name__ == "__main__":
    main()
