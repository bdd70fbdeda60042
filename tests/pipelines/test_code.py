"""Laws of the code digest: it changes with what code does, and with nothing else."""

import importlib
import itertools
import linecache
import os
import subprocess
import sys
import textwrap

import pytest

from noria.pipelines import code_digest
from noria.pipelines.ownership import version_of
from noria.version import __version__

SETS = """
def small(x):
    return x in {"US", "CA", "MX", "DE", "FR"}

def inner(x):
    return [y for y in x if y in {"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg", "hhhhhhhh"}]
"""


def test_the_order_of_a_set_in_a_constant_is_chance_and_does_not_matter(tmp_path):
    (tmp_path / "with_sets.py").write_text(SETS)
    told = "import with_sets as w; from noria.pipelines import code_digest as d; print(d(w.small), d(w.inner))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", told],
            env=os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(8)
    }
    assert len(seen) == 1


BASE = """
    import functools
    import math
    import polars as pl
    from enum import Enum

    FACTOR = 3
    NAMES = ["a", "b"]
    SHIFT = pl.col("x") * 2

    class Kind(Enum):
        A = 1

    class Scaler:
        offset = 1

        def scale(self, x):
            return x + self.offset

    def helper(x):
        return x * FACTOR

    @functools.cache
    def remembered(x):
        return helper(x) + 1

    def unrelated():
        return 5

    def f(x: int, y=1) -> int:
        \"\"\"What it does.\"\"\"
        z = remembered(x)  # a comment
        return Scaler().scale(z) + len(NAMES) + Kind.A.value, SHIFT, math.pi
"""
names = (f"some_code_{number}" for number in itertools.count())


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest(source, *, name="f", edited=None):
        module_name = next(names)
        file = tmp_path / f"{module_name}.py"
        file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
        if edited is not None:
            file.write_text(textwrap.dedent(edited))
            linecache.checkcache()
        return code_digest(getattr(module, name))

    return digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ("What it does.", "What else it does."),
        ("z = remembered(x)", "z = (\n            remembered( x )\n        )"),
        ("x: int, y=1) -> int", "x, y = 1)"),
        ("return 5", "return 6"),
        ("FACTOR = 3", "FACTOR = 1 + 2"),
        ("import math", "import math\n    import json"),
    ],
)
def test_what_code_does_not_do_does_not_matter(digest_of, old, new):
    assert old in BASE
    assert digest_of(BASE) == digest_of(BASE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("y=1", "y=2"),
        ("return Scaler", "return 1 + Scaler"),
        ("FACTOR = 3", "FACTOR = 4"),
        ("FACTOR = 3", "FACTOR = 3.0"),
        ("x * FACTOR", "x + FACTOR"),
        ("helper(x) + 1", "helper(x) + 2"),
        ('["a", "b"]', '["a", "c"]'),
        ('pl.col("x") * 2', 'pl.col("x") * 3'),
        ('pl.col("x") * 2', 'pl.col("x") * FACTOR'),
        ("offset = 1", "offset = 2"),
        ("x + self.offset", "x - self.offset"),
        ("A = 1", "A = 2"),
        ("Scaler().scale", "Scaler().scale if x else len"),
    ],
)
def test_what_code_does_matters_however_far_away(digest_of, old, new):
    assert old in BASE
    assert digest_of(BASE) != digest_of(BASE.replace(old, new))


CORNERS = """
    import functools
    import re
    from datetime import timedelta
    from decimal import Decimal
    from pathlib import Path

    import msgspec
    import numpy as np
    import polars as pl

    WORDS = re.compile("a+")
    WAITS = [timedelta(days=days) for days in (1, 2)]
    WEIGHTS = {}
    for place in (1, 2):
        WEIGHTS[place] = np.full(2, place)
    try:
        PRICE = Decimal("1.5")
    except ImportError:
        PRICE = Path("none")
    if True:
        FRAME = pl.DataFrame({"x": [7]})

    class Slotted:
        __slots__ = ("depth",)

        def __init__(self, depth):
            self.depth = depth

    POINTS = [Slotted(depth) for depth in (3, 4)]
    POINT = POINTS[0]

    class Meta(type):
        def size(cls):
            return 10

    class Corner(metaclass=Meta):
        limits = np.array([20, 21])

        @functools.cached_property
        def cached(self):
            return 30

        def plus(self, more):
            return more

        partly = functools.partialmethod(plus, 40)

        @functools.singledispatchmethod
        def by_kind(self, x):
            return 50

    class Told(msgspec.Struct):
        amount: int = 60

    @functools.singledispatch
    def by_type(x):
        return 70

    @by_type.register
    def _(x: int):
        return 80

    def f(x, scale=np.array([90])):
        return WORDS, WAITS, WEIGHTS, PRICE, FRAME, POINT, Corner(), Told(), by_type(x), scale
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a+"', '"b+"'),
        ("(1, 2)]", "(1, 3)]"),
        ("in (1, 2):", "in (1, 3):"),
        ('"1.5"', '"1.6"'),
        ("[7]", "[8]"),
        ("(3, 4)", "(5, 4)"),
        *((f"{number}", f"{number + 1}") for number in (10, 20, 30, 40, 50, 60, 70, 80, 90)),
    ],
)
def test_what_is_hard_to_look_into_counts_by_what_it_holds(digest_of, old, new):
    assert CORNERS.count(old) == 1

    assert digest_of(CORNERS) != digest_of(CORNERS.replace(old, new))
    assert digest_of(CORNERS) == digest_of(CORNERS)


def test_a_constant_of_another_module_counts_as_it_is_assigned_there(digest_of, tmp_path):
    def digest(rows):
        there = next(names)
        (tmp_path / f"{there}.py").write_text(f"import polars as pl\nROWS = pl.DataFrame({{'x': {rows}}})\n")
        return digest_of(f"from {there} import ROWS as KNOWN\n\ndef f(x):\n    return KNOWN\n")

    assert digest([1]) == digest([1])
    assert digest([1]) != digest([2])


def test_an_opaque_constant_counts_with_the_names_in_its_assignment(digest_of):
    source = BASE.replace('pl.col("x") * 2', 'pl.col("x") * FACTOR').replace("x * FACTOR", "x")

    assert digest_of(source) != digest_of(source.replace("FACTOR = 3", "FACTOR = 4"))


def test_closures_count_by_what_they_hold():
    def made(by, with_):
        def inner(x):
            return with_(x) + by

        return inner

    assert code_digest(made(1, abs)) == code_digest(made(1, abs))
    assert code_digest(made(1, abs)) != code_digest(made(2, abs))
    assert code_digest(made(1, abs)) != code_digest(made(1, len))


def test_functions_that_call_each_other_have_a_digest(digest_of):
    source = """
        def f(n):
            return g(n - 1) if n else 0

        def g(n):
            return f(n - 1) if n else 1
    """

    assert digest_of(source) == digest_of(source)
    assert digest_of(source) != digest_of(source.replace("else 1", "else 2"))


def test_other_modules_of_the_user_are_followed_however_they_are_imported(digest_of, tmp_path):
    for way, call in (
        ("import shared_mod", "shared_mod.helper(x)"),
        ("from shared_mod import helper", "helper(x)"),
        ("import shared_mod as other", "other.helper(x)"),
    ):
        for inside in (False, True):
            digests = []
            for number in (1, 1, 2):
                (tmp_path / "shared_mod.py").write_text(
                    f"UNUSED = {number}\nN = {number}\ndef helper(x):\n    return x + N\n"
                )
                sys.modules.pop("shared_mod", None)
                importlib.invalidate_caches()
                sys.path_importer_cache.clear()
                body = f"    {way}\n    return {call}" if inside else f"    return {call}"
                digests.append(digest_of(f"{'' if inside else way}\ndef f(x):\n{body}\n"))
            assert digests[0] == digests[1] != digests[2], (way, inside)


def test_a_file_that_was_edited_after_its_import_does_not_count_until_it_is_imported_again(digest_of):
    new = BASE.replace("helper(x) + 1", "helper(x) + 2").replace(
        "z = remembered(x)", "w = 1\n        z = remembered(x)"
    )
    untouched = digest_of("def f():\n    return 1\n", edited=None)

    changed = digest_of("def f():\n    return 1\n", edited="def f():\n    return 2\n")

    assert changed not in {digest_of("def f():\n    return 2\n"), digest_of(new)}
    assert untouched == digest_of("def f():\n    return 1\n")


def test_code_without_source_is_known_by_what_was_compiled():
    def made(source):
        room = {"__name__": "__main__"}
        exec(source, room)
        return code_digest(room["f"])

    base = "def g(x):\n    return x\ndef f(x):\n    'doc'\n    return g(x) + 1\n"

    assert made(base) == made("# comment\n\n" + base.replace("'doc'", "'other'"))
    assert made(base) != made(base.replace("+ 1", "+ 2"))
    assert made(base) != made(base.replace("return x\n", "return -x\n"))


def test_a_helper_that_is_defined_anew_counts_as_it_is_now():
    room = {"__name__": "__main__"}
    exec("def g(x):\n    return x\ndef f(x):\n    return g(x)\n", room)
    before = code_digest(room["f"])

    exec("def g(x):\n    return x + 1\n", room)

    assert code_digest(room["f"]) != before


def test_a_script_that_is_run_has_the_digest_and_the_name_of_one_that_is_imported(tmp_path):
    (tmp_path / "my_script.py").write_text(
        "import noria.pipelines as nr\nN = 3\n@nr.step\ndef f(x):\n    return x + N\n"
        "if __name__ == '__main__':\n    print(f.reference, nr.code_digest(f))\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}

    def said(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run = said("my_script.py")
    imported = said("-c", "import noria.pipelines as nr, my_script as m; print(m.f.reference, nr.code_digest(m.f))")

    assert run == imported
    assert run.startswith("my_script:f ")


def test_noria_counts_by_its_version_from_a_checkout_as_from_a_wheel():
    assert version_of("noria.runs.recorder") == f"noria+noria=={__version__}"
