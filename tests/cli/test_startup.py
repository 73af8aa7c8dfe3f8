"""Fast start-up is a feature: commands that compute no tensors don't import torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backbone_cli.configs.swin import SwinConfig

HEAVY = ("torch", "timm", "torchvision", "transformers", "matplotlib", "huggingface_hub", "numpy", "PIL")


def modules_after(*args: str) -> set[str]:
    """The top-level modules that are imported after running a command line."""
    script = (
        "import json, sys\n"
        "from backbone_cli.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "print(json.dumps([code, *sys.modules]), file=sys.stderr)\n"
    )
    process = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)
    code, *names = json.loads(process.stderr.splitlines()[-1])
    assert code == 0, process.stderr
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["extract", "--help"],
        ["models"],
        ["stages", "MODEL"],
        ["view", "--help"],
        ["compare", "--help"],
        ["doctor", "--help"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(args, tmp_path):
    SwinConfig().save_pretrained(tmp_path)
    args = [str(tmp_path) if arg == "MODEL" else arg for arg in args]
    assert not modules_after(*args) & set(HEAVY)


def test_importing_the_package_imports_nothing_heavy():
    process = subprocess.run(
        [sys.executable, "-c", "import sys, backbone_cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {name.partition(".")[0] for name in process.stdout.split()} & set(HEAVY)


@pytest.mark.parametrize(("arg", "code"), [("--version", 0), ("--nonsense", 2)])
def test_exit_handlers_run(arg, code):
    script = (
        "import atexit, sys\n"
        "from backbone_cli.cli import main\n"
        "atexit.register(print, 'exit handler ran')\n"
        "sys.argv[1:] = [sys.argv[1]]\n"
        "main()\n"
    )
    process = subprocess.run([sys.executable, "-c", script, arg], capture_output=True, text=True)
    assert process.returncode == code
    assert process.stdout.endswith("exit handler ran\n")


def test_runs_from_a_source_tree_without_installation(tmp_path):
    """The interpreter finds the dependencies, but not the package's own metadata."""
    root = Path(__file__).parents[2]
    script = (
        "import importlib.metadata, runpy, sys\n"
        "original = importlib.metadata.distribution\n"
        "def distribution(name):\n"
        "    if name == 'backbone-cli':\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return original(name)\n"
        "importlib.metadata.distribution = distribution\n"
        "runpy.run_module('backbone_cli', run_name='__main__')\n"
    )
    model, photo = root / "fixtures/models/swin-micro", root / "fixtures/photos/grace_hopper.jpg"
    command = [sys.executable, "-c", script, "extract", "-m", str(model), str(photo), "-o", str(tmp_path / "out"), "-q"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert (process.returncode, process.stderr) == (0, "")
    versions = json.loads((tmp_path / "out" / "backbone.json").read_text())["versions"]
    assert versions["backbone-cli"] is None and versions["torch"]


def test_interrupt_during_import_is_quiet():
    script = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'typer':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from backbone_cli.__main__ import main\n"
        "main()\n"
    )
    process = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (130, "", "")
