from __future__ import annotations

from ..pipeline.conftest import model, out, photos

__all__ = ["model", "out", "photos"]
