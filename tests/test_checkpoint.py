"""Invalid weight files raise an error with exit code 3 and a message that names the tensor and the file."""

import copy
import io
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Checkpoint, checkpoint_tensors
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.errors import CheckpointError, ModelError

NAME = "encoder.layers.0.blocks.0.layernorm_before.weight"


@pytest.fixture
def folder(tmp_path):
    config = SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 2), out_indices=[0, 1, 2])
    config.save_pretrained(tmp_path)
    save_file(checkpoint_tensors(AutoBackbone.from_config(config)), tmp_path / "model.safetensors")
    return tmp_path


def load(folder: Path, **kwargs):
    return AutoBackbone.from_pretrained(str(folder), **kwargs)


def error_message(folder: Path, **kwargs) -> str:
    """The message of the error that loading raises."""
    with pytest.raises(CheckpointError) as caught:
        load(folder, **kwargs)
    assert caught.value.exit_code == 3
    return str(caught.value)


def change_tensors(folder: Path, **tensors) -> None:
    path = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if tensors.get(name, True) is not None}
    save_file({**kept, **{name: tensor for name, tensor in tensors.items() if tensor is not None}}, path)


def test_missing_tensor_is_an_error(folder):
    change_tensors(folder, **{NAME: None})
    assert NAME in (message := error_message(folder)) and "model.safetensors" in message


def test_missing_tensor_of_a_later_stage_does_not_matter(folder):
    change_tensors(folder, **{NAME: None})
    assert load(folder, out_indices=[0]).out_features == ["stem"]


def test_wrong_shape_is_an_error(folder):
    change_tensors(folder, **{NAME: torch.ones(9)})
    message = error_message(folder)
    assert NAME in message and "model.safetensors" in message and "(9,)" in message and "(8,)" in message


def test_wrong_shape_of_a_concatenated_part_is_an_error(folder):
    name = "encoder.layers.0.blocks.0.attention.self.key.bias"
    change_tensors(folder, **{name: torch.ones(9)})
    assert name in error_message(folder)


def test_truncated_file_is_an_error(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors is damaged" in error_message(folder)


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", bytes(1000)])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_file_that_is_not_a_checkpoint_is_an_error(folder, content, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    assert name in error_message(folder)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>\n<html>", b"hello", b".", b"Moved Permanently", b"Not found\n"])
def test_text_instead_of_a_pickle_is_reported_as_text(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    message = error_message(folder)
    assert "is a text file" in message and "not a checkpoint" in message


@pytest.mark.parametrize("content", [b"\x80\x02.", b"\x80\x02}."])
def test_incomplete_pickle_is_an_error(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    assert "is damaged" in error_message(folder)


def test_damaged_pickle_in_the_old_format_is_an_error(folder):
    intact = io.BytesIO()
    torch.save({NAME: torch.ones(8)}, intact, _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()
    for position in range(0, len(intact.getvalue()) - 40, 3):
        content = bytearray(intact.getvalue())
        content[position] ^= 0x55
        (folder / "pytorch_model.bin").write_bytes(content)
        assert "pytorch_model.bin" in error_message(folder)


def test_unreadable_file_is_an_error(folder, monkeypatch):
    real = Path.open

    def refuse(path, *args, **kwargs):
        if path.name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert "model.safetensors can't be read (Permission denied)" in error_message(folder)
    with pytest.raises(ModelError, match="Permission denied"):
        local_repo(folder).fingerprint(weights=True)


def test_git_lfs_pointer_instead_of_weights_is_an_error(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in error_message(folder)


def test_missing_weights_are_an_error(folder):
    (folder / "model.safetensors").unlink()
    assert "has no weights" in error_message(folder)


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_pickle_that_would_run_code_is_refused(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.norm.weight": Payload()}, folder / "pytorch_model.bin")
    assert "could run code" in error_message(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"embeddings.norm.weight": Payload()}))
    assert "pytorch_model.bin" in error_message(folder)
    assert not (folder / "ran").exists()


def test_shard_outside_the_folder_is_refused(folder):
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {NAME: "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "not a file of the model" in error_message(folder)


def test_missing_shard_is_an_error(folder):
    index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(folder / "model.safetensors"), "gone.safetensors")}
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "gone.safetensors" in error_message(folder)


def test_norms_saved_as_gamma_and_beta_load(folder):
    before = load(folder).state_dict()
    old = {
        name.replace(".weight", ".gamma").replace(".bias", ".beta") if "norm" in name else name: tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(old, folder / "model.safetensors")
    after = load(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_tensors_of_later_stages_are_not_read(folder, monkeypatch):
    read = []
    real = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda self, name: read.append(name) or real(self, name))
    load(folder, out_indices=[1])
    assert not [name for name in read if ".layers.1." in name or "stage2" in name]


def test_only_needed_shards_are_opened(folder):
    tensors = load_file(folder / "model.safetensors")
    later = {name: tensor for name, tensor in tensors.items() if ".layers.1." in name or "downsample" in name}
    earlier = {name: tensor for name, tensor in tensors.items() if name not in later}
    save_file(earlier, folder / "a.safetensors")
    (folder / "b.safetensors").write_bytes(b"damaged")
    weight_map = dict.fromkeys(earlier, "a.safetensors") | dict.fromkeys(later, "b.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    assert load(folder, out_indices=[1]).out_features == ["stage1"]
    assert "b.safetensors is damaged" in error_message(folder, out_indices=[2])


def test_checkpoint_with_open_files_can_be_copied_and_pickled(folder):
    checkpoint = Checkpoint(local_repo(folder))
    checkpoint.read("embeddings.norm.weight")
    duplicate = pickle.loads(pickle.dumps(copy.deepcopy(checkpoint)))
    assert torch.equal(duplicate.read("embeddings.norm.weight"), checkpoint.read("embeddings.norm.weight"))


def local_repo(folder: Path):
    from backbone_cli.hub import open_repo

    return open_repo(str(folder))
