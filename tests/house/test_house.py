"""Laws of the house itself: sizes, imports, names, and that the pages say what the code does."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import noria as nr
from noria.ledger.model import FactKind
from noria.loop.table import STARTS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
"""What may be longer than the aim, each with its reason."""


def functions(path):
    """Functions of a file; a revision's `upgrade` is a generated list of tables, read only beside them."""
    if path.parent.name == "versions":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_a_file_fits_in_one_sitting():
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text().splitlines())) > 500 and str(path.relative_to(ROOT)) not in LONG_FILES
    }

    assert too_long == {}


def test_a_function_fits_on_one_screen():
    too_long = {
        f"{path.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in SOURCES
        for node in functions(path)
        if node.end_lineno - node.lineno + 1 > 40 and f"{path.relative_to(ROOT)}:{node.name}" not in LONG_FUNCTIONS
    }

    assert too_long == {}


def test_most_functions_are_short():
    lengths = sorted(node.end_lineno - node.lineno + 1 for path in SOURCES for node in functions(path))

    assert lengths[len(lengths) // 2] <= 12


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "common", "misc", "base"])
def test_no_file_is_called_by_a_word_that_says_nothing(word):
    assert [path for path in SOURCES if path.stem == word] == []


def loaded_by(statement):
    code = f"import sys; before = set(sys.modules); {statement}; print('\\n'.join(set(sys.modules) - before))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.split(".")[0] for name in answer.stdout.split()}


def test_importing_noria_loads_nothing_heavy():
    heavy = {
        "polars",
        "numpy",
        "scipy",
        "sqlalchemy",
        "sklearn",
        "skops",
        "pandas",
        "pyarrow",
        "rich",
        "click",
        "alembic",
        "cryptography",
    }

    assert loaded_by("import noria") & heavy == set()


def test_drawing_a_pipeline_loads_nothing_heavy():
    heavy = {"polars", "scipy", "sqlalchemy", "sklearn", "pandas", "pyarrow", "alembic"}

    assert loaded_by("import noria; noria.step; noria.pipeline") & heavy == set()


def test_every_public_name_is_there_and_has_a_docstring():
    undocumented = [name for name in nr.__all__ if not name.startswith("__") and not getattr(nr, name).__doc__]

    assert undocumented == []


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pipelin'"):
        nr.pipelin  # noqa: B018 - the access is what is tested


def test_every_kind_of_fact_stands_on_its_page():
    page = (ROOT / "docs" / "facts.md").read_text()

    assert [kind.value for kind in FactKind if f"`{kind.value}`" not in page] == []


def test_every_fact_that_starts_a_verb_is_a_kind_of_fact_and_every_verb_has_its_sentence():
    assert all(kind in FactKind for kind in STARTS)
    assert all(verb.__doc__ for verb in STARTS.values())


def test_every_setting_stands_on_its_page():
    from dataclasses import fields

    from noria.settings import Settings

    page = (ROOT / "docs" / "settings.md").read_text()

    assert [entry.name for entry in fields(Settings) if f"`{entry.name}`" not in page] == []


def test_every_dependency_has_its_reason():
    import tomllib

    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [re.split(r"[<>=\[]", line)[0] for line in told["dependencies"]]
    page = (ROOT / "docs" / "dependencies.md").read_text()

    assert [name for name in wanted if f"| {name} |" not in page] == []


def test_every_error_code_stands_on_its_page():
    from noria.core import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.NoriaError)]
    page = (ROOT / "docs" / "errors.md").read_text()

    assert [kind.code for kind in kinds if f"`{kind.code}`" not in page] == []


def test_every_command_stands_on_its_page():
    from noria.cli.root import _COMMANDS

    page = (ROOT / "docs" / "commands.md").read_text()

    assert [name for name in _COMMANDS if f"noria {name}" not in page] == []
