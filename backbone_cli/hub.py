"""From a model's name to its files on this disk.

A name that is a folder is that folder, and the network is never asked. Any other name is a repository of the Hugging
Face hub, read through `huggingface_hub` and its cache: a file that is in the cache is used as it is, without a
request, and every file of one model comes from one commit.
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
"""The files that weights come in, best first; with `.index.json` behind it, the name of a list of shards."""


Name = str | os.PathLike[str]
"""What a model is named by: a text, or the path of its folder."""


class Repo:
    """The files of one model."""

    name: str
    commit: str | None = None
    """The commit that the files are of, where they come from the hub."""

    @property
    def is_offline(self) -> bool:
        """Whether a file that is not found may exist elsewhere, where it is not to be looked for."""
        return False

    def find(self, filename: str) -> Path | None:
        """A file of the model on this disk, fetched if need be; None where the model has no such file."""
        raise NotImplementedError

    def file(self, filename: str) -> Path:
        """The same, where the model can't do without it."""
        path = self.find(filename)
        if path is None:
            raise ModelNotFound(f"'{self.name}' has no {filename}.")
        return path

    def identity(self, weights: bool) -> str:
        """What tells these files from others of the same name: a commit, or a fingerprint.

        Without `weights`, only what was read already has to be told apart.
        """
        raise NotImplementedError

    def json(self, filename: str) -> dict[str, Any] | None:
        """What a JSON file of the model says; None where there is no such file."""
        path = self.find(filename)
        if path is None:
            return None
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:  # the last is of lists that are too deep in lists
            raise ModelError(f"{path} can't be read as JSON ({error}).") from error
        if not isinstance(said, dict):
            raise ModelError(f"{path} should hold a JSON object, and holds something else.")
        return said


@dataclass(frozen=True)
class Folder(Repo):
    path: Path

    @property
    def name(self) -> str:  # type: ignore[override]
        return str(self.path)

    def find(self, filename: str) -> Path | None:
        path = self.path / filename
        with looking_at(path):
            return path if path.is_file() else None

    def identity(self, weights: bool) -> str:
        """Of the configuration, and of each weight file its size and a sample of its content."""
        import hashlib  # loads OpenSSL, which listing stages can do without

        config = self.file("config.json")
        with looking_at(self.path):
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
            raise ModelNotFound(
                f"There is no folder '{self.name}', and a hub repository can't be called so."
            ) from error
        if isinstance(cached, str):
            return self.remember(Path(cached))
        if cached is not None:  # the cache knows that there is no such file
            return None
        if self.is_offline:
            # A file that the cache doesn't hold may be missing from the cache or from the repository; only the
            # one that every model has tells which.
            if filename != "config.json":
                return None
            raise ModelNotFound(
                f"'{self.name}' is not in the cache, and the network is not to be used."
                " Run once without --offline (or HF_HUB_OFFLINE), or give a folder."
            )
        return self.download(filename, at)

    def identity(self, weights: bool) -> str:
        if self.commit is None and weights:  # of a model that timm knows, no file was needed so far
            any(self.find(filename) for filename in (*WEIGHTS, "config.json"))
        return self.commit or ""

    def download(self, filename: str, at: str | None) -> Path | None:
        import huggingface_hub as hf
        from huggingface_hub import errors

        what = f"'{self.name}'" + (f" at revision '{self.revision}'" if self.revision else "")
        try:
            return self.remember(Path(hf.hf_hub_download(self.name, filename, revision=at)))
        except errors.LocalEntryNotFoundError as error:
            if isinstance(error.__cause__, errors.HfHubHTTPError | errors.FileMetadataError):  # the hub did answer
                raise ModelError(
                    f"{filename} of {what} could not be downloaded: {first_line(error.__cause__)}"
                ) from error
            raise ModelError(
                f"{filename} of {what} is not in the cache and the hub can't be reached at {hf.constants.ENDPOINT}."
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
                f"There is no folder and no hub repository '{self.name}'. Check the name; if the repository is"
                " private, log in (`hf auth login`) or set HF_TOKEN."
            ) from error
        # The second is of the library beneath the client, which lets a connection that is cut for good through.
        except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]
            raise ModelError(f"{filename} of {what} could not be downloaded: {first_line(error)}") from error

    def remember(self, path: Path) -> Path:
        """Hold on to the commit that this file is of (`.../snapshots/<commit>/file`), for the files after it."""
        match = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", str(path))
        if match and self.commit is None:
            self.commit = match[1]
        return path

    @cached_property
    def is_offline(self) -> bool:
        import huggingface_hub as hf

        return self.offline or bool(hf.constants.HF_HUB_OFFLINE)


@contextmanager
def looking_at(path: Path) -> Iterator[None]:
    """Turn what the system says of a file or folder that can't be read into a sentence."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"{error.filename or path} can't be read ({reason(error)}).") from error


def write_json(folder: str | Path, filename: str, said: Mapping[str, Any]) -> None:
    """Write one of a model's JSON files into a folder, which is made where it is missing."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    path.joinpath(filename).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def as_text(model: Name) -> str:
    """A model's name, which may be given as a path, as text."""
    name = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(name, str):
        raise UsageError(f"A model is named by a text or a path, not by {model!r}.")
    return name


def kind_of(name: str) -> str:
    """What has this name on this disk: a "folder", a "file", or nothing ("")."""
    try:
        path = Path(name).expanduser()
        return "folder" if path.is_dir() else "file" if path.exists() else ""
    except (OSError, RuntimeError) as error:  # the latter is of a home that is nobody's
        raise ModelNotFound(f"No folder '{name}' can be found ({reason(error)}).") from error


def open_repo(model: Name, revision: str | None = None, offline: bool = False) -> Repo:
    """The files of the model of this name. Nothing is fetched yet."""
    name = as_text(model)
    kind = kind_of(name)
    if kind == "folder":
        return Folder(Path(name).expanduser())
    if kind == "file":
        raise ModelNotFound(f"'{name}' is a file; a model is a folder that holds config.json, or a hub id.")
    if name.startswith((".", "/", "~", os.sep)) or name.count("/") > 1 or not name.strip():
        raise ModelNotFound(f"There is no folder '{name}'.")
    return HubRepo(name, revision=revision, offline=offline)
