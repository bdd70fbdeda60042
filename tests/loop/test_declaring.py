"""Laws of what people write wrongly: a sentence with the place and the way out, never a traceback."""

import subprocess
import sys

import polars as pl
import pytest

import noria as nr
from noria.cli import files
from noria.cli.loop_files import loops_of
from noria.core.errors import Invalid, NoriaError, NotFound, nearest

VISITS = nr.Dataset("visits", key="id", time="at", label="y")


@nr.step
def fit(rows: pl.DataFrame):
    return rows


@nr.pipeline
def train(rows, depth, rate=0.1):
    return fit(rows)


@nr.pipeline
def nothing():
    return 1


def plain(rows):
    return rows


def declared(**parts):
    known = {"dataset": VISITS, "train": train, "params": {"depth": 3}}
    return nr.Loop(parts.pop("name", "visits"), **(known | parts))


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("name", 7, "name=7 of a loop is not a text"),
        ("dataset", "visits", "dataset='visits' of a loop is not a dataset"),
        ("train", plain, r"train=plain \(a plain function\) of a loop is not a pipeline"),
        ("train", fit, r"train=fit \(a step\) of a loop is not a pipeline"),
        ("train", None, "train=None of a loop is not a pipeline"),
        ("when", "daily", "when='daily' of a loop is not a trigger"),
        ("when", [nr.new_labels(3)], "of a loop is not a trigger"),
        ("guards", nr.check_schema(), "of a loop is not a list of guards"),
        ("guards", "schema", "guards='schema' of a loop is not a list of guards"),
        ("guards", ["schema"], "guards of a loop has 'schema', which is no guard"),
        ("evaluate", ["auc"], "of a loop is not an evaluation"),
        ("gate", "auc", "gate='auc' of a loop is not a gate"),
        ("review", True, "review=True of a loop is not a review"),
        ("rollout", "canary", "of a loop is not a canary"),
        ("budget", 200, "budget=200 of a loop is not a budget"),
        ("window", 90, "window=90 of a loop is not a duration"),
        ("cooldown", None, "cooldown=None of a loop is not a duration"),
        ("min_rows", "100", "min_rows='100' of a loop is not a whole number"),
        ("params", ["depth"], "of a loop is not params by their names"),
        ("params", {}, "needs a value for 'depth'"),
        ("params", {"depth": 3, "rat": 0.2}, "has no parameter 'rat'"),
        ("params", {"depth": 3, "rows": []}, "which is what takes its rows"),
    ],
)
def test_a_part_of_another_kind_is_refused_where_it_is_written(part, value, sentence):
    with pytest.raises(Invalid, match=sentence) as caught:
        declared(**{part: value})

    assert caught.value.hint


def test_a_pipeline_that_takes_no_rows_is_refused():
    with pytest.raises(Invalid, match="pipeline 'nothing' takes no rows"):
        declared(train=nothing, params={})


@pytest.mark.parametrize("drop", [0, -1, float("nan"), float("inf"), True, "0.1"])
def test_a_drop_is_a_number_above_nothing(drop):
    with pytest.raises(Invalid, match="is no drop of auc"):
        nr.metric_drop("auc", by=drop)


def test_a_drop_of_what_is_never_measured_is_refused():
    with pytest.raises(NotFound, match="no metric named 'auc_score'"):
        nr.metric_drop("auc_score", by=0.1)
    with pytest.raises(Invalid, match="the evaluation does not measure"):
        declared(when=nr.any_of(nr.manual(), nr.metric_drop("brier", by=0.1)))
    with pytest.raises(Invalid, match="the loop has no gate"):
        declared(when=nr.metric_drop("auc", by=0.1), gate=None)
    assert declared(when=nr.metric_drop("brier", by=0.1), gate=nr.Gate("auc", guards=[("brier", 0.1)]))


LOOP = """
import noria as nr
@nr.step
def fit(rows): return rows
@nr.pipeline
def train(rows): return fit(rows)
visits = nr.Dataset("visits", key="id", time="at", label="y")
loop = nr.Loop("visits", dataset=visits, train=train)
"""
BROKEN = {
    "a syntax error": ("x = 1\nloop = = 3\n", "line 2: invalid syntax in 'loop = = 3'"),
    "an indentation": ("def f():\nreturn 1\n", "line 2: "),
    "an open bracket": ("loop = (1,\n", "line 1: '(' was never closed"),
    "a module that is missing": ("\nimport no_such_module\n", "line 2: No module named 'no_such_module'"),
    "a name that is missing": ("from noria import Lop\n", "line 1: "),
    "a name that is not defined": ("\n\nloop = Lop()\n", "line 3: NameError: name 'Lop' is not defined"),
    "an exception": ("def f():\n    return 1 / 0\nf()\n", "line 2: ZeroDivisionError: division by zero"),
    "an exception without words": ("raise RuntimeError\n", "line 1: RuntimeError"),
    "an exit": ("import sys\nsys.exit(3)\n", "line 2: it asks the process to exit"),
    "an error of ours": ("import noria as nr\nnr.Gate('aux')\n", "line 2: no metric named 'aux'"),
    "no loop": ("import noria as nr\n", "declares no loop"),
    "two of one name": (LOOP + 'b = nr.Loop("visits", dataset=visits, train=train, min_rows=5)\n', "two loops named"),
    "nothing": ("", "declares no loop"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_file_is_said_with_its_line(tmp_path, broken):
    text, sentence = BROKEN[broken]
    file = tmp_path / "broken_loop_file.py"
    file.write_text(text)

    with pytest.raises(NoriaError) as caught:
        loops_of(file)

    assert sentence in caught.value.sentence
    assert "broken_loop_file.py" in caught.value.sentence
    assert caught.value.hint
    assert "broken_loop_file" not in sys.modules or broken in {"no loop", "two of one name", "nothing"}


def test_an_error_in_a_module_beside_the_file_names_that_module(tmp_path):
    (tmp_path / "beside_it.py").write_text("\nvalue = {}['price']\n")
    file = tmp_path / "file_of_loop.py"
    file.write_text("import beside_it\n")

    with pytest.raises(Invalid, match=r"beside_it\.py, line 2: KeyError: 'price'"):
        loops_of(file)


def test_a_file_that_is_missing_a_folder_no_text_or_no_python_is_said(tmp_path):
    (tmp_path / "latin.py").write_bytes("x = 'é'\n".encode("latin-1"))
    (tmp_path / "zeros.py").write_bytes(b"x = 1\0\n")
    (tmp_path / "wide.py").write_bytes("x = 1\n".encode("utf-16"))
    (tmp_path / "notes.txt").write_text("x = 1")
    (tmp_path / "folder.py").mkdir()

    for name, sentence in {
        "gone.py": "no file named",
        ".": "is a folder",
        "folder.py": "is a folder",
        "latin.py": "can't decode byte 0xe9(.|\n)*hint: save it as text in UTF-8",
        "zeros.py": "null bytes(.|\n)*hint: save it as text in UTF-8",
        "wide.py": "wide.py(.|\n)*hint: save it as text in UTF-8",
        "notes.txt": "is no Python file",
    }.items():
        with pytest.raises(NoriaError, match=sentence):
            loops_of(tmp_path / name)


def test_a_module_that_is_not_installed_is_said_with_what_installs_it(tmp_path):
    (tmp_path / "needs_more.py").write_text("from no_such_library.parts import piece\n")

    with pytest.raises(Invalid, match=r"No module named 'no_such_library'\n.*pip install no_such_library"):
        loops_of(tmp_path / "needs_more.py")


def test_a_file_that_this_user_may_not_read_is_said(tmp_path, monkeypatch):
    file = tmp_path / "locked.py"
    file.write_text(LOOP)

    def refuse(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(file), "open", refuse)
    with pytest.raises(Invalid, match=r"locked\.py cannot be read: Permission denied"):
        loops_of(file)


def test_one_loop_under_two_names_is_one_loop(tmp_path):
    file = tmp_path / "aliased_loop_file.py"
    file.write_text(LOOP + "same = loop\n")

    assert [loop.name for loop in loops_of(file)] == ["visits"]


def test_a_worker_turns_the_loops_of_good_files_beside_a_bad_one(tmp_path):
    (tmp_path / "bad.py").write_text("loop = = 3\n")
    command = [sys.executable, "-m", "noria", "loop", "start", "bad.py", "--once", "--home", "home"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("error: bad.py cannot be loaded: bad.py, line 1: invalid syntax in 'loop = = 3'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("asked", "known", "hint"),
    [
        ("frauds", ["fraud", "churn"], "did you mean 'fraud'?"),
        ("FRAUD", ["fraud", "churn"], "did you mean 'fraud'?"),
        ("late flights", ["late-flights"], "did you mean 'late-flights'?"),
        ("fruad", ["fraud", "churn"], "did you mean 'fraud'?"),
        ("flights_2", ["churn", "flights_1"], "did you mean 'flights_1'?"),
        ("pr_auc", ["auc", "log_loss"], "known: auc, log_loss"),
        ("score", ["core_score_of_all", "at"], "known: at, core_score_of_all"),
        ("---", ["auc"], "known: auc"),
        ("anything", [], ""),
    ],
)
def test_a_hint_names_only_what_is_really_close(asked, known, hint):
    assert nearest(asked, known) == hint


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("roc_auc", "did you mean 'auc'?"),
        ("logloss", "did you mean 'log_loss'?"),
        ("acuracy", "did you mean 'accuracy'?"),
        ("brier_score", "did you mean 'brier'?"),
        *((name, "known: ") for name in ("mse", "rmsle", "f1", "r2", "mape")),
    ],
)
def test_a_metric_that_is_called_otherwise_elsewhere_is_offered_and_another_metric_is_not(asked, hint):
    with pytest.raises(NotFound) as caught:
        nr.Gate(asked)

    assert caught.value.hint.startswith(hint)


def test_a_file_is_loaded_as_a_module_of_its_name(tmp_path):
    (tmp_path / "good_loop_file.py").write_text("x = 7\n")

    assert files.load(tmp_path / "good_loop_file.py").x == 7
