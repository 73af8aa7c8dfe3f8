"""Starting fast is a feature: what asks for no tensor imports no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backbone_cli.configs.swin import SwinConfig

HEAVY = ("torch", "timm", "torchvision", "transformers", "matplotlib", "huggingface_hub", "numpy", "PIL")


def modules_after(*args: str) -> set[str]:
    """The top-level modules that a command line leaves imported."""
    script = (
        "import json, sys\n"
        "from backbone_cli.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "print(json.dumps([code, *sys.modules]), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)
    code, *names = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
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
def test_nothing_heavy_is_imported(args, tmp_path):
    SwinConfig().save_pretrained(tmp_path)
    args = [str(tmp_path) if arg == "MODEL" else arg for arg in args]
    assert not modules_after(*args) & set(HEAVY)


def test_importing_the_package_is_light():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, backbone_cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(HEAVY)


@pytest.mark.parametrize(("arg", "code"), [("--version", 0), ("--nonsense", 2)])
def test_the_process_leaves_nothing_undone(arg, code):
    script = (
        "import atexit, sys\n"
        "from backbone_cli.cli import main\n"
        "atexit.register(print, 'the last word')\n"
        "sys.argv[1:] = [sys.argv[1]]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, arg], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout.endswith("the last word\n")


def test_it_runs_from_a_source_tree_that_was_not_installed(tmp_path):
    """In an interpreter that finds the dependencies and not the package's own metadata."""
    root = Path(__file__).parents[2]
    script = (
        "import importlib.metadata, runpy, sys\n"
        "found = importlib.metadata.distribution\n"
        "def distribution(name):\n"
        "    if name == 'backbone-cli':\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "importlib.metadata.distribution = distribution\n"
        "runpy.run_module('backbone_cli', run_name='__main__')\n"
    )
    model, photo = root / "fixtures/models/swin-micro", root / "fixtures/photos/grace_hopper.jpg"
    command = [sys.executable, "-c", script, "extract", "-m", str(model), str(photo), "-o", str(tmp_path / "out"), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stderr) == (0, "")
    versions = json.loads((tmp_path / "out" / "backbone.json").read_text())["versions"]
    assert versions["backbone-cli"] is None and versions["torch"]


def test_an_interrupt_while_the_command_line_is_imported_is_quiet():
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
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
