"""`backbone doctor`: what is installed, what it can use, and what is wrong with it."""

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
from ..pipeline.claims import nearest_existing
from ..pipeline.units import human
from ..versions import installed
from . import options
from .console import console, table

About = dict[str, Any]
Problems = list[str]
"""A sentence each: what is broken, and what to do."""

# What the speed of matrix products hangs on, as /proc/cpuinfo calls it on x86 and on ARM.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16", "asimdhp", "bf16", "sve")


def doctor(as_json: options.Json = False) -> int:
    """Show versions, devices, the model cache and what else is usable. Exits with 1 where something is broken.

    \b
    backbone doctor
    backbone doctor --json | jq .devices
    """
    problems: Problems = []
    about: About = {
        "system": {
            "backbone": installed("backbone-cli"),
            "python": platform.python_version(),
            "on": platform.platform(),
        },
        "packages": packages(problems),
    }
    if imports(problems):
        about |= {"torch": torch_build(), "devices": devices(problems), "speed": speeds()}
    about |= {"cache": cache(problems), "optional": optional(), "problems": problems}
    console.data(json.dumps(about) if as_json else "\n".join(lines(about)))
    for problem in problems:
        console.error(problem)
    return 1 if problems else 0


# --- what is examined -------------------------------------------------------------------------------------------


def packages(problems: Problems) -> About:
    """The versions of what the project asks for; a missing or too old one is a problem."""
    found: About = {}
    for name, least in needed():
        found[name] = installed(name)
        if found[name] is None:
            problems.append(f"{name} is not installed; run `pip install '{name}>={least}'`.")
        elif numbers(found[name]) < numbers(least):
            problems.append(f"{name} {found[name]} is too old; run `pip install '{name}>={least}'`.")
    return found | {"torchvision": installed("torchvision")}


def needed() -> Iterator[tuple[str, str]]:
    """`torch>=2.6` -> ("torch", "2.6"), for everything but the extras."""
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
    """Whether torch can be imported, and what comes with it; torch and torchvision must be made for each other."""
    for name in ("torch", "torchvision", "timm"):
        if installed(name) is None:
            continue  # told already, where it is needed
        try:
            import_module(name)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            fits = "; torch and torchvision must fit each other" if name != "torch" else ""
            problems.append(
                f"{name} {installed(name)} can't be imported ({first_line(error)}){fits}."
                " Run `pip install --force-reinstall torch torchvision timm`."
            )
            return name != "torch"
    return installed("torch") is not None


def torch_build() -> About:
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


def speeds() -> About:
    """How fast this CPU multiplies matrices in each dtype, in GFLOP/s: measured, since no name tells."""
    import torch

    size = 256
    rates: About = {}
    for name in ("float32", "bfloat16", "float16"):
        x = torch.ones(size, size, dtype=getattr(torch, name))
        best, until = math.inf, time.perf_counter() + 0.05
        while time.perf_counter() < until or best == math.inf:
            start = time.perf_counter()
            x @ x
            best = min(best, time.perf_counter() - start)
        rates[name] = round(2e-9 * size**3 / best, 1)
    return rates


def devices(problems: Problems) -> list[About]:
    """The GPUs that torch can use, with their memory in bytes."""
    import torch

    found: list[About] = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            found.append({"device": f"cuda:{i}", "name": torch.cuda.get_device_name(i), "memory": total, "free": free})
    elif Path("/dev/nvidiactl").exists():
        built = f"made for CUDA {torch.version.cuda}" if torch.version.cuda else "made without CUDA"
        problems.append(
            f"There is an NVIDIA GPU, and torch can't use it: torch is {built}."
            " Update the driver, or install the torch that fits it."
        )
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        free = total - torch.mps.driver_allocated_memory()
        found.append({"device": "mps", "name": platform.processor(), "memory": total, "free": free})
    return found


def cache(problems: Problems) -> About:
    """Where the hub's files are kept, and the models among them, with their sizes in bytes."""
    if installed("huggingface_hub") is None:
        return {}
    import huggingface_hub as hf

    folder = Path(hf.constants.HF_HUB_CACHE)
    there = nearest_existing(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        problems.append(f"The cache {folder} can't be written; set HF_HUB_CACHE (or HF_HOME) to a folder that can.")
    about: About = {"path": str(folder), "offline": bool(hf.constants.HF_HUB_OFFLINE), "bytes": 0, "models": []}
    if folder.is_dir():
        found = hf.scan_cache_dir(folder)
        repos = sorted((repo for repo in found.repos if repo.repo_type == "model"), key=lambda repo: repo.repo_id)
        about["bytes"] = found.size_on_disk
        about["models"] = [{"model": repo.repo_id, "bytes": repo.size_on_disk} for repo in repos]
        # Files of the cache's own, which lie beside the models, give warnings, too.
        damaged = [first_line(warning) for warning in found.warnings if "models--" in str(warning)]
        problems += [
            f"The cache is damaged: {warning}. Remove that folder; it is fetched again." for warning in damaged
        ]
    return about


def optional() -> About:
    """What is good to have: decoders that Pillow may lack, and what --compile needs."""
    found: About = {"compiler (for --compile)": next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)}
    if installed("pillow"):
        from PIL import features

        for name, part in (("WebP", "webp"), ("AVIF", "avif"), ("JPEG 2000", "jpg_2000"), ("TIFF", "libtiff")):
            with warnings.catch_warnings():  # an older Pillow doesn't know the word
                warnings.simplefilter("ignore")
                found[f"{name} images"] = features.check(part)
    return found


# --- how it is told ---------------------------------------------------------------------------------------------


def lines(about: About) -> Iterator[str]:
    system, kept = about["system"], about["cache"]
    yield f"backbone {system['backbone']}, Python {system['python']}, {system['on']}"
    yield "\n" + table(
        ("package", "version"), ((name, found or "missing") for name, found in about["packages"].items())
    )
    if "torch" in about:
        yield "\n" + table(("CPU", ""), cpu_rows(about["torch"], about["speed"]))
        gpus = [(d["device"], d["name"], f"{human(d['free'])} free of {human(d['memory'])}") for d in about["devices"]]
        build = f"CUDA {about['torch']['cuda']}" if about["torch"]["cuda"] else "no CUDA"
        yield "\n" + (
            table(("GPU", "name", "memory"), gpus) if gpus else f"No GPU that torch can use; it is built for {build}."
        )
    if kept:
        offline = ", offline" if kept["offline"] else ""
        yield f"\nModel cache: {kept['path']} ({human(kept['bytes'])}{offline})"
        if kept["models"]:
            yield table(("model", "size"), ((model["model"], human(model["bytes"])) for model in kept["models"]))
    yield "\n" + table(("optional", ""), ((name, told(found)) for name, found in about["optional"].items()))


def told(found: Any) -> str:
    return {True: "yes", False: "no", None: "no"}.get(found, str(found))


def cpu_rows(build: About, rates: About) -> Iterator[tuple[str, str]]:
    yield "kernels", f"{build['cpu_capability']}, oneDNN {told(build['onednn'])}, MKL {told(build['mkl'])}"
    yield "instructions", " ".join(build["instructions"]) or "unknown"
    yield "threads", f"{build['threads']} of {build['cores']} cores"
    for name, rate in rates.items():
        times = rate / max(rates["float32"], 0.1)
        faster = f", {times:.1f} times as fast as float32" if times >= 1.2 else ", no faster than float32 on this CPU"
        yield name, f"{rate:,.1f} GFLOP/s{'' if name == 'float32' else faster}"
