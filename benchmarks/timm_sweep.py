"""Compare every timm architecture as this package runs it with timm itself, using random weights.

    python -m benchmarks.timm_sweep                       # all of them, small ones first
    python -m benchmarks.timm_sweep 'convnext*' 'vit_*'   # some of them
    python -m benchmarks.timm_sweep --out sweep.jsonl     # one line per architecture; existing ones are not run again
    python -m benchmarks.timm_sweep --packed              # optimized as by `extract`, which rounds differently

The weights have the names of timm's own files. The reference is timm's `features_only=True` with these weights, loaded
by timm. An architecture passes if every map has the shape that its configuration predicts and equals the reference
within 1e-5 of the map's standard deviation: at a small odd image size if it takes any size, else at its own.
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
from backbone_cli.checkpoint import Checkpoint, load_weights
from backbone_cli.hub import Repo
from backbone_cli.optimization import optimize
from backbone_cli.timm.catalog import catalog, find_architecture
from backbone_cli.timm.facts import Architecture

TOLERANCE, PACKED_TOLERANCE = 1e-5, 1e-3
CHUNK = 30
MAX_FULL_DEPTH = 4e8  # parameters; larger networks are built with four blocks, if timm lets their depth be set
MAX_PARAMETERS = 1.5e9  # larger networks of fixed depth would need too much memory
NOISE = torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--out", type=Path, default=Path("timm-sweep.jsonl"))
    parser.add_argument("--packed", action="store_true", help="optimize the models, as the command line does")
    parser.add_argument("--shard", default="1/1", help="I/N: run only the I-th of N parts")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("timm").setLevel(logging.ERROR)
    done = {row["name"] for row in rows(args.out)}
    part, parts = map(int, args.shard.split("/"))
    names = [name for name in sorted(timm.list_models(args.patterns), key=cost)[part - 1 :: parts] if name not in done]
    if len(names) > CHUNK:  # in separate processes, so that their memory is freed
        for i in range(0, len(names), CHUNK):
            run_in_process(names[i : i + CHUNK], args.out, ["--packed"] * args.packed)
        summarize(rows(args.out))
        return
    for name in names:
        row = {"name": name, **verdict(name, args.packed)}
        append(args.out, row)
        print(f"{row['result']:<10} {row['seconds']:6.1f}s  {name}  {row.get('reason', '')}", flush=True)


def run_in_process(names: list[str], out: Path, options: list[str]) -> None:
    """Run a subprocess; if it is killed, the architecture it was running has failed, and the others are resumed."""
    while names:
        command = [sys.executable, "-m", "benchmarks.timm_sweep", "--out", str(out), *options, *names]
        code = subprocess.run(command).returncode
        if code > 0:
            raise SystemExit(code)
        if code == 0:
            return
        done = {row["name"] for row in rows(out)}
        failed, *names = [name for name in names if name not in done]
        append(out, {"name": failed, "result": "fails", "reason": f"killed by signal {-code}", "seconds": 0.0})


def append(out: Path, row: dict) -> None:
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


def cost(name: str) -> int:
    """A rough measure of what a model costs, to sort by; models that are not in the catalog come last."""
    if name not in catalog()["models"]:
        return 10**9
    return sum(stage.channels**2 // stage.stride for stage in find_architecture(name).stages)


def model_state(name: str) -> tuple[dict[str, Tensor], dict]:
    """The state of a complete model on the meta device, and the timm arguments that keep it from being too large."""
    with torch.device("meta"):
        state = timm.create_model(name).state_dict(keep_vars=True)
        if parameter_count(state) > MAX_FULL_DEPTH:
            with contextlib.suppress(TypeError, AssertionError):
                return timm.create_model(name, depth=4).state_dict(keep_vars=True), {"depth": 4}
    if parameter_count(state) > MAX_PARAMETERS:
        raise MemoryError(f"{parameter_count(state) / 1e9:.1f} billion parameters")
    return state, {}


def parameter_count(state: dict[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in state.values())


def verdict(name: str, packed: bool) -> dict:
    start, tolerance = time.perf_counter(), PACKED_TOLERANCE if packed else TOLERANCE
    try:
        distance, sizes = compare(name, packed)
        result = {"result": "passes" if distance <= tolerance else "differs", "distance": distance, "sizes": sizes}
        if distance > tolerance:
            result["reason"] = f"by {distance:.1e} of a standard deviation"
    except Exception as error:  # any error is the result of that architecture
        result = {"result": "fails", "reason": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    return result | {"seconds": round(time.perf_counter() - start, 1)}


def compare(name: str, packed: bool) -> tuple[float, list]:
    """The largest distance over all stages and sizes, and the sizes."""
    state, depth_args = model_state(name)
    first: dict[int, str] = {}  # modules that share a tensor have it under several names
    tensors = {key: random_tensor(first.setdefault(id(tensor), key), tensor) for key, tensor in state.items()}
    config = TimmBackboneConfig(name, model_args=depth_args or None)
    architecture, count = config.architecture, len(config.stage_names)
    config.out_indices = list(range(count))
    with torch.device("meta"):
        model = TimmBackbone(config).eval()
    load_weights(model, InMemoryCheckpoint(tensors))
    if packed:
        optimize(model)
    own = config.default_size()
    sizes = [own] if architecture.multiple != 1 else [small_size(architecture, own)]
    largest = 0.0
    for size in sizes:
        oracle = reference(name, tensors, count, {**depth_args, **(architecture.build_args if size != own else {})})
        x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected_maps, maps = oracle(x), model(x).feature_maps
        for shape, actual, expected in zip(config.map_shapes(*size), maps, expected_maps, strict=False):
            if str(getattr(oracle, "output_fmt", "NCHW")).endswith("NHWC"):
                expected = expected.permute(0, 3, 1, 2)
            assert tuple(actual.shape[1:]) == shape, f"predicted {shape}, got {tuple(actual.shape[1:])} at {size}"
            assert torch.isfinite(expected).all() and expected.std() > 0, "the reference is constant or not finite"
            largest = max(largest, ((actual - expected).abs().max() / expected.std()).item())
    return largest, sizes


def small_size(architecture: Architecture, own: tuple[int, int]) -> tuple[int, int]:
    """An odd, non-square size with few pixels that still gives several cells of the coarsest map."""
    coarsest = max(stage.stride for stage in architecture.stages)
    return min(own[0], 3 * coarsest + 1), min(own[1], 4 * coarsest + 7)


class InMemoryCheckpoint(Checkpoint):
    """A checkpoint whose tensors are in memory."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__(Repo())
        self.repo.name = "memory"
        self.tensors, self.files = tensors, dict.fromkeys(tensors, "")

    def read(self, name: str) -> Tensor:
        return self.tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)


@torch.no_grad()
def random_tensor(name: str, like: Tensor) -> Tensor:
    """Random values that keep activations in range through a network, with every tensor away from its initial value."""
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    count, offset = like.numel(), sum(map(ord, name)) % 9973
    value = NOISE.repeat(1 + (offset + count) // len(NOISE))[offset : offset + count].reshape(like.shape)
    if name.endswith(("running_var",)):
        return 1 + 0.2 * value.clamp(-2, 2).abs()
    if like.ndim <= 1:
        return 0.1 * value + (0.0 if name.endswith(("bias", "running_mean")) else 1.0 if "weight" in name else 0.5)
    return value * (like.numel() / like.shape[0]) ** -0.5


class SkipInit(TorchFunctionMode):
    """Skips the random initialization of weights, and copies of weights that are loaded immediately."""

    skipped = (
        *(getattr(Tensor, name) for name in ("normal_", "uniform_", "erfinv_")),
        *(getattr(nn.init, name) for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_")),
        *(getattr(nn.init, name) for name in ("kaiming_uniform_", "xavier_uniform_", "xavier_normal_")),
    )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.__deepcopy__ and not isinstance(args[0], nn.Parameter):
            return args[0]
        if func in self.skipped:
            with torch.no_grad():  # some initializations repeat until the values are in bounds
                return (args[0] if args else (kwargs or {})["tensor"]).zero_()
        return func(*args, **(kwargs or {}))


def reference(name: str, tensors: dict[str, Tensor], count: int, options: dict) -> nn.Module:
    """timm's own feature extraction, loaded by timm."""
    create = partial(timm.create_model, name, features_only=True, out_indices=tuple(range(count)), **options)
    overlay = {"state_dict": tensors, "custom_load": False}
    with SkipInit():
        try:
            return create(pretrained=True, pretrained_cfg_overlay=overlay).eval()
        except LocalEntryNotFoundError:  # networks that contain others, whose weights timm requests from the Hub
            net = create().eval()
            net.load_state_dict({f"model.{key}": tensor for key, tensor in tensors.items()}, strict=False)
            return net


if __name__ == "__main__":
    main()
