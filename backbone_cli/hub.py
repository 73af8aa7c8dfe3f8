"""From a model's name to its files on this disk.

A name that is a folder is that folder, and the network is never asked. Any other name is a repository of the Hugging
Face hub, read through `huggingface_hub` and its cache: a file that is in the cache is used as it is, without a
request, and every file of one model comes from one commit.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import ModelError, ModelNotFound, first_line

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The files that weights come in, best first; with `.index.json` behind it, the name of a list of shards."""


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
        except (OSError, ValueError) as error:
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
        return path if path.is_file() else None

    def identity(self, weights: bool) -> str:
        """Of the configuration, and of each weight file its size and a sample of its content."""
        import hashlib  # loads OpenSSL, which listing stages can do without

        digest = hashlib.sha256(self.file("config.json").read_bytes())
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


def open_repo(name: str, revision: str | None = None, offline: bool = False) -> Repo:
    """The files of the model of this name. Nothing is fetched yet."""
    path = Path(name).expanduser()
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        raise ModelNotFound(f"'{name}' is a file; a model is a folder that holds config.json, or a hub id.")
    if name.startswith((".", "/", "~", os.sep)) or name.count("/") > 1 or not name.strip():
        raise ModelNotFound(f"There is no folder '{name}'.")
    return HubRepo(name, revision=revision, offline=offline)
