"""Errors whose messages are written for people; each class holds the command line's exit code.

    BackboneError
    ├── UsageError          2   the command or the call was wrong
    │   ├── StageError          no such stage, or stages that don't go together
    │   └── OutputRefused       the output folder holds something that must not be replaced
    ├── ModelError          3   the model can't be resolved or loaded
    │   ├── ModelNotFound       no such folder, repository, revision or file
    │   ├── UnsupportedModel    found, but of an unsupported type
    │   └── CheckpointError     weights that are missing, damaged, of the wrong shape or unsafe
    ├── OutputError         4   the output can't be written
    └── ImageError          1   one input can't be used; the others are not affected

A message is one or two sentences: what was wrong, and what to do about it.
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
    # OSError prints its errno and file name; these messages are sentences already.
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


def reject_empty(what: str, text: str | None, advice: str = "") -> None:
    """Raise UsageError for an empty string: it is never meant, and as a path it would be the current folder."""
    if text == "":
        raise UsageError(f"{what} is empty; is a shell variable unset?{advice}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'stage4'?"` if something in `known` is close to `word`, else an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def first_line(error: BaseException) -> str:
    """The first line of a library's error message."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def reason(error: BaseException) -> str:
    """The operating system's message for an OSError, otherwise the error's own."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
