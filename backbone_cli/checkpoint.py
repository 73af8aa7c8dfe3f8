"""From weight files to a model's tensors: lazily, safely, and only those that the model needs.

Loading is driven by the model. For each of its tensors the family's table gives the tensor of the checkpoint, and that
one is read; heads and later stages are never read, and of a sharded checkpoint only the shards needed are fetched.
Pickles are only ever opened with `weights_only=True`.
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

# Weight files, preferred first; an index names the shards.
FORMATS = tuple(name for single in WEIGHTS for name in (single, f"{single}.index.json"))

# What torch and safetensors raise on damaged files.
CHECKPOINT_ERRORS = (
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


class Checkpoint:
    """A model's weight files as one mapping from names to tensors."""

    def __init__(self, repo: Repo, prefixes: Sequence[str] = ("",)) -> None:
        self.repo = repo
        self.prefixes = prefixes
        self._open: dict[str, WeightFile] = {}

    @cached_property
    def files(self) -> dict[str, str]:
        """Tensor name -> the file that holds it."""
        for filename in FORMATS:
            if filename.endswith(".index.json"):
                index = self.repo.json(filename)
                if index is not None:
                    try:
                        return {str(name): shard_file_name(shard) for name, shard in index["weight_map"].items()}
                    except (KeyError, AttributeError) as error:
                        raise CheckpointError(f"{filename} of '{self.repo.name}' has no weight_map.") from error
            elif self.repo.find(filename) is not None:
                return dict.fromkeys(self.shard(filename).names(), filename)
        raise CheckpointError(
            f"'{self.repo.name}' has no weights: none of {', '.join(FORMATS)}"
            f" {'is in the cache' if self.repo.is_offline else 'exists'}."
        )

    def shard(self, filename: str) -> WeightFile:
        if filename not in self._open:
            path = self.repo.find(filename)
            if path is None:
                raise CheckpointError(
                    f"'{self.repo.name}' lists {filename} as part of its weights, but the file is missing."
                )
            self._open[filename] = WeightFile(path)
        return self._open[filename]

    def find(self, name: str) -> str | None:
        """A tensor's full name in the files, with its prefix or in legacy spelling; None if they lack it."""
        for spelled in (name, legacy_norm_name(name)):
            for prefix in self.prefixes:
                if prefix + spelled in self.files:
                    return prefix + spelled
        return None

    def read(self, name: str) -> Tensor:
        """One tensor, by its full name in the files."""
        return self.shard(self.files[name]).read(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, by its full name in the files."""
        return self.shard(self.files[name]).shape(name)

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        self._open.clear()

    def __reduce__(self) -> tuple[Any, ...]:  # without open files, so that models can be copied and pickled
        return Checkpoint, (self.repo, self.prefixes)


class WeightFile:
    """One weight file, opened once and read one tensor at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.translate_errors():
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
        with self.translate_errors(name):
            tensor = self._file[name] if isinstance(self._file, dict) else self._file.get_tensor(name)
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"'{name}' in {self.path} is not a tensor.")
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        if isinstance(self._file, dict):
            return tuple(self.read(name).shape)
        with self.translate_errors(name):
            return tuple(self._file.get_slice(name).get_shape())

    @contextlib.contextmanager
    def translate_errors(self, name: str | None = None) -> Iterator[None]:
        """Turn whatever torch and safetensors raise on a damaged file into a CheckpointError about that file."""
        what = f"'{name}' in {self.path}" if name else str(self.path)
        try:
            yield
        except OSError as error:
            raise CheckpointError(f"{what} can't be read ({reason(error)}).") from error
        except CHECKPOINT_ERRORS as error:
            if name and isinstance(error, KeyError):
                raise CheckpointError(f"{what} is missing, although the checkpoint's index lists it.") from error
            raise CheckpointError(
                f"{what} is damaged and can't be read ({first_line(error)}). Download the file again."
            ) from error


def load_pickle(path: Path) -> dict[str, Any]:
    """A torch checkpoint, opened without running any code in it."""
    mmap = zipfile.is_zipfile(path)  # files from before torch 1.6 are not zip archives and can't be memory-mapped
    try:
        with warnings.catch_warnings():  # about pickle protocols; real errors are handled below
            warnings.simplefilter("ignore")
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except CHECKPOINT_ERRORS as error:
        if "GLOBAL" not in str(error) and (text := text_content(path)):
            raise CheckpointError(
                f"{path} is a text file ({text!r}), not a checkpoint. Download the file again."
            ) from error
        if not isinstance(error, pickle.UnpicklingError) or "weights_only" not in str(error).lower():
            raise  # damaged; the caller reports it
        raise CheckpointError(
            f"{path} holds more than tensors and could run code when opened, so it is refused."
            " Convert it to safetensors if you trust it."
        ) from error
    if not isinstance(tensors, dict):
        raise CheckpointError(f"{path} should hold a mapping from names to tensors, but doesn't.")
    return tensors


def text_content(path: Path) -> str:
    """The beginning of a file that holds a web page or message instead of weights; otherwise an empty string."""
    with path.open("rb") as file:
        start = file.read(48)
    text = " ".join(start.decode("ascii", errors="ignore").split())
    return text if start.isascii() and text.isprintable() else ""


def shard_file_name(shard: Any) -> str:
    """Check that a shard's file name stays inside the model's folder."""
    if not isinstance(shard, str) or not shard or Path(shard).is_absolute() or ".." in Path(shard).parts:
        raise CheckpointError(f"The checkpoint's index lists {shard!r}, which is not a file of the model.")
    return shard


def legacy_norm_name(name: str) -> str:
    """In old checkpoints, norms call their weight and bias gamma and beta."""
    return re.sub(r"\bbias$", "beta", re.sub(r"\bweight$", "gamma", name))


# --- from checkpoint names to module names ------------------------------------------------------------------------


def load_weights(model: Model, weights: Checkpoint) -> None:
    """Read the value of every tensor of the model that has none yet (that is on the meta device)."""
    weights = model.adapt(weights)
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.is_meta:
            set_tensor(model, name, read_tensor(model, name, tensor, weights).to(tensor.dtype))
    weights.close()


def read_tensor(model: Model, name: str, like: Tensor, weights: Checkpoint) -> Tensor:
    """The value of one of the model's tensors, from one checkpoint tensor or several concatenated ones."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros_like(like, device="cpu")
    candidates = checkpoint_names(model.names(), name)
    full_names = next((f for c in candidates if all(f := [weights.find(part) for part in c])), None)
    if full_names is not None:
        parts = [weights.read(part) for part in full_names if part]
    else:
        parts = [read_or_default(model, part, like, len(candidates[0]), weights) for part in candidates[0]]
    value = parts[0] if len(parts) == 1 else torch.cat(parts)
    if value.shape != like.shape:
        expected, names = tuple(like.shape), " + ".join(n for n in full_names or candidates[0] if n)
        file = weights.repo.name if full_names is None else weights.shard(weights.files[str(full_names[0])]).path
        raise CheckpointError(f"'{names}' in {file} has shape {tuple(value.shape)}, but the config needs {expected}.")
    return value


def read_or_default(model: Model, name: str, like: Tensor, parts: int, weights: Checkpoint) -> Tensor:
    """One part of a tensor: from the checkpoint, or its default value if the family says it may be missing."""
    if full_name := weights.find(name):
        return weights.read(full_name)
    for pattern, value in model.optional_tensors().items():
        if re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]+"), name):
            return torch.full((like.shape[0] // parts, *like.shape[1:]), value)
    files = sorted(set(weights.files.values()))
    where = files[0] if len(files) == 1 else f"{len(files)} shards"
    raise CheckpointError(f"The tensor '{name}' is missing from {where} of '{weights.repo.name}'.")


def checkpoint_names(table: Names, name: str) -> list[tuple[str, ...]]:
    """The checkpoint names for one of the model's tensors: alternatives, each of one part or several."""
    for pattern, source in table.items():
        if match := compile_pattern(pattern).fullmatch(name):
            *stars, rest = match.groups()
            return [tuple(substitute_stars(p, stars) + rest for p in parts(choice)) for choice in alternatives(source)]
    raise KeyError(f"the table of names has no row for {name}")


def parts(source: Source) -> tuple[str, ...]:
    return (source,) if isinstance(source, str) else source


def alternatives(source: Source | list[Source]) -> list[Source]:
    return source if isinstance(source, list) else [source]


def substitute_stars(pattern: str, stars: Iterable[str]) -> str:
    """The pattern with its stars replaced, in order."""
    pieces = pattern.split("*")
    return "".join(itertools.chain.from_iterable(zip(pieces, [*stars, ""], strict=False)))


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", r"([^.]+)") + r"((?:\..+)?)")


def set_tensor(model: torch.nn.Module, name: str, value: Tensor) -> None:
    """Set a parameter or buffer by its dotted name."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._parameters:
        if not isinstance(value, torch.nn.Parameter):
            value = torch.nn.Parameter(value, requires_grad=value.is_floating_point())
        module.register_parameter(leaf, value)
    else:
        module.register_buffer(leaf, value)


def checkpoint_tensors(model: Model) -> dict[str, Tensor]:
    """The model's tensors under checkpoint names, as `load_weights` reads them."""
    out: dict[str, Tensor] = {}
    written: set[int] = set()
    for name, tensor in model.state_dict().items():
        names, value = checkpoint_names(model.names(), name)[0], tensor.detach().cpu()
        value = value.clone() if value.data_ptr() in written else value  # shared tensors are stored once per name
        written.add(value.data_ptr())
        pieces = value.chunk(len(names)) if len(names) > 1 else [value]
        out |= {part: piece.contiguous() for part, piece in zip(names, pieces, strict=True)}
    return out


def save_model(model: Model, folder: str | Path) -> None:
    """Write a model's `config.json` and `model.safetensors` into a folder, creating it if needed."""
    from safetensors.torch import save_file

    model.config.save_pretrained(folder)
    save_file(checkpoint_tensors(model), Path(folder) / WEIGHTS[0], metadata={"format": "pt"})


def init_randomly(model: torch.nn.Module, seed: int = 0) -> None:
    """Give every tensor without a value a random one that keeps activations in range through the depth of a model.

    Per-channel factors start at 1 and biases at 0; projections keep the variance of their input. The same seed gives a
    tensor of the same name the same values, whatever else is initialized.
    """
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.is_meta:
            set_tensor(model, name, random_tensor(name, tensor, seed))


def random_tensor(name: str, like: Tensor, seed: int) -> Tensor:
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
