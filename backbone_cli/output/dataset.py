"""Saved features as a dataset for torch's DataLoader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from .reader import Features


class FeatureDataset(Dataset[dict[str, Any]]):
    """Each item is a dict with the image's `name` and a tensor for each stage."""

    def __init__(self, features: Features, stages: list[str]) -> None:
        self.features, self.stages = features, stages

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.features.names[index]
        maps = self.features[name]
        return {"name": name} | {stage: torch.from_numpy(np.array(maps[stage])) for stage in self.stages}
