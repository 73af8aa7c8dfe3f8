"""The errors that people are meant to read; each class holds the exit code of the command line.

    BackboneError
    ├── UsageError          2   the command, or the call, was wrong
    │   ├── StageError          no such stage, or stages that don't go together
    │   └── OutputRefused       the output folder holds something that is not ours to replace
    ├── ModelError          3   the model can't be resolved or loaded
    │   ├── ModelNotFound       no such folder, repository, revision or file
    │   ├── UnsupportedModel    found, but of a kind that is not known here
    │   └── CheckpointError     weights that are missing, damaged, mis-shaped or unsafe
    ├── OutputError         4   the output can't be written
    └── ImageError          1   one input can't be used; it costs that input and nothing else

A message is one or two sentences: what was wrong, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BackboneError(Exception):
    exit_code = 1


class UsageError(BackboneError, ValueError):
    exit_code = 2


class StageError(UsageError):
    pass


class OutputRefused(UsageError):
    pass


class ModelError(BackboneError):
    exit_code = 3


class ModelNotFound(ModelError, FileNotFoundError):
    # An OSError prints its errno and file name where it has them; ours are sentences.
    def __str__(self) -> str:
        return str(self.args[0])


class UnsupportedModel(ModelError, ValueError):
    pass


class CheckpointError(ModelError):
    pass


class OutputError(BackboneError):
    exit_code = 4


class ImageError(BackboneError):
    exit_code = 1


def refuse_empty(what: str, text: str | None, advice: str = "") -> None:
    """Raise UsageError for an empty text: nobody means one, and paths would take it for the current folder."""
    if text == "":
        raise UsageError(f"{what} is an empty text; is a variable of the shell unset?{advice}")


def near_miss(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'stage4'?"` when something known is close to `word`, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def first_line(error: BaseException) -> str:
    """What a library says went wrong, without what it adds below."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def reason(error: BaseException) -> str:
    """What went wrong, in the system's words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
