"""Stages: what a backbone offers, and how to choose from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import StageError, did_you_mean


@dataclass(frozen=True)
class Stage:
    """One point in a backbone where a feature map can be taken."""

    index: int
    name: str
    channels: int
    stride: int


def choose_stages(
    stage_names: Sequence[str],
    out_indices: Sequence[str] = (),
    out_features: Sequence[str] = (),
) -> list[int]:
    """The indices of the requested stages, in ascending order.

    Both arguments hold comma-separated strings as they come from a shell: indices (`0,2`, `-1`, `0-3`, `all`) and
    names (`stem,stage1`). Given both, they must name the same stages; given neither, the last stage is chosen.
    """
    by_index = [i for text in out_indices for part in split_commas(text) for i in parse_index(part, stage_names)]
    by_name = [find_name(part, stage_names) for text in out_features for part in split_commas(text)]
    for chosen in (by_index, by_name):
        for index in chosen:
            if chosen.count(index) > 1:
                raise StageError(f"Stage {index} ('{stage_names[index]}') is requested twice; name each stage once.")
    if by_index and by_name and set(by_index) != set(by_name):
        names = ", ".join(stage_names[i] for i in sorted(by_index))
        raise StageError(
            f"--out-indices and --out-features name different stages (the indices are {names}); give only one of them."
        )
    if (out_indices or out_features) and not (by_index or by_name):
        raise StageError(f"No stage was given. Choose from {list_stages(stage_names)}.")
    return sorted(by_index or by_name or [len(stage_names) - 1])


def split_commas(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_index(part: str, stage_names: Sequence[str]) -> list[int]:
    """`2` -> [2], `-1` -> [4], `0-3` -> [0, 1, 2, 3], `all` -> every one."""
    count = len(stage_names)
    if part == "all":
        return list(range(count))
    match = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?", part)
    if not match:
        hint = f" It is a stage name: use --out-features {part}." if part in stage_names else ""
        raise StageError(f"'{part}' is not a stage index; use numbers (0,2), ranges (0-3), -1 or all.{hint}")
    if len(part) > 60:  # Python itself refuses numbers of thousands of digits
        raise StageError(f"There is no stage {part[:20]}...: the model has {list_stages(stage_names)}.")
    ends = [resolve_index(int(end), stage_names) for end in match.groups() if end is not None]
    if ends[-1] < ends[0]:
        raise StageError(f"The range {part} runs backwards; write the lower index first.")
    return list(range(ends[0], ends[-1] + 1))


def resolve_index(index: int, stage_names: Sequence[str]) -> int:
    count = len(stage_names)
    if not -count <= index < count:
        raise StageError(f"There is no stage {index}: the model has {list_stages(stage_names)}.")
    return index % count


def find_name(name: str, stage_names: Sequence[str]) -> int:
    if name not in stage_names:
        raise StageError(
            f"There is no stage '{name}'.{did_you_mean(name, stage_names)} The model has {list_stages(stage_names)}."
        )
    return list(stage_names).index(name)


def list_stages(stage_names: Sequence[str]) -> str:
    """`stem (0), stage1 (1), ...`, shortened in the middle if there are many."""
    listed = [f"{name} ({i})" for i, name in enumerate(stage_names)]
    if len(listed) > 8:
        listed = [*listed[:3], "...", *listed[-2:]]
    return ", ".join(listed)
