"""Where timm's weights are: on the Hub for nearly all models, at a URL for a few, and nowhere for some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError, ModelNotFound, first_line
from ..hub import HubRepo, Repo
from .catalog import find_architecture


def open_timm_repo(name: str, revision: str | None = None, offline: bool = False) -> Repo:
    """The files of a timm model (`resnet50.a1_in1k`; `resnet50` means the default weights). Nothing is fetched yet."""
    source = find_architecture(name).tag(name).source
    if source is None or source.startswith("http"):
        return UrlRepo(name, source, offline)
    return HubRepo(source, revision=revision, offline=offline)


@dataclass
class UrlRepo(Repo):
    """A single weight file at a URL, kept in torch's own cache."""

    name: str
    url: str | None
    offline: bool = False

    def fingerprint(self, weights: bool) -> str:
        return (self.url if weights else None) or ""

    def find(self, filename: str) -> Path | None:
        if filename != "pytorch_model.bin":
            return None
        if self.url is None:
            raise ModelNotFound(
                f"timm has no weights for '{self.name}'; use random ones (--random-init) or a local folder."
            )
        from torch import hub

        path = Path(hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]
        if path.is_file():
            return path
        if self.offline:
            raise ModelNotFound(
                f"The weights of '{self.name}' are not in the cache ({path}); run once without --offline."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            hub.download_url_to_file(self.url, str(path), progress=False)
        except OSError as error:
            raise ModelError(f"{self.url} could not be downloaded: {first_line(error)}") from error
        return path
