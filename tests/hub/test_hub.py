"""Models from the Hub: the real client, against a local server."""

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
from tests.hub.server import Disconnect, serve
from tests.models.parity import rewrite

NAME = "org/small"
RESNET = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])


@pytest.fixture(scope="module")
def server():
    with serve() as hub:
        yield hub


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """An empty Hub that the client is pointed at, and an empty cache."""
    server.repositories, server.requests, server.tokens, server.faults = {}, [], set(), {}
    point_client_at(server.url, tmp_path, monkeypatch)
    return server


def point_client_at(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's pause between attempts


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The files of a small ResNet's repository, including a few that are not needed."""
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


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


# --- downloads ------------------------------------------------------------------------------------------------


def test_first_load_downloads_the_model_and_second_uses_the_cache(hub, repository):
    first = AutoBackbone.from_pretrained(NAME)
    assert hub.fetched() == ["config.json", "model.safetensors"]
    hub.requests.clear()
    second = AutoBackbone.from_pretrained(NAME)
    assert hub.requests == []
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_listing_stages_downloads_no_weights(hub, repository, capsys):
    assert run(["stages", NAME]) == 0
    assert capsys.readouterr().out.startswith(f"{NAME}  (resnet, 96x96 pixels)\n")
    assert hub.fetched() == ["config.json", "preprocessor_config.json"]


def test_documented_example(hub, tmp_path, monkeypatch):
    """With Swin-tiny's shapes, but fewer blocks."""
    name = "microsoft/swin-tiny-patch4-window7-224"
    AutoBackbone.from_config(SwinConfig(depths=[1, 1, 1, 1])).save_pretrained(tmp_path / "saved")
    hub.repository(name).commit(tmp_path / "saved")
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "img.jpg")
    monkeypatch.chdir(tmp_path)
    assert run(["extract", "--model", name, "--out-indices", "0,1,2", "img.jpg"]) == 0
    shapes = [np.load(f"features/img.{stage}.npy").shape for stage in ("stem", "stage1", "stage2")]
    assert shapes == [(96, 56, 56), (96, 56, 56), (192, 28, 28)]


@pytest.mark.parametrize("model", ["test_resnet", "test_resnet.r160_in1k", "timm/test_resnet.r160_in1k"])
def test_timm_names_on_the_command_line(model, hub, tmp_path, monkeypatch):
    timm.models.save_for_hf(timm.create_model("test_resnet"), tmp_path / "saved", safe_serialization=True)
    repository = hub.repository("timm/test_resnet.r160_in1k")
    commit = repository.commit(tmp_path / "saved")
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "img.jpg")
    monkeypatch.chdir(tmp_path)
    for is_cached in (False, True):
        assert run(["extract", "-q", "-m", model, "img.jpg"]) == 0
        assert np.load("features/img.layer4.npy").shape[1:] == (5, 5)
        assert json.loads(Path("features/backbone.json").read_text())["revision"] == commit
        assert not is_cached or hub.requests == []
        hub.requests.clear()
    go_offline(monkeypatch)
    assert run(["extract", "-q", "-m", model, "img.jpg", "-o", "other"]) == 0


def test_timm_model_with_random_weights_needs_no_hub(hub, tmp_path, monkeypatch):
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "img.jpg")
    monkeypatch.chdir(tmp_path)
    assert run(["extract", "-q", "-m", "test_resnet", "--random-init", "--seed", "3", "img.jpg"]) == 0
    assert json.loads(Path("features/backbone.json").read_text())["revision"] == "random:3"
    assert hub.requests == []


def test_files_known_to_be_absent_are_not_requested_again(hub, repository):
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
def test_every_weight_file_format(form, fetched, hub, saved, tmp_path):
    for name in ("config.json", "model.safetensors"):
        tmp_path.joinpath(name).write_bytes(saved.joinpath(name).read_bytes())
    rewrite(tmp_path, form)
    hub.repository(NAME).commit({path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()})
    model = AutoBackbone.from_pretrained(NAME)
    assert [name for name in hub.fetched() if "-of-" not in name] == fetched
    assert torch.equal(model.stem[0].conv.weight, AutoBackbone.from_pretrained(str(saved)).stem[0].conv.weight)


def test_safetensors_are_preferred(hub, repository, saved):
    repository.commit({path.name: path.read_bytes() for path in saved.iterdir()} | {"pytorch_model.bin": b"a pickle"})
    AutoBackbone.from_pretrained(NAME)
    assert hub.fetched() == ["config.json", "model.safetensors"]


def test_only_shards_with_requested_stages_are_downloaded(hub, saved, tmp_path):
    for name in ("config.json", "model.safetensors"):
        tmp_path.joinpath(name).write_bytes(saved.joinpath(name).read_bytes())
    rewrite(tmp_path, "sharded")  # alphabetically, so the first shard holds the embedder and the first stage
    hub.repository(NAME).commit({path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()})
    AutoBackbone.from_pretrained(NAME, out_features=["stem"])
    assert [name for name in hub.fetched() if "-of-" in name] == ["model-00001-of-00002.safetensors"]


def test_all_files_come_from_one_commit_even_if_the_branch_moves(hub, repository, saved):
    commit = repository.branches["main"]
    config = AutoConfig.from_pretrained(NAME)
    repository.commit({"config.json": b"{}", "model.safetensors": b"of another commit"})
    assert AutoBackbone.from_pretrained(NAME).config == config
    assert f"GET /{NAME}/resolve/{commit}/model.safetensors" in hub.requests


def test_revision_is_a_branch_or_commit(hub, repository, saved):
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    commit = repository.commit(files | {"config.json": json.dumps(SwinConfig().to_dict()).encode()}, branch="other/one")
    for revision in ("other/one", commit):
        assert AutoConfig.from_pretrained(NAME, revision=revision).model_type == "swin"
    assert AutoConfig.from_pretrained(NAME).model_type == "resnet"


def test_config_that_names_another_model(hub, repository):
    raw_config = {"model_type": "upernet", "backbone": NAME, "use_timm_backbone": False}
    hub.repository("org/composite").commit({"config.json": json.dumps(raw_config).encode()})
    assert AutoConfig.from_pretrained("org/composite").hidden_sizes == [8, 16]
    assert [request for request in hub.requests if request.startswith("GET")] == [
        "GET /org/composite/resolve/main/config.json",
        f"GET /{NAME}/resolve/main/config.json",
    ]


# --- offline --------------------------------------------------------------------------------------------------


def test_offline_with_everything_cached(hub, repository, monkeypatch):
    AutoBackbone.from_pretrained(NAME)
    hub.requests.clear()
    AutoBackbone.from_pretrained(NAME, offline=True)
    go_offline(monkeypatch)
    AutoBackbone.from_pretrained(NAME)
    assert hub.requests == []


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_with_nothing_cached(how, hub, repository, monkeypatch, capsys):
    if how == "environment":
        go_offline(monkeypatch)
    assert run(["stages", NAME, *(["--offline"] if how == "option" else [])]) == 3
    assert capsys.readouterr().err == (
        f"Error: '{NAME}' is not in the cache, and offline mode is on."
        " Run once without --offline (or HF_HUB_OFFLINE), or use a local folder.\n"
    )
    assert hub.requests == []


def test_offline_with_only_the_config_cached(hub, repository):
    AutoConfig.from_pretrained(NAME)
    hub.requests.clear()
    with pytest.raises(CheckpointError, match=r"none of .* is in the cache"):
        AutoBackbone.from_pretrained(NAME, offline=True)
    assert hub.requests == []


def test_unreachable_hub(tmp_path, monkeypatch, capsys):
    point_client_at("http://127.0.0.1:1", tmp_path, monkeypatch)
    assert run(["stages", NAME]) == 3
    assert capsys.readouterr().err == (
        f"Error: config.json of '{NAME}' is not in the cache, and the Hub can't be reached at http://127.0.0.1:1."
        " Check the network, or use a local folder.\n"
    )


# --- errors ---------------------------------------------------------------------------------------------------


def test_missing_repository(hub, capsys):
    assert run(["stages", "org/nothing"]) == 3
    assert capsys.readouterr().err == (
        "Error: There is no folder or Hub repository 'org/nothing'. Check the name; if the repository is private,"
        " log in (`hf auth login`) or set HF_TOKEN.\n"
    )


def test_missing_revision(hub, repository, capsys):
    assert run(["stages", NAME, "--revision", "v9"]) == 3
    assert capsys.readouterr().err == f"Error: '{NAME}' has no revision 'v9'.\n"


def test_missing_file(hub, capsys):
    hub.repository(NAME).commit({"README.md": b"Nothing else."})
    assert run(["stages", NAME]) == 3
    assert capsys.readouterr().err == (f"Error: '{NAME}' has no config.json, so its model type is unknown.\n")
    with pytest.raises(ModelNotFound, match=f"'{NAME}' has no model.safetensors"):
        HubRepo(NAME).file("model.safetensors")


@pytest.mark.parametrize("name", ["a model", "org/..", "-", "org/a--b"])
def test_invalid_repository_ids(name, hub, capsys):
    assert run(["stages", "--", name]) == 3
    assert capsys.readouterr().err == f"Error: '{name}' is neither a local folder nor a valid Hub repository id.\n"
    assert hub.requests == []


@pytest.mark.parametrize("status", [401, 403])
def test_gated_repository(status, hub, repository, monkeypatch, capsys):
    repository.refusal = (status, "GatedRepo", f"Access to model {NAME} is restricted.")
    assert run(["stages", NAME]) == 3
    assert capsys.readouterr().err == (
        f"Error: '{NAME}' is gated: accept its terms at {hub.url}/{NAME}, then log in (`hf auth login`) or set"
        " HF_TOKEN.\n"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert run(["stages", NAME]) == 0
    assert hub.tokens == {None, "Bearer hf_secret"}


def test_private_repository(hub, repository, capsys):
    repository.refusal = (401, "RepoNotFound", "Repository not found")
    assert run(["stages", NAME]) == 3
    assert "There is no folder or Hub repository" in capsys.readouterr().err


def test_token_without_permission(hub, repository, capsys):
    repository.refusal = (403, "", "Your token lacks the right to read this")
    assert run(["stages", NAME]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"Error: config.json of '{NAME}' could not be downloaded: ")
    assert "403" in err and "can't be reached" not in err


# --- interrupted downloads and server errors ------------------------------------------------------------------


def cached_files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"}


def test_interrupted_download_is_resumed(hub, repository):
    hub.faults["model.safetensors"] = [Disconnect(1000), Disconnect(500)]
    model = AutoBackbone.from_pretrained(NAME)
    assert hub.fetched() == ["config.json"] + ["model.safetensors"] * 3
    assert torch.isfinite(model.stem[0].conv.weight).all()


def test_failed_download_leaves_no_file_in_the_cache(hub, repository, tmp_path, capsys):
    hub.faults["model.safetensors"] = [Disconnect(1000)] + [Disconnect(0)] * 20
    with pytest.raises(ModelError, match=f"model.safetensors of '{NAME}' could not be downloaded: "):
        AutoBackbone.from_pretrained(NAME)
    assert "model.safetensors" not in cached_files(tmp_path / "cache")
    assert not any(name.endswith(".incomplete") for name in cached_files(tmp_path / "cache"))
    hub.faults.clear()
    hub.requests.clear()
    assert torch.isfinite(AutoBackbone.from_pretrained(NAME).stem[0].conv.weight).all()
    assert hub.fetched() == ["model.safetensors"]


@pytest.mark.parametrize("status", [500, 503])
def test_temporary_server_error(status, hub, repository):
    hub.faults["config.json"] = [status, status]
    assert AutoConfig.from_pretrained(NAME).model_type == "resnet"


@pytest.mark.parametrize("status", [500, 503])
def test_permanent_server_error(status, hub, repository, capsys):
    hub.faults["config.json"] = [status] * 50
    assert run(["stages", NAME]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"Error: config.json of '{NAME}' could not be downloaded: ")
    assert str(status) in err and err.count("\n") == 1


# --- environment variables ------------------------------------------------------------------------------------


def test_environment_variables_are_honoured(hub, repository, tmp_path):
    """In a new process, since the client reads the environment when it is imported."""
    repository.refusal = (401, "GatedRepo", "Access is restricted.")
    code = "import sys; from backbone_cli.cli import run; sys.exit(run(sys.argv[1:]))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | {
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "hf_from_the_environment",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    for extra in ({}, {"HF_HUB_OFFLINE": "1"}):
        process = subprocess.run(
            [sys.executable, "-c", code, "stages", NAME],
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (process.returncode, process.stderr) == (0, "")
        assert "stage2" in process.stdout
    assert sorted(hub.fetched()) == ["config.json", "preprocessor_config.json"]  # once
    assert hub.tokens == {"Bearer hf_from_the_environment"}
    assert list((tmp_path / "home" / "hub").glob("models--org--small/snapshots/*/config.json"))
