"""`backbone doctor`."""

import importlib
import json

import pytest

from backbone_cli.cli import doctor, run


@pytest.fixture(autouse=True)
def healthy(tmp_path, monkeypatch):
    """A cache with one model in it."""
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


def examined(capsys, code=0):
    assert run(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_what_is_there(capsys, tmp_path):
    about = examined(capsys)
    assert about["problems"] == []
    assert {"torch", "timm", "safetensors", "huggingface-hub", "typer", "pillow", "numpy"} <= set(about["packages"])
    assert about["torch"]["threads"] >= 1 and about["torch"]["cpu_capability"]
    assert set(about["speed"]) == {"float32", "bfloat16", "float16"} and about["speed"]["float32"] > 0
    assert about["cache"]["path"] == str(tmp_path / "hub")
    assert about["cache"]["models"] == [{"model": "some/model", "bytes": 2}]


def test_the_same_in_words(capsys):
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "backbone 0" in out and "some/model" in out and "GFLOP/s" in out and "oneDNN" in out


def test_a_missing_and_an_old_package(capsys, monkeypatch):
    versions = {"safetensors": None, "pillow": "9.5.0"}
    monkeypatch.setattr(doctor, "installed", lambda name: versions.get(name, "99.0"))
    problems = examined(capsys, code=1)["problems"]
    assert any("safetensors is not installed; run `pip install 'safetensors>=" in text for text in problems)
    assert any("pillow 9.5.0 is too old" in text for text in problems) and len(problems) == 2


def test_torch_and_torchvision_that_do_not_fit(capsys, monkeypatch):
    def load(name):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return importlib.import_module(name)

    monkeypatch.setattr(doctor, "import_module", load)
    assert run(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "GFLOP/s" in out  # torch itself is fine
    assert "operator torchvision::nms" in err and "must fit each other" in err and "pip install" in err


def test_torch_that_can_not_be_imported(capsys, monkeypatch):
    def load(name):
        raise ImportError("libtorch_cpu.so: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", load)
    about = examined(capsys, code=1)
    assert "torch" not in about and "libtorch_cpu.so" in about["problems"][0]


def test_a_cache_that_can_not_be_written(capsys, monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    about = examined(capsys, code=1)
    assert "can't be written; set HF_HUB_CACHE" in about["problems"][0] and about["cache"]["models"] == []


def test_a_cache_that_is_damaged(capsys, tmp_path):
    (tmp_path / "hub/models--torn--model").mkdir()
    (problem,) = examined(capsys, code=1)["problems"]
    assert "The cache is damaged" in problem and "torn" in problem


def test_a_gpu_that_torch_can_not_use(capsys, monkeypatch):
    import torch

    monkeypatch.setattr("pathlib.Path.exists", lambda path, **kwargs: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (problem,) = examined(capsys, code=1)["problems"]
    assert "There is an NVIDIA GPU" in problem and "Update the driver" in problem
