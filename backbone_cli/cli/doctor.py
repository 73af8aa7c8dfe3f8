"""`backbone doctor`: what is installed, what is usable, and what is wrong."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import first_line
from ..pipeline.names import nearest_existing
from ..units import format_bytes
from ..versions import installed
from . import options
from .console import console, table

Report = dict[str, Any]
Problems = list[str]
"""One sentence each: what is broken, and what to do."""

# Instruction sets that decide the speed of matrix products, as /proc/cpuinfo names them on x86 and ARM.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16", "asimdhp", "bf16", "sve")


def doctor(as_json: options.Json = False) -> int:
    """Show versions, devices, the model cache and optional features. Exits with 1 if something is broken.

    \b
    backbone doctor
    backbone doctor --json | jq .devices
    """
    problems: Problems = []
    report: Report = {
        "system": {
            "backbone": installed("backbone-cli"),
            "python": platform.python_version(),
            "on": platform.platform(),
        },
        "packages": packages(problems),
    }
    if imports(problems):
        report |= {"torch": torch_build(), "devices": devices(problems), "speed": speeds()}
    report |= {"cache": cache(problems), "optional": optional(), "problems": problems}
    console.data(json.dumps(report) if as_json else "\n".join(lines(report)))
    for problem in problems:
        console.error(problem)
    return 1 if problems else 0


# --- checks -------------------------------------------------------------------------------------------


def packages(problems: Problems) -> Report:
    """The versions of the required packages; a missing or too old one is a problem."""
    report: Report = {}
    for name, minimum in requirements():
        report[name] = installed(name)
        if report[name] is None:
            problems.append(f"{name} is not installed; run `pip install '{name}>={minimum}'`.")
        elif numbers(report[name]) < numbers(minimum):
            problems.append(f"{name} {report[name]} is too old; run `pip install '{name}>={minimum}'`.")
    return report | {"torchvision": installed("torchvision")}


def requirements() -> Iterator[tuple[str, str]]:
    """`torch>=2.6` -> ("torch", "2.6"), for everything except extras."""
    from importlib.metadata import PackageNotFoundError, requires

    lines: list[str] = []
    with suppress(PackageNotFoundError):
        lines = requires("backbone-cli") or []
    for line in lines:
        if "extra ==" not in line and (match := re.match(r"([\w-]+)\s*>=\s*([\d.]+)", line)):
            yield match[1], match[2]


def numbers(text: str) -> tuple[int, ...]:
    """`2.6.0+cu126` -> (2, 6, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def imports(problems: Problems) -> bool:
    """Whether torch, torchvision and timm can be imported; torch and torchvision must match."""
    for name in ("torch", "torchvision", "timm"):
        if installed(name) is None:
            continue  # reported already if it is required
        try:
            import_module(name)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            hint = "; torch and torchvision must match" if name != "torch" else ""
            problems.append(
                f"{name} {installed(name)} can't be imported ({first_line(error)}){hint}."
                " Run `pip install --force-reinstall torch torchvision timm`."
            )
            return name != "torch"
    return installed("torch") is not None


def torch_build() -> Report:
    import torch

    return {
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": torch.backends.mkldnn.is_available(),
        "mkl": torch.backends.mkl.is_available(),
        "instructions": instructions(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def instructions() -> list[str]:
    with suppress(OSError):
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
        return [name for name in INSTRUCTIONS if name in words]
    return []


def speeds() -> Report:
    """This CPU's measured speed of matrix products in each dtype, in GFLOP/s."""
    import torch

    size = 256
    rates: Report = {}
    for name in ("float32", "bfloat16", "float16"):
        x = torch.ones(size, size, dtype=getattr(torch, name))
        best, until = math.inf, time.perf_counter() + 0.05
        while time.perf_counter() < until or best == math.inf:
            start = time.perf_counter()
            x @ x
            best = min(best, time.perf_counter() - start)
        rates[name] = round(2e-9 * size**3 / best, 1)
    return rates


def devices(problems: Problems) -> list[Report]:
    """The GPUs that torch can use, with their memory in bytes."""
    import torch

    gpus: list[Report] = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            gpus.append({"device": f"cuda:{i}", "name": torch.cuda.get_device_name(i), "memory": total, "free": free})
    elif Path("/dev/nvidiactl").exists():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        problems.append(
            f"There is an NVIDIA GPU, but torch can't use it: torch is {built}."
            " Update the driver, or install a matching torch."
        )
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        free = total - torch.mps.driver_allocated_memory()
        gpus.append({"device": "mps", "name": platform.processor(), "memory": total, "free": free})
    return gpus


def cache(problems: Problems) -> Report:
    """The Hub cache's path and the models in it, with their sizes in bytes."""
    if installed("huggingface_hub") is None:
        return {}
    import huggingface_hub as hf

    folder = Path(hf.constants.HF_HUB_CACHE)
    existing = nearest_existing(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        problems.append(f"The cache {folder} can't be written; set HF_HUB_CACHE (or HF_HOME) to a writable folder.")
    report: Report = {"path": str(folder), "offline": bool(hf.constants.HF_HUB_OFFLINE), "bytes": 0, "models": []}
    if folder.is_dir():
        scan = hf.scan_cache_dir(folder)
        repos = sorted((repo for repo in scan.repos if repo.repo_type == "model"), key=lambda repo: repo.repo_id)
        report["bytes"] = scan.size_on_disk
        report["models"] = [{"model": repo.repo_id, "bytes": repo.size_on_disk} for repo in repos]
        # The cache's own files next to the models also cause warnings.
        damaged = [first_line(warning) for warning in scan.warnings if "models--" in str(warning)]
        problems += [
            f"The cache is damaged: {warning}. Remove that folder; it will be fetched again." for warning in damaged
        ]
    return report


def optional() -> Report:
    """Optional features: decoders that Pillow may lack, and the compiler that --compile needs."""
    report: Report = {
        "compiler (for --compile)": next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    }
    if installed("pillow"):
        from PIL import features

        for name, part in (("WebP", "webp"), ("AVIF", "avif"), ("JPEG 2000", "jpg_2000"), ("TIFF", "libtiff")):
            with warnings.catch_warnings():  # an older Pillow may not know the name
                warnings.simplefilter("ignore")
                report[f"{name} images"] = features.check(part)
    return report


# --- report ---------------------------------------------------------------------------------------------


def lines(report: Report) -> Iterator[str]:
    system, cache = report["system"], report["cache"]
    yield f"backbone {system['backbone']}, Python {system['python']}, {system['on']}"
    yield "\n" + table(
        ("package", "version"), ((name, version or "missing") for name, version in report["packages"].items())
    )
    if "torch" in report:
        yield "\n" + table(("CPU", ""), cpu_rows(report["torch"], report["speed"]))
        gpus = [
            (d["device"], d["name"], f"{format_bytes(d['free'])} free of {format_bytes(d['memory'])}")
            for d in report["devices"]
        ]
        build = f"CUDA {report['torch']['cuda']}" if report["torch"]["cuda"] else "no CUDA"
        yield "\n" + (
            table(("GPU", "name", "memory"), gpus) if gpus else f"No GPU that torch can use (built for {build})."
        )
    if cache:
        offline = ", offline" if cache["offline"] else ""
        yield f"\nModel cache: {cache['path']} ({format_bytes(cache['bytes'])}{offline})"
        if cache["models"]:
            yield table(
                ("model", "size"), ((model["model"], format_bytes(model["bytes"])) for model in cache["models"])
            )
    yield "\n" + table(("optional", ""), ((name, yes_or_no(value)) for name, value in report["optional"].items()))


def yes_or_no(value: Any) -> str:
    return {True: "yes", False: "no", None: "no"}.get(value, str(value))


def cpu_rows(build: Report, rates: Report) -> Iterator[tuple[str, str]]:
    yield "kernels", f"{build['cpu_capability']}, oneDNN {yes_or_no(build['onednn'])}, MKL {yes_or_no(build['mkl'])}"
    yield "instructions", " ".join(build["instructions"]) or "unknown"
    yield "threads", f"{build['threads']} of {build['cores']} cores"
    for name, rate in rates.items():
        times = rate / max(rates["float32"], 0.1)
        faster = f", {times:.1f} times as fast as float32" if times >= 1.2 else ", no faster than float32 on this CPU"
        yield name, f"{rate:,.1f} GFLOP/s{'' if name == 'float32' else faster}"
