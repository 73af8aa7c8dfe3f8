"""Pages that are generated from the program are current."""

from __future__ import annotations

from tools import make_cli_docs


def test_the_command_line_page_is_current():
    message = "docs/cli.md is out of date; run `python tools/make_cli_docs.py`"
    assert make_cli_docs.FILE.read_text(encoding="utf-8") == make_cli_docs.page(), message
