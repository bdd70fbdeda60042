"""Laws of bundles: all of the user's modules that are needed, nothing that is installed, one digest for one content."""

import importlib
import io
import sys
import threading
import zipfile

import polars as pl
import pytest

import noria as nr
from noria.pipelines.bundles import bundle_of

FILES = {
    "shop/__init__.py": "",
    "shop/features.py": "import numpy as np\nfrom .clean import strip\nfrom shop import names\n\ndef table(rows):\n    return strip(rows)\n",
    "shop/clean.py": "def strip(rows):\n    import shop_extra\n    return rows\n",
    "shop/names.py": "NAMES = ['a']\n",
    "shop/unused.py": "1 / 0\n",
    "shop_extra.py": "import polars\nimport not_there_at_all\n",
}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    for name, source in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("shop.features")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shop", "shop_extra")]:
        del sys.modules[name]


def names_in(payload):
    return zipfile.ZipFile(io.BytesIO(payload)).namelist()


def test_a_bundle_has_every_module_of_ones_own_that_is_reached_and_nothing_else(shop):
    found = names_in(bundle_of([shop.table]))

    assert found == ["shop/__init__.py", "shop/clean.py", "shop/features.py", "shop/names.py", "shop_extra.py"]


def test_the_same_sources_are_the_same_bytes(shop, tmp_path):
    before = bundle_of([shop.table])
    assert bundle_of([shop.table, shop.strip]) == before

    (tmp_path / "shop" / "names.py").write_text("NAMES = ['b']\n")

    assert bundle_of([shop.table]) != before


def test_a_step_and_a_pipeline_bring_their_functions_modules(shop, monkeypatch):
    step = nr.step(shop.table)

    assert bundle_of([step]) == bundle_of([shop.table])


def test_what_is_installed_needs_no_bundle():
    assert bundle_of([pl.concat, nr.open, len]) is None
    assert bundle_of([]) is None


class Cycle:
    """Garbage whose collection takes a moment: what lets another thread in while syntax trees are made."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        for _ in range(50):
            pass


def test_many_threads_may_look_at_code_at_once():
    interval, problems = sys.getswitchinterval(), []

    def look():
        try:
            for _ in range(20):
                for _ in range(200):
                    Cycle()
                bundle_of([look])
        except SystemError as problem:
            problems.append(problem)

    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)

    assert problems == []
