"""Homes that a gateway serves."""

import sys
from pathlib import Path

import pytest

from noria.boot import open_home

sys.path.insert(0, str(Path(__file__).parent))
from serving_home import furnish


@pytest.fixture
def home(tmp_path):
    with open_home(tmp_path / "home") as platform:
        furnish(platform, tmp_path)
        yield platform
