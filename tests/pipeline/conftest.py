from __future__ import annotations

import pytest

from .stub import make_model, make_photos


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> str:
    return make_photos(tmp_path_factory.mktemp("photos"), 10)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"
