"""From weight files to a model's tensors: lazily, safely, and exactly those that the model asks for.

The loader pulls. For each tensor of the model it finds, by the family's table, the one tensor of the checkpoint and
reads that; heads and later stages are never read, and of a checkpoint in shards only those are fetched that hold
something asked for. Pickles are opened with `weights_only=True` alone.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import CheckpointError, first_line, reason
from .hub import WEIGHTS, Repo

if TYPE_CHECKING:
    from .models.base import Model, Names, Source

# The formats that weights come in, best first; an index names the shards.
FORMATS = tuple(name for single in WEIGHTS for name in (single, f"{single}.index.json"))

# What torch and safetensors raise on damaged files, each in its own way.
DAMAGE = (
    SafetensorError,
    RuntimeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    TypeError,
    AssertionError,
    EOFError,
    ImportError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


class Weights:
    """A model's weight files, as one mapping from names to tensors."""

    def __init__(self, repo: Repo, prefixes: Sequence[str] = ("",)) -> None:
        self.repo = repo
        self.prefixes = prefixes
        self._open: dict[str, Shard] = {}

    @cached_property
    def files(self) -> dict[str, str]:
        """The name of every tensor, and of the file that holds it."""
        for filename in FORMATS:
            if filename.endswith(".index.json"):
                index = self.repo.json(filename)
                if index is not None:
                    try:
                        return {str(name): local_name(shard) for name, shard in index["weight_map"].items()}
                    except (KeyError, AttributeError) as error:
                        raise CheckpointError(f"{filename} of '{self.repo.name}' has no weight_map.") from error
            elif self.repo.find(filename) is not None:
                return dict.fromkeys(self.shard(filename).names(), filename)
        raise CheckpointError(
            f"'{self.repo.name}' has no weights: none of {', '.join(FORMATS)} is there"
            f"{' or in the cache' if self.repo.is_offline else ''}."
        )

    def shard(self, filename: str) -> Shard:
        if filename not in self._open:
            path = self.repo.find(filename)
            if path is None:
                raise CheckpointError(f"'{self.repo.name}' names {filename} as part of its weights, and lacks it.")
            self._open[filename] = Shard(path)
        return self._open[filename]

    def find(self, name: str) -> str | None:
        """The name that a tensor has in the files, where they hold it: with a prefix, or in the old style."""
        for spelled in (name, old_style(name)):
            for prefix in self.prefixes:
                if prefix + spelled in self.files:
                    return prefix + spelled
        return None

    def read(self, name: str) -> Tensor:
        """One tensor, by its name in the files."""
        return self.shard(self.files[name]).read(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, by its name in the files."""
        return self.shard(self.files[name]).shape(name)

    def close(self) -> None:
        """Let go of the files; they are opened again when they are needed."""
        self._open.clear()

    def __reduce__(self) -> tuple[Any, ...]:  # without open files, so that models can be copied and pickled
        return Weights, (self.repo, self.prefixes)


class Shard:
    """One weight file, opened once and read a tensor at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.blame():
            with path.open("rb") as file:
                start = file.read(24)
            if start.startswith(b"version https://git-lfs"):
                raise CheckpointError(
                    f"{path} is a Git LFS pointer and not the weights; fetch them with `git lfs pull`."
                )
            self._file = safe_open(path, "pt") if path.suffix == ".safetensors" else load_pickle(path)

    def names(self) -> Iterable[str]:
        return self._file.keys()

    def read(self, name: str) -> Tensor:
        with self.blame(name):
            tensor = self._file[name] if isinstance(self._file, dict) else self._file.get_tensor(name)
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"'{name}' in {self.path} is not a tensor.")
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        if isinstance(self._file, dict):
            return tuple(self.read(name).shape)
        with self.blame(name):
            return tuple(self._file.get_slice(name).get_shape())

    @contextlib.contextmanager
    def blame(self, name: str | None = None) -> Iterator[None]:
        """Turn whatever a damaged file makes torch and safetensors raise into one sentence about that file."""
        what = f"'{name}' in {self.path}" if name else str(self.path)
        try:
            yield
        except OSError as error:
            raise CheckpointError(f"{what} can't be read ({reason(error)}).") from error
        except DAMAGE as error:
            if name and isinstance(error, KeyError):
                raise CheckpointError(f"{what} is missing, although the checkpoint's index lists it there.") from error
            raise CheckpointError(
                f"{what} is damaged and can't be read ({first_line(error)}). Fetch the file anew."
            ) from error


def load_pickle(path: Path) -> dict[str, Any]:
    """A torch checkpoint, with nothing in it run."""
    mmap = zipfile.is_zipfile(path)  # files from before torch 1.6 are not archives and can't be mapped
    try:
        with warnings.catch_warnings():  # of pickle protocols; what can't be read says so below
            warnings.simplefilter("ignore")
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except DAMAGE as error:
        if "GLOBAL" not in str(error) and (text := message_in(path)):
            raise CheckpointError(f"{path} is no checkpoint but a text ({text!r}). Fetch the file anew.") from error
        if not isinstance(error, pickle.UnpicklingError) or "weights_only" not in str(error).lower():
            raise  # damaged, as the caller says
        raise CheckpointError(
            f"{path} holds more than tensors, and opening it could run code; it is refused."
            " Convert it to safetensors where you trust it."
        ) from error
    if not isinstance(tensors, dict):
        raise CheckpointError(f"{path} should hold a mapping from names to tensors, and doesn't.")
    return tensors


def message_in(path: Path) -> str:
    """How a file begins that holds a web page or a message in place of weights; of any other, nothing."""
    with path.open("rb") as file:
        start = file.read(48)
    text = " ".join(start.decode("ascii", errors="ignore").split())
    return text if start.isascii() and text.isprintable() else ""


def local_name(shard: Any) -> str:
    """A shard's file name, which must stay inside the model's folder."""
    if not isinstance(shard, str) or not shard or Path(shard).is_absolute() or ".." in Path(shard).parts:
        raise CheckpointError(f"The checkpoint's index names {shard!r} as a file; that is no file of the model.")
    return shard


def old_style(name: str) -> str:
    """Norms saved long ago call their weight and bias gamma and beta."""
    return re.sub(r"\bbias$", "beta", re.sub(r"\bweight$", "gamma", name))


# --- from the checkpoint's names to ours ------------------------------------------------------------------------


def fill(model: Model, weights: Weights) -> None:
    """Give every tensor of the model that has no value yet (that lies on the meta device) its value."""
    weights = model.adapt(weights)
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.is_meta:
            put(model, name, fetch(model, name, tensor, weights).to(tensor.dtype))
    weights.close()


def fetch(model: Model, name: str, like: Tensor, weights: Weights) -> Tensor:
    """The value of one of the model's tensors."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros_like(like, device="cpu")
    choices = sources(model.names(), name)
    found = next((f for c in choices if all(f := [weights.find(part) for part in c])), None)
    if found is not None:
        parts = [weights.read(part) for part in found if part]
    else:
        parts = [stand_in(model, part, like, len(choices[0]), weights) for part in choices[0]]
    value = parts[0] if len(parts) == 1 else torch.cat(parts)
    if value.shape != like.shape:
        wanted, names = tuple(like.shape), " + ".join(n for n in found or choices[0] if n)
        file = weights.repo.name if found is None else weights.shard(weights.files[str(found[0])]).path
        raise CheckpointError(f"'{names}' in {file} has the shape {tuple(value.shape)}; the config asks for {wanted}.")
    return value


def stand_in(model: Model, name: str, like: Tensor, parts: int, weights: Weights) -> Tensor:
    """One part of a tensor that the checkpoint lacks in whole or in part: read, or filled where that is allowed."""
    if found := weights.find(name):
        return weights.read(found)
    for pattern, value in model.may_lack().items():
        if re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]+"), name):
            return torch.full((like.shape[0] // parts, *like.shape[1:]), value)
    files = sorted(set(weights.files.values()))
    where = files[0] if len(files) == 1 else f"{len(files)} shards"
    raise CheckpointError(f"The tensor '{name}' is missing from {where} of '{weights.repo.name}'.")


def sources(table: Names, name: str) -> list[tuple[str, ...]]:
    """The checkpoint's names for one of ours: alternatives, each of one part or several."""
    for ours, theirs in table.items():
        if match := as_pattern(ours).fullmatch(name):
            *stars, rest = match.groups()
            return [tuple(spell(p, stars) + rest for p in parts(source)) for source in alternatives(theirs)]
    raise KeyError(f"{name} is in no row of the table of names")


def parts(source: Source) -> tuple[str, ...]:
    return (source,) if isinstance(source, str) else source


def alternatives(theirs: Source | list[Source]) -> list[Source]:
    return theirs if isinstance(theirs, list) else [theirs]


def spell(pattern: str, stars: Iterable[str]) -> str:
    """The pattern with its stars filled in, in order."""
    pieces = pattern.split("*")
    return "".join(itertools.chain.from_iterable(zip(pieces, [*stars, ""], strict=False)))


@lru_cache(maxsize=4096)
def as_pattern(ours: str) -> re.Pattern[str]:
    return re.compile(re.escape(ours).replace(r"\*", r"([^.]+)") + r"((?:\..+)?)")


def put(model: torch.nn.Module, name: str, value: Tensor) -> None:
    """Set a parameter or buffer by its dotted name."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._parameters:
        if not isinstance(value, torch.nn.Parameter):
            value = torch.nn.Parameter(value, requires_grad=value.is_floating_point())
        module.register_parameter(leaf, value)
    else:
        module.register_buffer(leaf, value)


def export(model: Model) -> dict[str, Tensor]:
    """The model's tensors under the checkpoint's names, as `fill` would find them again."""
    out: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        names, value = sources(model.names(), name)[0], tensor.detach().cpu()
        value = value.clone() if value.data_ptr() in seen else value  # parts that share it have it each
        seen.add(value.data_ptr())
        pieces = value.chunk(len(names)) if len(names) > 1 else [value]
        out |= {part: piece.contiguous() for part, piece in zip(names, pieces, strict=True)}
    return out


def save(model: Model, folder: str | Path) -> None:
    """Write a model's `config.json` and `model.safetensors` into a folder, which is made where it is missing."""
    from safetensors.torch import save_file

    model.config.save_pretrained(folder)
    save_file(export(model), Path(folder) / WEIGHTS[0], metadata={"format": "pt"})


def draw(model: torch.nn.Module, seed: int = 0) -> None:
    """Give every tensor without a value a random one that keeps signals alive through the depth of a model.

    What multiplies channels one by one starts at 1, what is added at 0, projections keep the variance of their input.
    The same seed gives a tensor of the same name the same values, whatever else is drawn.
    """
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.is_meta:
            put(model, name, drawn(name, tensor, seed))


def drawn(name: str, like: Tensor, seed: int) -> Tensor:
    value = torch.empty_like(like, device="cpu")
    leaf = name.rpartition(".")[2]
    if not like.is_floating_point() or not like.numel():
        return value.zero_()
    if like.ndim <= 1:
        return value.fill_(1.0 if leaf in ("weight", "running_var") or "scale" in leaf or "gamma" in leaf else 0.0)
    generator = torch.Generator().manual_seed(seed ^ stable_hash(name))
    projects = leaf == "weight"
    std = (like.numel() / like.shape[0]) ** -0.5 if projects else 0.02
    return value.normal_(0.0, std, generator=generator)


def stable_hash(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())
