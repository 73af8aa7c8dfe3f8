"""Where the command begins, and `python -m backbone_cli`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly even while it is being imported, when nothing is begun."""
    try:
        from .cli import main as start

        start()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
