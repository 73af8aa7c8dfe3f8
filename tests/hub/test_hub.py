"""Models from the hub, through the real client, from a hub of one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image

from backbone_cli.auto import AutoBackbone, AutoConfig
from backbone_cli.cli import run
from backbone_cli.configs.resnet import ResNetConfig
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.errors import CheckpointError, ModelError, ModelNotFound
from backbone_cli.hub import HubRepo
from tests.hub.server import Cut, serve
from tests.models.parity import rewrite

NAME = "org/small"
RESNET = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])


@pytest.fixture(scope="module")
def running():
    with serve() as hub:
        yield hub


@pytest.fixture
def hub(running, tmp_path, monkeypatch):
    """An empty hub, which the client takes for the only one, and an empty cache."""
    running.repositories, running.requests, running.tokens, running.mischief = {}, [], set(), {}
    point_client_at(running.url, tmp_path, monkeypatch)
    return running


def point_client_at(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's attempts


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small ResNet, as a repository holds it, with a few files that nobody here needs."""
    folder = tmp_path_factory.mktemp("saved")
    AutoBackbone.from_config(RESNET).save_pretrained(folder)
    (folder / "README.md").write_text("A small model.")
    (folder / "modeling_small.py").write_text("raise SystemExit('code was run')")
    (folder / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 96}, "crop_pct": 1.0}')
    return folder


@pytest.fixture
def repository(hub, saved):
    repository = hub.repository(NAME)
    repository.commit(saved)
    return repository


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


# --- what is fetched --------------------------------------------------------------------------------------------


def test_a_first_run_fetches_what_is_needed_and_a_second_asks_nothing(hub, repository):
    first = AutoBackbone.from_pretrained(NAME)
    assert hub.fetched() == ["config.json", "model.safetensors"]
    hub.requests.clear()
    second = AutoBackbone.from_pretrained(NAME)
    assert hub.requests == []
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_config_alone_fetches_no_weights(hub, repository, capsys):
    assert run(["stages", NAME]) == 0
    assert capsys.readouterr().out.startswith(f"{NAME}  (resnet, 96x96 pixels)\n")
    assert hub.fetched() == ["config.json", "preprocessor_config.json"]


def test_the_documented_example(hub, tmp_path, monkeypatch):
    """Of Swin-tiny's shapes, with fewer blocks."""
    name = "microsoft/swin-tiny-patch4-window7-224"
    AutoBackbone.from_config(SwinConfig(depths=[1, 1, 1, 1])).save_pretrained(tmp_path / "saved")
    hub.repository(name).commit(tmp_path / "saved")
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "img.jpg")
    monkeypatch.chdir(tmp_path)
    assert run(["extract", "--model", name, "--out-indices", "0,1,2", "img.jpg"]) == 0
    shapes = [np.load(f"features/img.{stage}.npy").shape for stage in ("stem", "stage1", "stage2")]
    assert shapes == [(96, 56, 56), (96, 56, 56), (192, 28, 28)]


@pytest.mark.parametrize("spelled", ["test_resnet", "test_resnet.r160_in1k", "timm/test_resnet.r160_in1k"])
def test_a_name_of_timm_on_the_command_line(spelled, hub, tmp_path, monkeypatch):
    timm.models.save_for_hf(timm.create_model("test_resnet"), tmp_path / "saved", safe_serialization=True)
    repository = hub.repository("timm/test_resnet.r160_in1k")
    commit = repository.commit(tmp_path / "saved")
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "img.jpg")
    monkeypatch.chdir(tmp_path)
    for again in (False, True):
        assert run(["extract", "-q", "-m", spelled, "img.jpg"]) == 0
        assert np.load("features/img.layer4.npy").shape[1:] == (5, 5)
        assert json.loads(Path("features/backbone.json").read_text())["revision"] == commit
        assert not again or hub.requests == []
        hub.requests.clear()
    offline(monkeypatch)
    assert run(["extract", "-q", "-m", spelled, "img.jpg", "-o", "other"]) == 0


def test_drawn_weights_of_timm_need_no_hub(hub, tmp_path, monkeypatch):
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "img.jpg")
    monkeypatch.chdir(tmp_path)
    assert run(["extract", "-q", "-m", "test_resnet", "--random-init", "--seed", "3", "img.jpg"]) == 0
    assert json.loads(Path("features/backbone.json").read_text())["revision"] == "random:3"
    assert hub.requests == []


def test_what_is_known_to_be_absent_is_not_asked_for_again(hub, repository):
    repo = HubRepo(NAME)
    assert repo.find("processor_config.json") is None
    hub.requests.clear()
    assert HubRepo(NAME).find("processor_config.json") is None
    assert hub.requests == []


@pytest.mark.parametrize(
    ("form", "fetched"),
    [
        ("bin", ["config.json", "pytorch_model.bin"]),
        ("sharded", ["config.json", "model.safetensors.index.json"]),
        ("sharded bin", ["config.json", "pytorch_model.bin.index.json"]),
    ],
)
def test_each_form_of_weights(form, fetched, hub, saved, tmp_path):
    for name in ("config.json", "model.safetensors"):
        tmp_path.joinpath(name).write_bytes(saved.joinpath(name).read_bytes())
    rewrite(tmp_path, form)
    hub.repository(NAME).commit({path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()})
    got = AutoBackbone.from_pretrained(NAME)
    assert [name for name in hub.fetched() if "-of-" not in name] == fetched
    assert torch.equal(got.stem[0].conv.weight, AutoBackbone.from_pretrained(str(saved)).stem[0].conv.weight)


def test_safetensors_are_preferred(hub, repository, saved):
    repository.commit({path.name: path.read_bytes() for path in saved.iterdir()} | {"pytorch_model.bin": b"a pickle"})
    AutoBackbone.from_pretrained(NAME)
    assert hub.fetched() == ["config.json", "model.safetensors"]


def test_only_the_shards_with_tensors_asked_for(hub, saved, tmp_path):
    for name in ("config.json", "model.safetensors"):
        tmp_path.joinpath(name).write_bytes(saved.joinpath(name).read_bytes())
    rewrite(tmp_path, "sharded")  # in alphabetical order: the embedder and the first stage come first
    hub.repository(NAME).commit({path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()})
    AutoBackbone.from_pretrained(NAME, out_features=["stem"])
    assert [name for name in hub.fetched() if "-of-" in name] == ["model-00001-of-00002.safetensors"]


def test_every_file_is_of_one_commit_though_the_branch_moves(hub, repository, saved):
    old = repository.branches["main"]
    config = AutoConfig.from_pretrained(NAME)
    repository.commit({"config.json": b"{}", "model.safetensors": b"of another commit"})
    assert AutoBackbone.from_pretrained(NAME).config == config
    assert f"GET /{NAME}/resolve/{old}/model.safetensors" in hub.requests


def test_a_revision(hub, repository, saved):
    named = {path.name: path.read_bytes() for path in saved.iterdir()}
    commit = repository.commit(named | {"config.json": json.dumps(SwinConfig().to_dict()).encode()}, branch="other/one")
    for revision in ("other/one", commit):
        assert AutoConfig.from_pretrained(NAME, revision=revision).model_type == "swin"
    assert AutoConfig.from_pretrained(NAME).model_type == "resnet"


def test_a_config_that_names_another_model(hub, repository):
    said = {"model_type": "upernet", "backbone": NAME, "use_timm_backbone": False}
    hub.repository("org/composite").commit({"config.json": json.dumps(said).encode()})
    assert AutoConfig.from_pretrained("org/composite").hidden_sizes == [8, 16]
    assert [request for request in hub.requests if request.startswith("GET")] == [
        "GET /org/composite/resolve/main/config.json",
        f"GET /{NAME}/resolve/main/config.json",
    ]


# --- without a network ------------------------------------------------------------------------------------------


def test_offline_with_a_full_cache(hub, repository, monkeypatch):
    AutoBackbone.from_pretrained(NAME)
    hub.requests.clear()
    AutoBackbone.from_pretrained(NAME, offline=True)
    offline(monkeypatch)
    AutoBackbone.from_pretrained(NAME)
    assert hub.requests == []


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_with_nothing_cached(how, hub, repository, monkeypatch, capsys):
    if how == "environment":
        offline(monkeypatch)
    assert run(["stages", NAME, *(["--offline"] if how == "option" else [])]) == 3
    assert capsys.readouterr().err == (
        f"Error: '{NAME}' is not in the cache, and the network is not to be used."
        " Run once without --offline (or HF_HUB_OFFLINE), or give a folder.\n"
    )
    assert hub.requests == []


def test_offline_with_the_config_cached_and_the_weights_not(hub, repository):
    AutoConfig.from_pretrained(NAME)
    hub.requests.clear()
    with pytest.raises(CheckpointError, match=r"none of .* is there or in the cache"):
        AutoBackbone.from_pretrained(NAME, offline=True)
    assert hub.requests == []


def test_unreachable(tmp_path, monkeypatch, capsys):
    point_client_at("http://127.0.0.1:1", tmp_path, monkeypatch)
    assert run(["stages", NAME]) == 3
    assert capsys.readouterr().err == (
        f"Error: config.json of '{NAME}' is not in the cache and the hub can't be reached at http://127.0.0.1:1."
        " Check the network, or use a local folder.\n"
    )


# --- refusals ---------------------------------------------------------------------------------------------------


def test_no_such_repository(hub, capsys):
    assert run(["stages", "org/nothing"]) == 3
    assert capsys.readouterr().err == (
        "Error: There is no folder and no hub repository 'org/nothing'. Check the name; if the repository is private,"
        " log in (`hf auth login`) or set HF_TOKEN.\n"
    )


def test_no_such_revision(hub, repository, capsys):
    assert run(["stages", NAME, "--revision", "v9"]) == 3
    assert capsys.readouterr().err == f"Error: '{NAME}' has no revision 'v9'.\n"


def test_no_such_file(hub, capsys):
    hub.repository(NAME).commit({"README.md": b"Nothing else."})
    assert run(["stages", NAME]) == 3
    assert capsys.readouterr().err == (f"Error: '{NAME}' has no config.json, so there is no telling what it is.\n")
    with pytest.raises(ModelNotFound, match=f"'{NAME}' has no model.safetensors"):
        HubRepo(NAME).file("model.safetensors")


@pytest.mark.parametrize("name", ["a model", "org/..", "-", "org/a--b"])
def test_a_name_that_no_repository_can_have(name, hub, capsys):
    assert run(["stages", "--", name]) == 3
    assert capsys.readouterr().err == f"Error: There is no folder '{name}', and a hub repository can't be called so.\n"
    assert hub.requests == []


@pytest.mark.parametrize("status", [401, 403])
def test_gated(status, hub, repository, monkeypatch, capsys):
    repository.refuses = (status, "GatedRepo", f"Access to model {NAME} is restricted.")
    assert run(["stages", NAME]) == 3
    assert capsys.readouterr().err == (
        f"Error: '{NAME}' is gated: accept its terms at {hub.url}/{NAME}, then log in (`hf auth login`) or set"
        " HF_TOKEN.\n"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert run(["stages", NAME]) == 0
    assert hub.tokens == {None, "Bearer hf_secret"}


def test_private_to_others(hub, repository, capsys):
    repository.refuses = (401, "RepoNotFound", "Repository not found")
    assert run(["stages", NAME]) == 3
    assert "There is no folder and no hub repository" in capsys.readouterr().err


def test_a_token_without_the_right(hub, repository, capsys):
    repository.refuses = (403, "", "Your token lacks the right to read this")
    assert run(["stages", NAME]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"Error: config.json of '{NAME}' could not be downloaded: ")
    assert "403" in said and "can't be reached" not in said


# --- accidents --------------------------------------------------------------------------------------------------


def cached_files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"}


def test_a_download_that_is_cut_goes_on_where_it_stopped(hub, repository):
    hub.mischief["model.safetensors"] = [Cut(1000), Cut(500)]
    got = AutoBackbone.from_pretrained(NAME)
    assert hub.fetched() == ["config.json"] + ["model.safetensors"] * 3
    assert torch.isfinite(got.stem[0].conv.weight).all()


def test_a_download_that_is_cut_for_good_leaves_nothing_that_is_trusted(hub, repository, tmp_path, capsys):
    hub.mischief["model.safetensors"] = [Cut(1000)] + [Cut(0)] * 20
    with pytest.raises(ModelError, match=f"model.safetensors of '{NAME}' could not be downloaded: "):
        AutoBackbone.from_pretrained(NAME)
    assert "model.safetensors" not in cached_files(tmp_path / "cache")
    assert not any(name.endswith(".incomplete") for name in cached_files(tmp_path / "cache"))
    hub.mischief.clear()
    hub.requests.clear()
    assert torch.isfinite(AutoBackbone.from_pretrained(NAME).stem[0].conv.weight).all()
    assert hub.fetched() == ["model.safetensors"]


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_that_passes(status, hub, repository):
    hub.mischief["config.json"] = [status, status]
    assert AutoConfig.from_pretrained(NAME).model_type == "resnet"


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_that_stays(status, hub, repository, capsys):
    hub.mischief["config.json"] = [status] * 50
    assert run(["stages", NAME]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"Error: config.json of '{NAME}' could not be downloaded: ")
    assert str(status) in said and said.count("\n") == 1


# --- the environment --------------------------------------------------------------------------------------------


def test_the_environment_is_honoured(hub, repository, tmp_path):
    """In a process of its own, since the client reads its environment when it is imported."""
    repository.refuses = (401, "GatedRepo", "Access is restricted.")
    code = "import sys; from backbone_cli.cli import run; sys.exit(run(sys.argv[1:]))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | {
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "hf_from_the_environment",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", code, "stages", NAME],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "stage2" in done.stdout
    assert sorted(hub.fetched()) == ["config.json", "preprocessor_config.json"]  # once
    assert hub.tokens == {"Bearer hf_from_the_environment"}
    assert list((tmp_path / "home" / "hub").glob("models--org--small/snapshots/*/config.json"))
