"""Laws of what a command is given to run: a file, a file of a package, or a module; and what cannot be loaded, in a sentence."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from noria.cli.files import split
from noria.cli.root import noria

WORK = """
import noria as nr

{}


@nr.step
def price(n: int) -> int:
    return times(n)


@nr.pipeline
def work(n: int = 4):
    return price(n)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__spec__", "")):
            del sys.modules[name]


def write(folder, **files):
    for name, text in files.items():
        file = folder / (name.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def shop(folder):
    write(folder, cornershop__prices="def times(n):\n    return n * 10\n")
    write(folder, cornershop__train=WORK.format("from .prices import times"))
    write(folder, cornershop__deep__er=WORK.format("from ..prices import times"))
    for place in ("cornershop", "cornershop/deep"):
        (folder / place / "__init__.py").touch()


def called(*words):
    return CliRunner().invoke(noria, words)


def refusal(*words):
    done = called(*words)
    assert done.exit_code == 1
    return done.exception


@pytest.mark.parametrize(
    "target",
    [
        "cornershop.train:work",
        "cornershop/train.py:work",
        "./cornershop/train.py",
        "cornershop.deep.er",
        "cornershop/deep/er.py",
    ],
)
def test_a_pipeline_of_a_package_runs_by_its_module_and_by_its_file(here, target):
    shop(here)

    assert json.loads(called("run", target, "--json").output)["result"] == 40


def test_a_package_in_src_and_one_without_init_run_by_their_modules(here):
    write(here, src__library__prices="def times(n):\n    return n * 100\n")
    write(here, src__library__train=WORK.format("from .prices import times"))

    assert json.loads(called("run", "library.train:work", "--json").output)["result"] == 400


def test_a_file_with_relative_imports_in_no_package_says_how_it_is_named(here):
    write(here, loose__prices="", loose__train=WORK.format("from .prices import times"))

    problem = refusal("run", "loose/train.py")
    assert "ImportError" in problem.sentence
    assert "loose.train:NAME" in problem.hint


def test_a_package_is_submitted_and_worked_on_like_a_file(here):
    shop(here)

    words = [sys.executable, "-m", "noria"]
    subprocess.run([*words, "submit", "cornershop/train.py:work", "-p", "n=5"], check=True)
    subprocess.run([*words, "work", "--once"], check=True)
    (run,) = json.loads(called("runs", "--json").output)
    assert run["state"] == "succeeded"


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("def broken(:\n", "line 1: invalid syntax in 'def broken(:'", "python broken_file.py"),
        ("\n1 / 0\n", "line 2: ZeroDivisionError: division by zero", "mend it"),
        (
            "import nowhere_to_be_found\n",
            "line 1: No module named 'nowhere_to_be_found'",
            "pip install nowhere_to_be_found",
        ),
        ("import sys\nsys.exit(3)\n", "line 2: it asks the process to exit (3)", "__main__"),
        ("import noria as nr\n\n@nr.step(retries=-1)\ndef s(): ...\n", "line 3: retries=-1", "use 0, 1, 2"),
        ("x = 1\n", "broken_file has no pipeline", "@nr.pipeline"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_sentence_with_the_line(here, text, words, hint):
    write(here, broken_file=text)

    problem = refusal("run", "broken_file.py")
    assert words in problem.sentence
    assert hint in problem.hint


def test_what_is_not_there_or_something_else_is_said_with_what_is_there(here):
    write(here, some_steps=WORK.format("times = abs") + "\n\ndef plain(): ...\n")

    assert refusal("run", "some_steps.py:wrk").hint == "did you mean 'work'?"
    assert refusal("run", "some_steps.py:plain").sentence == "'plain' in some_steps is a function, no pipeline"
    assert refusal("run", "some_stepz.py").hint == "there is some_steps.py"
    assert refusal("run", "some_steps.work:x").sentence == "no module named 'some_steps.work'"
    assert refusal("run", ".").sentence == ". is a folder, no Python file"


def test_a_parameter_is_read_by_its_annotation_and_what_is_ambiguous_is_said(here):
    write(here, reads=WORK.format("times = repr").replace("-> int", "").replace("n: int = 4", "n"))
    write(
        here,
        typed=WORK.format("times = repr").replace("price(n: int) -> int", "price(n)").replace("n: int = 4", "n: str"),
    )

    assert json.loads(called("run", "typed.py", "-p", "n=1.10", "--json").stdout)["result"] == "'1.10'"
    guess = subprocess.run(
        [sys.executable, "-m", "noria", "run", "typed.py", "-p", "n=1", "-p", "n=2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert guess.returncode == 1
    assert "'n' is given twice" in guess.stderr


@pytest.mark.parametrize(
    ("target", "place", "name"),
    [
        ("steps.py", "steps.py", None),
        ("steps.py:work", "steps.py", "work"),
        ("a.b:work", "a.b", "work"),
        ("a.b", "a.b", None),
        ("c:/steps.py", "c:/steps.py", None),
        ("c:/steps.py:work", "c:/steps.py", "work"),
        ("steps.py:", "steps.py", None),
    ],
)
def test_a_target_is_a_place_and_perhaps_a_name(target, place, name):
    assert split(target) == (place, name)
