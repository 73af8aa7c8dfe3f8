"""`backbone extract` end to end, with a small real model."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbone_cli.auto import AutoBackbone
from backbone_cli.cli import run
from backbone_cli.configs.dinov2 import Dinov2Config
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.images.processor import ImageProcessor
from backbone_cli.output.formats import read_array, read_entries
from tests.pipeline.stub import tree


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("swin")
    config = SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
    AutoBackbone.from_config(config).save_pretrained(folder)
    ImageProcessor.from_dict({"size": {"height": 32, "width": 32}}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(autouse=True)
def work_in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def extract(*args: object) -> int:
    return run(["extract", *map(str, args), "-j", "0"])


def expected_maps(model: str, path: Path, **kwargs) -> tuple[torch.Tensor, ...]:
    backbone = AutoBackbone.from_pretrained(model, **kwargs)
    pixels = ImageProcessor.from_dict({"size": {"height": 32, "width": 32}})(str(path), return_tensors="pt")
    with torch.inference_mode():
        return backbone(**pixels).feature_maps


def test_documented_example(model, photos, capsys):
    assert extract("--model", model, "--out-indices", "0,1,2", photos / "0.png") == 0
    maps = expected_maps(model, photos / "0.png", out_indices=(0, 1, 2))
    for stage, expected in zip(("stem", "stage1", "stage2"), maps, strict=True):
        saved = np.load(f"features/0.{stage}.npy")
        assert saved.shape == expected[0].shape and saved.dtype == np.float32
        assert np.abs(saved - expected[0].numpy()).max() < 1e-4 * saved.std()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("1 done in 0:0")
    assert "features (stem 8.2 kB, stage1 8.2 kB, stage2 4.1 kB)" in captured.err


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ([], ["stage2"]),
        (["--out-indices", "-1"], ["stage2"]),
        (["--out-indices", "0-1"], ["stem", "stage1"]),
        (["--out-indices", "2", "--out-indices", "0"], ["stem", "stage2"]),
        (["--out-features", "stage1,stem", "--out-indices", "0,1"], ["stem", "stage1"]),
        (["--out-indices", "all"], ["stem", "stage1", "stage2"]),
    ],
)
def test_choice_of_stages(options, stages, model, photos):
    assert extract("-m", model, photos / "0.png", "-q", *options) == 0
    assert sorted(path.name for path in Path("features").glob("*.npy")) == sorted(f"0.{s}.npy" for s in stages)


def test_dtypes_and_formats(model, photos):
    common = ["-m", model, photos / "0.png", "-q"]
    assert extract(*common, "-o", "a", "--save-dtype", "float16") == 0
    assert np.load("a/0.stage2.npy").dtype == np.float16
    assert extract(*common, "-o", "b", "-f", "safetensors", "--dtype", "bfloat16", "--save-dtype", "bfloat16") == 0
    entry = read_entries(Path("b/0.safetensors"), "safetensors")["stage2"]
    assert entry.dtype == "bfloat16"
    saved, exact = read_array(Path("b/0.safetensors"), entry), expected_maps(model, photos / "0.png")[0][0].numpy()
    assert 0 < np.abs(saved - exact).max() < 0.1 * exact.std()


def test_image_size_and_pool(model, photos):
    common = ["-m", model, photos / "0.png", "-q"]
    assert extract(*common, "-o", "a", "--image-size", "48x64") == 0
    assert np.load("a/0.stage2.npy").shape == (16, 12, 16)
    assert extract(*common, "-o", "b", "--pool", "mean", "--layout", "stacked") == 0
    assert np.load("b/stage2.npy").shape == (1, 16)


def test_random_weights(tmp_path, model, photos):
    (tmp_path / "config_only").mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / "config_only" / name).write_bytes((Path(model) / name).read_bytes())
    assert extract("-m", "config_only", photos / "0.png", "-q") == 3
    assert not Path("features").exists()
    assert extract("-m", "config_only", photos / "0.png", "-q", "--random-init") == 0
    assert extract("-m", "config_only", photos / "0.png", "-q", "--random-init", "--seed", "1", "-o", "other") == 0
    assert not np.array_equal(np.load("features/0.stage2.npy"), np.load("other/0.stage2.npy"))


def test_json_and_exit_codes(model, photos, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    assert extract("-m", model, photos, tmp_path / "bad.jpg", "--json", "-q", "--root", "/") == 1
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [set(line) for line in lines] == [{"source", "status", "outputs", "error", "seconds"}] * 4
    assert [line["status"] for line in lines] == ["done", "done", "done", "failed"]
    assert lines[0]["outputs"]["stage2"]["shape"] == [16, 8, 8]
    assert captured.err == f"Error: {lines[3]['error']}\n"
    assert extract("-m", model, photos, "--json", "-q", "--root", "/") == 0
    assert capsys.readouterr().out == ""


def test_output_to_stdout(model, photos, capfdbinary):
    assert extract("-m", model, photos / "0.png", "-o", "-") == 0
    captured = capfdbinary.readouterr()
    saved = np.load(io.BytesIO(captured.out))
    assert np.abs(saved - expected_maps(model, photos / "0.png")[0][0].numpy()).max() < 1e-4 * saved.std()
    assert captured.err == b""
    assert extract("-m", model, photos / "0.png", "-o", "-", "-f", "safetensors", "--out-indices", "all") == 0
    header = capfdbinary.readouterr().out
    assert set(json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])) == {"stem", "stage1", "stage2"}
    assert not Path("features").exists()


def test_paths_on_stdin(model, photos, monkeypatch):
    paths = b"\0".join(os.fsencode(path) for path in sorted(photos.iterdir()))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(paths)))
    assert extract("-m", model, "-0", "-", "-q") == 0
    assert len(list(Path("features").glob("*.npy"))) == 3


def test_model_from_the_environment(model, photos, monkeypatch):
    monkeypatch.setenv("BACKBONE_MODEL", model)
    assert extract(photos / "0.png", "-q") == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["PHOTOS"], 2, "Give a model with -m/--model"),
        (["-m", "MODEL"], 2, "No inputs"),
        (["-m", "MODEL", "", "PHOTOS"], 2, "An input is empty"),
        (["-m", "MODEL", "PHOTOS", "-o", ""], 2, "--output is empty"),
        (["-m", "MODEL", "nope.jpg"], 2, "There is no file or folder 'nope.jpg'"),
        (["-m", "MODEL", "."], 2, "There are no images in '.'"),
        (["-m", "MODEL", "PHOTOS", "--out-features", "stage9"], 2, "Did you mean 'stage"),
        (["-m", "MODEL", "PHOTOS", "--out-indices", "0", "--out-features", "stage1"], 2, "different stages"),
        (["-m", "MODEL", "PHOTOS", "--save-dtype", "bfloat16"], 2, "npy files can't hold bfloat16"),
        (["-m", "MODEL", "PHOTOS", "-f", "hdf5"], 2, "hdf5"),
        (["-m", "MODEL", "PHOTOS", "--image-size", "big"], 2, "not an image size"),
        (["-m", "MODEL", "PHOTOS", "--shard", "3/2"], 2, "counts from 1 to N"),
        (["-m", "MODEL", "PHOTOS", "--shard", "auto"], 2, "finds no job array"),
        (["-m", "MODEL", "PHOTOS", "-b", "0"], 2, "--batch-size must be at least 1"),
        (["-m", "MODEL", "PHOTOS", "-b", "many"], 2, "--batch-size must be a number or auto"),
        (["-m", "MODEL", "PHOTOS", "-0"], 2, "give `-` as an input"),
        (["-m", "MODEL", "-", "-"], 2, "can be read only once"),
        (["-m", "MODEL", "PHOTOS", "-o", "-"], 2, "there are 3"),
        (["-m", "MODEL", "PHOTOS/0.png", "-o", "-", "--json"], 2, "both write to standard output"),
        (["-m", "MODEL", "PHOTOS/0.png", "-o", "-", "--out-indices", "all"], 2, "one npy array"),
        (["-m", "MODEL", "PHOTOS/0.png", "-o", "-", "--layout", "stacked"], 2, "need a folder"),
        (["-m", "MODEL", "PHOTOS", "--device", "cuda:9"], 2, "There is no device 'cuda:9'"),
        (["-m", "MODEL", "PHOTOS", "--device", "cpu,cpu"], 2, "has no device, or one twice"),
        (["-m", "MODEL", "PHOTOS", "--pool", "cls"], 2, "has no class token"),
        (["-m", "MODEL", "PHOTOS", "--nope"], 2, "No such option: --nope"),
        (["-m", "/no/model", "PHOTOS"], 3, "There is no folder '/no/model'"),
        (["-m", "some/model", "PHOTOS", "--offline"], 3, "not in the cache"),
        (["-m", "MODEL", "PHOTOS", "-o", "/dev/null/x"], 4, "can't be written"),
    ],
)
def test_error_messages(args, code, message, model, photos, capsys, monkeypatch):
    monkeypatch.delenv("BACKBONE_MODEL", raising=False)
    args = [arg.replace("MODEL", model).replace("PHOTOS", str(photos)) for arg in args]
    assert extract(*args) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not Path("features").exists()


def test_binary_output_to_a_terminal_is_refused(model, photos, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert extract("-m", model, photos / "0.png", "-o", "-") == 2
    assert "a terminal can't show" in capsys.readouterr().err


def test_dry_run(model, photos, capsys):
    assert extract("-m", model, photos, "--dry-run", "--out-indices", "all", "--device", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "3 images, 3 of them to do, in batches of 4",
        "stage   shape per image  all images",
        "stem    8 x 16 x 16      24.6 kB",
        "stage1  8 x 16 x 16      24.6 kB",
        "stage2  16 x 8 x 8       12.3 kB",
    ]
    assert lines[5].startswith("61.4 kB in total; ") and lines[6].startswith("Time: about 0:")
    assert not Path("features").exists()
    assert extract("-m", model, photos / "0.png", "-q") == 0
    assert extract("-m", model, photos, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["images"], plan["to_do"], plan["bytes"]) == (3, 2, 2 * 4096)
    assert len(list(Path("features").glob("*.npy"))) == 1


def test_verbose_details(model, photos, capsys):
    assert extract("-m", model, photos / "0.png", "-v") == 0
    err = capsys.readouterr().err
    assert f"Model: {model} (swin, files:" in err
    assert "Stages: stage2" in err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_run_ends_cleanly_on_a_signal(name, model, tmp_path):
    """Standard input stays open, so the run is certain to be active when the signal arrives."""
    code = "import sys; from backbone_cli.cli import main; main()"
    command = [sys.executable, "-c", code, "extract", "-m", model, "-", "--json", "-b", "2", "-j", "1"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Background jobs of a script ignore SIGINT, and so do their children unless they restore the default.
    process = subprocess.Popen(command, **pipes, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    for i in range(20):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((32, 32, 3), i, np.uint8)).save(path)
        process.stdin.write(os.fsencode(path) + b"\n")
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    process.send_signal(getattr(signal, name))
    err = process.communicate()[1]
    assert process.returncode == 130
    assert b"Interrupted after " in err and b"Traceback" not in err
    assert first["status"] == "done"
    lines = [json.loads(line) for line in Path("features/index.jsonl").read_text().splitlines()]
    indexed = {output["file"] for line in lines for output in line["outputs"].values()}
    assert indexed == {path.name for path in Path("features").glob("*.npy")}


def test_closed_pipe_ends_the_run_quietly(model, photos):
    command = (
        f"{sys.executable} -c 'from backbone_cli.cli import main; main()' extract -m {model} {photos} --json -q -b 1"
    )
    process = subprocess.run(["bash", "-c", f"{command} | head -1"], capture_output=True, text=True)
    assert json.loads(process.stdout)["status"] == "done"
    assert process.stderr == ""


def test_two_devices_write_the_same_files_as_one(model, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    inputs = ["-m", model, photos, tmp_path / "bad.jpg", "--root", "/", "-q", "-b", "1", "--out-indices", "all"]
    assert extract(*inputs, "-o", "one") == 1
    assert extract(*inputs, "-o", "two", "--device", "cpu:0,cpu:1") == 1
    assert tree(Path("one")) == tree(Path("two"))


def test_image_smaller_than_a_patch_fails_alone(tmp_path, capsys):
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    AutoBackbone.from_config(config).save_pretrained("vit")
    ImageProcessor.from_dict({"do_resize": False, "do_center_crop": False}).save_pretrained("vit")
    Path("in").mkdir()
    for name, side in (("small", 7), ("large", 28)):
        Image.new("RGB", (side, side)).save(f"in/{name}.png")
    assert extract("-m", "vit", "in") == 1
    assert "small.png: An image of 7x7 pixels is too small" in capsys.readouterr().err
    assert Path("features/large.stage1.npy").is_file()
    assert extract("-m", "vit", "in", "--image-size", "8", "-o", "other") == 2
    assert "8x8 pixels is too small" in capsys.readouterr().err
    assert not Path("other").exists()
