"""The entry point of the `backbone` command and of `python -m backbone_cli`."""

import gc
import sys


def main() -> None:
    """Run the command line. Ctrl-C ends it quietly even while it is still being imported."""
    # Importing torch creates half a million objects, none of them garbage; collecting takes a sixth of the time.
    gc.set_threshold(100_000, 50, 50)
    try:
        from .cli import main as start

        start()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
