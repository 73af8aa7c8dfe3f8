"""Where the command begins, and `python -m backbone_cli`."""

import gc
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly even while it is being imported, when nothing is begun."""
    # Importing torch makes half a million objects, none of them garbage; looking for some takes a sixth of its time.
    gc.set_threshold(100_000, 50, 50)
    try:
        from .cli import main as start

        start()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
