"""Laws of what counts as a step's code: whichever way its own modules are reached, a change in them is seen."""

import json
import os
import re
import subprocess
import sys

import pytest
from reached_code import ADDED, NOT_STEPS, STEPS, TOLD

from noria.pipelines.bundles import bundle_of
from noria.pipelines.code import look_into

NAMES = sorted(set(re.findall(r"^(?:async )?def (\w+)\(", STEPS, re.MULTILINE)) - NOT_STEPS - {"_"})
CHANGED = [name for name in NAMES if not name.startswith("same_")]
SAME = [name for name in NAMES if name.startswith("same_")]


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reached")

    def told(factor, *, seed="0", first=()):
        for name, text in ({"shop/steps.py": STEPS} | ADDED).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text if name == "shop/steps.py" else text.replace("{factor}", str(factor)))
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
        command = [sys.executable, "-B", "-c", TOLD, *first]
        return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)

    loaded = ["shop.prices", "shop.other_ring", "shop.lazy.inner", "shop.deep.alone", "shop.through", "shop.other"]
    return {"before": told(10), "again": told(10, seed="7", first=loaded), "after": told(100)}


@pytest.mark.parametrize("name", CHANGED)
def test_a_change_is_seen_whichever_way_its_module_is_reached(digests, name):
    assert digests["before"][name] != digests["after"][name]


@pytest.mark.parametrize("name", SAME)
def test_a_change_elsewhere_is_no_change(digests, name):
    assert digests["before"][name] == digests["after"][name]


def test_neither_the_order_of_imports_nor_that_of_hashes_matters(digests):
    assert set(NAMES) <= set(digests["before"])
    assert digests["before"] == digests["again"]


def reached(tmp_path, monkeypatch, source):
    (tmp_path / "looked_at.py").write_text(f"import importlib, operator, sys\n\n{source}")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("looked_at", None)
    return __import__("looked_at")


@pytest.mark.parametrize(
    ("body", "unfollowed"),
    [
        ("return importlib.import_module(x).f()", ("importlib.import_module(x)",)),
        ("return importlib.import_module(f'shop.{x}').f()", ("importlib.import_module(f'shop.{x}')",)),
        ("return __import__(x).f()", ("__import__(x)",)),
        ("return sys.modules[x].f()", ("sys.modules[x]",)),
        ("return sys.modules.get(x).f()", ("sys.modules.get(x)",)),
        ("return eval(x)", ("eval(x)",)),
        ("exec(x)", ("exec(x)",)),
        ("return importlib.import_module('json').dumps(x)", ()),
        ("return getattr(x, x)", ()),
        ("return x.eval('a + b')", ()),
        ("return x.compile()", ()),
        ("return x + 1", ()),
    ],
)
def test_code_that_cannot_be_followed_is_said(tmp_path, monkeypatch, body, unfollowed):
    module = reached(tmp_path, monkeypatch, f"def helper(x):\n    {body}\n\ndef f(x):\n    return helper(x)\n")

    assert look_into(module.f).unfollowed == unfollowed


def test_a_module_that_is_imported_by_a_literal_text_is_in_the_bundle(tmp_path, monkeypatch):
    (tmp_path / "by_text.py").write_text("def f():\n    return 1\n")
    module = reached(tmp_path, monkeypatch, "def f():\n    return importlib.import_module('by_text').f()\n")

    assert b"by_text.py" in bundle_of([module.f])


def test_an_import_from_beyond_the_top_package_is_left_out_and_the_others_are_found(tmp_path, monkeypatch):
    (tmp_path / "by_text.py").write_text("def f():\n    return 1\n")
    source = """
def f():
    try:
        from ...above import f
    except ImportError:
        from by_text import f
    return f()
"""
    module = reached(tmp_path, monkeypatch, source)

    assert b"by_text.py" in bundle_of([module.f])


def test_what_an_object_of_a_library_holds_of_the_users_code_counts(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")

    def digest(factor):
        source = f"""
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

def times(n):
    return n * {factor}

class Holder:
    whole = Pipeline([("times", FunctionTransformer(times))])

def f(n):
    return Holder.whole.transform(n)
"""
        return look_into(reached(tmp_path, monkeypatch, source).f).digest

    assert digest(10) == digest(10)
    assert digest(10) != digest(100)
