"""`backbone doctor`."""

import importlib
import json

import pytest

from backbone_cli.cli import doctor, run


@pytest.fixture(autouse=True)
def healthy(tmp_path, monkeypatch):
    """A healthy machine: no GPU, and a cache with one model."""
    from huggingface_hub import constants

    snapshot = tmp_path / "hub/models--some--model/snapshots/0123"
    snapshot.mkdir(parents=True)
    snapshot.joinpath("config.json").write_text("{}")
    refs = tmp_path / "hub/models--some--model/refs"
    refs.mkdir()
    refs.joinpath("main").write_text("0123")
    (tmp_path / "hub/version.txt").write_text("1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("pathlib.Path.exists", hide_gpu(doctor.Path.exists))


def hide_gpu(exists):
    return lambda path, **kwargs: str(path) != "/dev/nvidiactl" and exists(path, **kwargs)


def report(capsys, code=0):
    assert run(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_json_report(capsys, tmp_path):
    contents = report(capsys)
    assert contents["problems"] == []
    assert {"torch", "timm", "safetensors", "huggingface-hub", "typer", "pillow", "numpy"} <= set(contents["packages"])
    assert contents["torch"]["threads"] >= 1 and contents["torch"]["cpu_capability"]
    assert set(contents["speed"]) == {"float32", "bfloat16", "float16"} and contents["speed"]["float32"] > 0
    assert contents["cache"]["path"] == str(tmp_path / "hub")
    assert contents["cache"]["models"] == [{"model": "some/model", "bytes": 2}]


def test_text_report(capsys):
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "backbone 0" in out and "some/model" in out and "GFLOP/s" in out and "oneDNN" in out


def test_missing_and_outdated_packages_are_problems(capsys, monkeypatch):
    versions = {"safetensors": None, "pillow": "9.5.0"}
    monkeypatch.setattr(doctor, "installed", lambda name: versions.get(name, "99.0"))
    problems = report(capsys, code=1)["problems"]
    assert any("safetensors is not installed; run `pip install 'safetensors>=" in text for text in problems)
    assert any("pillow 9.5.0 is too old" in text for text in problems) and len(problems) == 2


def test_mismatched_torch_and_torchvision(capsys, monkeypatch):
    def import_module(name):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return importlib.import_module(name)

    monkeypatch.setattr(doctor, "import_module", import_module)
    assert run(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "GFLOP/s" in out  # torch itself works
    assert "operator torchvision::nms" in err and "torch and torchvision must match" in err and "pip install" in err


def test_torch_that_cannot_be_imported(capsys, monkeypatch):
    def import_module(name):
        raise ImportError("libtorch_cpu.so: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", import_module)
    contents = report(capsys, code=1)
    assert "torch" not in contents and "libtorch_cpu.so" in contents["problems"][0]


def test_cache_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    contents = report(capsys, code=1)
    assert "can't be written; set HF_HUB_CACHE" in contents["problems"][0] and contents["cache"]["models"] == []


def test_damaged_cache(capsys, tmp_path):
    (tmp_path / "hub/models--broken--model").mkdir()
    (problem,) = report(capsys, code=1)["problems"]
    assert "The cache is damaged" in problem and "broken" in problem


def test_gpu_that_torch_cannot_use(capsys, monkeypatch):
    import torch

    monkeypatch.setattr("pathlib.Path.exists", lambda path, **kwargs: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (problem,) = report(capsys, code=1)["problems"]
    assert "There is an NVIDIA GPU, but torch can't use it" in problem and "Update the driver" in problem
