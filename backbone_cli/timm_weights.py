"""Where timm's weights are: on the hub, nearly all of them; a few at an address of their own; and some nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .configs.timm_zoo import find
from .errors import ModelError, ModelNotFound, first_line
from .hub import HubRepo, Repo


def weights_of_timm(name: str, revision: str | None = None, offline: bool = False) -> Repo:
    """The files of a model of timm (`resnet50.a1_in1k`; `resnet50` means the usual weights). Nothing is fetched."""
    facts = find(name)
    source = facts.tag(name).source
    if source is None or source.startswith("http"):
        return Download(name, source, offline)
    return HubRepo(source, revision=revision, offline=offline)


@dataclass
class Download(Repo):
    """One file of weights at an address, kept in torch's own cache."""

    name: str
    address: str | None
    offline: bool = False

    def identity(self, weights: bool) -> str:
        return (self.address if weights else None) or ""

    def find(self, filename: str) -> Path | None:
        if filename != "pytorch_model.bin":
            return None
        if self.address is None:
            raise ModelNotFound(f"timm has no weights for '{self.name}'; draw them (--random-init), or name a folder.")
        from torch import hub

        path = Path(hub.get_dir()) / "checkpoints" / self.address.rpartition("/")[2]
        if path.is_file():
            return path
        if self.offline:
            raise ModelNotFound(
                f"The weights of '{self.name}' are not in the cache ({path}); run once without --offline."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            hub.download_url_to_file(self.address, str(path), progress=False)
        except OSError as error:
            raise ModelError(f"{self.address} could not be downloaded: {first_line(error)}") from error
        return path
