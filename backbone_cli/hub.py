"""From a model's name to its files on this disk.

A name that is a local folder means that folder, without any network access. Any other name is a Hugging Face Hub
repository, read through `huggingface_hub` and its cache: a cached file is used as it is, without a request, and all
files of a model come from one commit.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import ModelError, ModelNotFound, UsageError, first_line, reason

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Weight files, preferred first; with `.index.json` appended, the name of the index of their shards."""


ModelName = str | os.PathLike[str]
"""A model's name: a string, or the path of its folder."""


class Repo:
    """The files of one model."""

    name: str
    commit: str | None = None
    """The commit of the files, if they come from the Hub."""

    @property
    def is_offline(self) -> bool:
        """Whether a missing file may exist on the Hub, but must not be fetched."""
        return False

    def find(self, filename: str) -> Path | None:
        """The local path of one of the model's files, fetched if needed; None if the model has no such file."""
        raise NotImplementedError

    def file(self, filename: str) -> Path:
        """Like `find`, for a file that the model must have."""
        path = self.find(filename)
        if path is None:
            raise ModelNotFound(f"'{self.name}' has no {filename}.")
        return path

    def fingerprint(self, weights: bool) -> str:
        """What tells these files from others of the same name: a commit, or a hash.

        Without `weights`, only the files read so far need to be distinguished.
        """
        raise NotImplementedError

    def json(self, filename: str) -> dict[str, Any] | None:
        """The contents of one of the model's JSON files; None if there is no such file."""
        path = self.find(filename)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:  # RecursionError: nested too deeply
            raise ModelError(f"{path} can't be read as JSON ({error}).") from error
        if not isinstance(content, dict):
            raise ModelError(f"{path} should hold a JSON object, but holds something else.")
        return content


@dataclass(frozen=True)
class LocalRepo(Repo):
    path: Path

    @property
    def name(self) -> str:  # type: ignore[override]
        return str(self.path)

    def find(self, filename: str) -> Path | None:
        path = self.path / filename
        with translate_read_errors(path):
            return path if path.is_file() else None

    def fingerprint(self, weights: bool) -> str:
        """A hash of the config, and of each weight file's size and samples of its content."""
        import hashlib  # loads OpenSSL, which listing stages doesn't need

        config = self.file("config.json")
        with translate_read_errors(self.path):
            digest = hashlib.sha256(config.read_bytes())
            files = (path for path in self.path.iterdir() if path.suffix in (".safetensors", ".bin") and path.is_file())
            for path in sorted(files) if weights else ():
                size = path.stat().st_size
                digest.update(f"{path.name} {size}".encode())
                with path.open("rb") as file:
                    for part in range(65):
                        file.seek(part * max(0, size - 4096) // 64)
                        digest.update(file.read(4096))
        return f"files:{digest.hexdigest()[:16]}"


@dataclass
class HubRepo(Repo):
    name: str
    revision: str | None = None
    offline: bool = False
    commit: str | None = field(default=None, init=False)

    def find(self, filename: str) -> Path | None:
        import huggingface_hub as hf
        from huggingface_hub import errors

        at = self.commit or self.revision
        try:
            cached = hf.try_to_load_from_cache(self.name, filename, revision=at)
        except errors.HFValidationError as error:
            raise ModelNotFound(f"'{self.name}' is neither a local folder nor a valid Hub repository id.") from error
        if isinstance(cached, str):
            return self.record_commit(Path(cached))
        if cached is not None:  # the cache records that there is no such file
            return None
        if self.is_offline:
            # A file may be missing from the cache or from the repository. Only config.json, which every model
            # has, tells which.
            if filename != "config.json":
                return None
            raise ModelNotFound(
                f"'{self.name}' is not in the cache, and offline mode is on."
                " Run once without --offline (or HF_HUB_OFFLINE), or use a local folder."
            )
        return self.download(filename, at)

    def fingerprint(self, weights: bool) -> str:
        if self.commit is None and weights:  # for a timm model, no file may have been read yet
            any(self.find(filename) for filename in (*WEIGHTS, "config.json"))
        return self.commit or ""

    def download(self, filename: str, at: str | None) -> Path | None:
        import huggingface_hub as hf
        from huggingface_hub import errors

        what = f"'{self.name}'" + (f" at revision '{self.revision}'" if self.revision else "")
        try:
            return self.record_commit(Path(hf.hf_hub_download(self.name, filename, revision=at)))
        except errors.LocalEntryNotFoundError as error:
            if isinstance(error.__cause__, errors.HfHubHTTPError | errors.FileMetadataError):  # the Hub did answer
                raise ModelError(
                    f"{filename} of {what} could not be downloaded: {first_line(error.__cause__)}"
                ) from error
            raise ModelError(
                f"{filename} of {what} is not in the cache, and the Hub can't be reached at {hf.constants.ENDPOINT}."
                " Check the network, or use a local folder."
            ) from error
        except errors.EntryNotFoundError:
            return None
        except errors.GatedRepoError as error:
            raise ModelError(
                f"{what} is gated: accept its terms at {hf.constants.ENDPOINT}/{self.name}, then log in"
                " (`hf auth login`) or set HF_TOKEN."
            ) from error
        except errors.RevisionNotFoundError as error:
            raise ModelNotFound(f"'{self.name}' has no revision '{self.revision}'.") from error
        except errors.RepositoryNotFoundError as error:
            raise ModelNotFound(
                f"There is no folder or Hub repository '{self.name}'. Check the name; if the repository is private,"
                " log in (`hf auth login`) or set HF_TOKEN."
            ) from error
        # HTTPError is from the HTTP library below the client, which lets broken connections through.
        except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]
            raise ModelError(f"{filename} of {what} could not be downloaded: {first_line(error)}") from error

    def record_commit(self, path: Path) -> Path:
        """Note the commit of this file (`.../snapshots/<commit>/file`), so that all others are taken from it."""
        match = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", str(path))
        if match and self.commit is None:
            self.commit = match[1]
        return path

    @cached_property
    def is_offline(self) -> bool:
        import huggingface_hub as hf

        return self.offline or bool(hf.constants.HF_HUB_OFFLINE)


@contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about a file or folder that can't be read into a ModelError."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"{error.filename or path} can't be read ({reason(error)}).") from error


def write_json(folder: str | Path, filename: str, content: Mapping[str, Any]) -> None:
    """Write one of a model's JSON files into a folder, creating it if needed."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    path.joinpath(filename).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def model_name(model: ModelName) -> str:
    """A model's name as a string; it may be given as a path."""
    name = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(name, str):
        raise UsageError(f"A model is named by a string or a path, not {model!r}.")
    return name


def path_kind(name: str) -> str:
    """What a local path is: "folder", "file", or "" if nothing is there."""
    try:
        path = Path(name).expanduser()
        return "folder" if path.is_dir() else "file" if path.exists() else ""
    except (OSError, RuntimeError) as error:  # RuntimeError: ~user for an unknown user
        raise ModelNotFound(f"'{name}' can't be looked up as a folder ({reason(error)}).") from error


def open_repo(model: ModelName, revision: str | None = None, offline: bool = False) -> Repo:
    """The files of the model with this name. Nothing is fetched yet."""
    name = model_name(model)
    kind = path_kind(name)
    if kind == "folder":
        return LocalRepo(Path(name).expanduser())
    if kind == "file":
        raise ModelNotFound(f"'{name}' is a file; a model is a folder that holds config.json, or a Hub id.")
    if name.startswith((".", "/", "~", os.sep)) or name.count("/") > 1 or not name.strip():
        raise ModelNotFound(f"There is no folder '{name}'.")
    return HubRepo(name, revision=revision, offline=offline)
