"""The command line. Commands parse, call the library and render; here they are listed, and errors become messages."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from ..errors import BackboneError, OutputError
from .console import OutputClosed, console, open_streams

INTERRUPTED = 130

COMMANDS = ("extract", "stages", "models", "view", "compare", "doctor", "inspect")
"""Each is a function in the module of the same name."""

PANELLED = ("extract", "view")
"""The commands with so many options that their help groups them."""

SETTINGS: dict[str, Any] = {
    # Plain text takes half the start-up time of rich panels, and reads the same in a log.
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


@cache
def command(name: str) -> Any:
    from .panels import PanelCommand

    alone = typer.Typer(add_completion=False, **SETTINGS)
    kind = PanelCommand if name in PANELLED else typer.core.TyperCommand
    alone.command(name, cls=kind)(getattr(import_module(f".{name}", __name__), name))
    return typer.main.get_command(alone)


class Commands(Mapping[str, Any]):
    """The commands by name. Only the one that runs is imported; importing all would take a tenth of `stages`' time."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Group(typer.core.TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": Commands()})


app = typer.Typer(
    name="backbone",
    cls=Group,
    help="Feature maps of vision backbones, and nothing else.",
    no_args_is_help=True,
    **SETTINGS,
)


def show_version(requested: bool) -> None:
    if requested:
        from ..versions import installed

        console.data(f"backbone {installed('backbone-cli') or 'from source'}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Feature maps of vision backbones, and nothing else."""


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error becomes a sentence."""
    console.quiet = console.verbose = False
    console.attach_logging()
    try:
        return app(args, standalone_mode=False) or 0
    except typer.TyperException as error:  # the command line itself was wrong
        error.show() if hasattr(error, "show") else console.error(error.format_message())
        return error.exit_code
    except BackboneError as error:
        console.error(str(error))
        show_traceback()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        console.info("Interrupted; finished images are kept.")
        return INTERRUPTED
    except OutputClosed:
        return INTERRUPTED
    except Exception as error:
        console.error(
            f"Unexpected error ({type(error).__name__}: {error}). This is a bug in backbone; --verbose shows where."
        )
        show_traceback()
        return 1


def show_traceback() -> None:
    if console.verbose:
        import traceback

        traceback.print_exc()


def main() -> None:
    open_streams()
    exit_now(run())


def exit_now(code: int) -> NoReturn:
    """Exit without deallocating torch object by object, which takes half a second."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OutputClosed:
        code = code or INTERRUPTED
    except OutputError as error:
        code = code or error.exit_code
    os._exit(code)
