"""Weight files that are wrong cost exit code 3 and a sentence that names the tensor and the file."""

import copy
import io
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Checkpoint, export
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.errors import CheckpointError, ModelError

NAME = "encoder.layers.0.blocks.0.layernorm_before.weight"


@pytest.fixture
def folder(tmp_path):
    config = SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 2), out_indices=[0, 1, 2])
    config.save_pretrained(tmp_path)
    save_file(export(AutoBackbone.from_config(config)), tmp_path / "model.safetensors")
    return tmp_path


def load(folder: Path, **kwargs):
    return AutoBackbone.from_pretrained(str(folder), **kwargs)


def refused(folder: Path, **kwargs) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder, **kwargs)
    assert caught.value.exit_code == 3
    return str(caught.value)


def change(folder: Path, **tensors) -> None:
    path = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if tensors.get(name, True) is not None}
    save_file({**kept, **{name: tensor for name, tensor in tensors.items() if tensor is not None}}, path)


def test_a_missing_tensor(folder):
    change(folder, **{NAME: None})
    assert NAME in (said := refused(folder)) and "model.safetensors" in said


def test_a_missing_tensor_that_is_not_asked_for(folder):
    change(folder, **{NAME: None})
    assert load(folder, out_indices=[0]).out_features == ["stem"]


def test_a_tensor_of_the_wrong_shape(folder):
    change(folder, **{NAME: torch.ones(9)})
    said = refused(folder)
    assert NAME in said and "model.safetensors" in said and "(9,)" in said and "(8,)" in said


def test_a_fused_tensor_of_the_wrong_shape(folder):
    name = "encoder.layers.0.blocks.0.attention.self.key.bias"
    change(folder, **{name: torch.ones(9)})
    assert name in refused(folder)


def test_a_truncated_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors is damaged" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", bytes(1000)])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_file_that_is_no_checkpoint(folder, content, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    assert name in refused(folder)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>\n<html>", b"hello", b".", b"Moved Permanently", b"Not found\n"])
def test_a_page_or_a_message_in_the_place_of_a_pickle(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    assert "is no checkpoint but a text" in refused(folder)


@pytest.mark.parametrize("content", [b"\x80\x02.", b"\x80\x02}."])
def test_a_pickle_that_ends_too_soon(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    assert "is damaged" in refused(folder)


def test_a_damaged_pickle_of_old(folder):
    whole = io.BytesIO()
    torch.save({NAME: torch.ones(8)}, whole, _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()
    for place in range(0, len(whole.getvalue()) - 40, 3):
        content = bytearray(whole.getvalue())
        content[place] ^= 0x55
        (folder / "pytorch_model.bin").write_bytes(content)
        assert "pytorch_model.bin" in refused(folder)


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    real = Path.open

    def refuse(path, *args, **kwargs):
        if path.name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert "model.safetensors can't be read (Permission denied)" in refused(folder)
    with pytest.raises(ModelError, match="Permission denied"):
        load_repo(folder).identity(weights=True)


def test_a_pointer_in_the_place_of_weights(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refused(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "has no weights" in refused(folder)


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_a_pickle_that_would_run_code(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.norm.weight": Payload()}, folder / "pytorch_model.bin")
    assert "could run code" in refused(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"embeddings.norm.weight": Payload()}))
    assert "pytorch_model.bin" in refused(folder)
    assert not (folder / "ran").exists()


def test_a_shard_outside_of_the_folder(folder):
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {NAME: "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "no file of the model" in refused(folder)


def test_a_shard_that_is_not_there(folder):
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(folder / "model.safetensors"), "gone.safetensors")}
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "gone.safetensors" in refused(folder)


def test_norms_saved_as_gamma_and_beta(folder):
    before = load(folder).state_dict()
    old = {
        name.replace(".weight", ".gamma").replace(".bias", ".beta") if "norm" in name else name: tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(old, folder / "model.safetensors")
    after = load(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_not_asked_for_is_not_read(folder, monkeypatch):
    read = []
    real = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda self, name: read.append(name) or real(self, name))
    load(folder, out_indices=[1])
    assert not [name for name in read if ".layers.1." in name or "stage2" in name]


def test_only_the_shards_that_are_needed_are_opened(folder):
    tensors = load_file(folder / "model.safetensors")
    late = {name: tensor for name, tensor in tensors.items() if ".layers.1." in name or "downsample" in name}
    early = {name: tensor for name, tensor in tensors.items() if name not in late}
    save_file(early, folder / "a.safetensors")
    (folder / "b.safetensors").write_bytes(b"damaged")
    where = dict.fromkeys(early, "a.safetensors") | dict.fromkeys(late, "b.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "model.safetensors").unlink()
    assert load(folder, out_indices=[1]).out_features == ["stage1"]
    assert "b.safetensors is damaged" in refused(folder, out_indices=[2])


def test_the_handle_of_the_weights_can_be_copied(folder):
    weights = Checkpoint(load_repo(folder))
    weights.read("embeddings.norm.weight")
    again = pickle.loads(pickle.dumps(copy.deepcopy(weights)))
    assert torch.equal(again.read("embeddings.norm.weight"), weights.read("embeddings.norm.weight"))


def load_repo(folder: Path):
    from backbone_cli.hub import open_repo

    return open_repo(str(folder))
