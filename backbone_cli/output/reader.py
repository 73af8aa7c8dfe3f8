"""Read what `backbone extract` wrote, lazily."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..errors import OutputError, UsageError, did_you_mean
from .folder import read_settings
from .formats import Array, DamagedFile, read_array, read_entries
from .index import index_files, read_lines

if TYPE_CHECKING:
    from .dataset import FeatureDataset


def open_features(folder: str | Path) -> Features:
    """The features in a folder that `backbone extract` wrote, of all shards.

    >>> features = open_features("features/")
    >>> features["photos/a"]["stage4"]          # one image's map, (C, H, W)
    >>> features.stage("stage4")[0]             # one stage, in the order of the index
    >>> np.asarray(features.stage("stage4"))    # (N, C, H, W), if all have one shape
    >>> features.torch_dataset()                # for a DataLoader
    """
    return Features(Path(folder))


class Features(Mapping[str, "ImageFeatures"]):
    """Image name -> stage -> map. Names, stages and settings are read at once; maps are memory-mapped on access."""

    def __init__(self, folder: Path) -> None:
        settings = read_settings(folder)
        if settings is None:
            raise UsageError(f"'{folder}' holds no features: its backbone.json is missing or can't be read.")
        self.folder = folder
        self.settings: dict[str, Any] = settings
        self.stages: list[str] = [stage["name"] for stage in settings["stages"]]
        self.failed: dict[str, str] = {}
        """Source -> error, for the images that failed."""
        self._outputs: dict[str, dict[str, Any]] = {}
        self._sources: dict[str, str] = {}
        for path in index_files(folder):
            for line in read_lines(path):
                if line["status"] == "done":
                    self._outputs[line["name"]] = line["outputs"]
                    self._sources[line["name"]] = line["source"]
                    self.failed.pop(line["source"], None)
                else:
                    self.failed[line["source"]] = line["error"]

    @cached_property
    def names(self) -> list[str]:
        return list(self._outputs)

    def source(self, name: str) -> str:
        """The input that an image's features were made from."""
        return self._sources[name]

    def __getitem__(self, name: str) -> ImageFeatures:
        if name not in self._outputs:
            raise KeyError(f"There is no image '{name}'.{did_you_mean(name, self.names[:10_000])}")
        return ImageFeatures(self.folder, self._outputs[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def stage(self, name: str) -> StageFeatures:
        """One stage's maps of all images."""
        if name not in self.stages:
            raise UsageError(
                f"There is no stage '{name}'.{did_you_mean(name, self.stages)} The stages are {', '.join(self.stages)}."
            )
        return StageFeatures(self, name)

    def torch_dataset(self, stages: Sequence[str] | None = None) -> FeatureDataset:
        """The features as a `torch.utils.data.Dataset`: dicts of `name` and a tensor for each stage."""
        from .dataset import FeatureDataset

        return FeatureDataset(self, list(stages or self.stages))

    def __repr__(self) -> str:
        return f"Features('{self.folder}', {len(self)} images, stages {', '.join(self.stages)})"


@dataclass(frozen=True)
class ImageFeatures(Mapping[str, Array]):
    """Stage -> map of one image."""

    folder: Path
    outputs: Mapping[str, Mapping[str, Any]]

    def __getitem__(self, stage: str) -> Array:
        output = self.outputs[stage]
        path = self.folder / output["file"]
        try:
            entries = read_entries(path, path.suffix[1:])
            array = read_array(path, entries["" if path.suffix == ".npy" else stage], output.get("row"))
        except (OSError, DamagedFile, KeyError, IndexError) as error:
            raise OutputError(
                f"{path} can't be read ({error}); run the same `backbone extract` command again."
            ) from error
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


@dataclass(frozen=True)
class StageFeatures(Sequence[Array]):
    """One stage's map of each image; `np.asarray` stacks them."""

    features: Features
    stage: str

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | list[Array]:
        names = self.features.names[index]
        return (
            [self.features[n][self.stage] for n in names]
            if isinstance(names, list)
            else self.features[names][self.stage]
        )

    def __len__(self) -> int:
        return len(self.features)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(np.stack(list(self)), dtype)
