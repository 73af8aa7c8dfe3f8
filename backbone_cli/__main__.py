"""`python -m backbone_cli`: the command line, also from a source tree that is not installed."""

from .cli import main

main()
