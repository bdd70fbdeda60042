"""Laws of what steps are given: each taker and each try has its own, and nobody else sees what it does to it."""

import logging
import tempfile
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import noria as nr


@pytest.fixture
def home(tmp_path):
    with nr.open(tmp_path / "home") as opened:
        yield opened


KEPT = {"a": 1}
LITERAL = [{"k": ([1],)}]
TRIES = []


@pytest.fixture(autouse=True)
def fresh():
    KEPT["a"] = 1
    TRIES.clear()


@nr.step
def pops(value):
    if isinstance(value, dict):
        value.pop("a")
        return len(value)
    value.append(9)
    return len(value)


@nr.step
def reads(value):
    return value["a"]


@nr.step
def gives_its_own():
    return KEPT


@nr.step
def changes_it_later(n: int):
    KEPT["a"] = 99
    return n


@nr.step
def adds_one(array):
    array += 1
    return float(array.sum())


@nr.step
def makes_zeros(n: int):
    return np.zeros(n)


@nr.step
def spoils_pandas(rows):
    before = [list(rows.columns), len(rows)]
    rows["new"] = 1
    rows.loc[rows.index[0], "x"] = 100
    rows.index = [f"r{place}" for place in range(len(rows))]
    return before


@nr.step
def spoils_polars(rows):
    before = [rows.width, int(rows["x"].sum())]
    rows[0, "x"] = 100
    rows.insert_column(0, pl.Series("new", [0] * rows.height))
    return before


@nr.step
def spoils_series(column):
    before = int(column.sum())
    column[0] = 100
    return before


@nr.step
def fits_again(model):
    before = float(model.coef_[0])
    model.fit([[1.0], [2.0]], [0.0, 10.0])
    return before


@nr.step
def goes_deep(value):
    value[0]["k"][0].append(9)
    return len(value[0]["k"][0])


@nr.step
def collects(x: int, into=[]):  # noqa: B006 - the very thing that is tried
    into.append(x)
    return len(into)


def twice(step):
    @nr.pipeline
    def both(value):
        return [step(value), step(value)]

    return both


@pytest.mark.parametrize(
    ("step", "value", "first"),
    [
        (pops, {"a": 1, "b": 2}, 1),
        (pops, [1], 2),
        (adds_one, np.zeros(3), 3.0),
        (adds_one, np.zeros(2_000_000), 2_000_000.0),
        (spoils_pandas, pd.DataFrame({"x": [1, 2]}), [["x"], 2]),
        (spoils_polars, pl.DataFrame({"x": [1, 2]}), [1, 3]),
        (spoils_polars, pl.DataFrame({"x": np.ones(2_000_000, np.int64)}), [1, 2_000_000]),
        (spoils_series, pl.Series("x", [1, 2]), 3),
        (fits_again, Ridge(alpha=0).fit([[1.0], [2.0]], [0.0, 1.0]), 1.0),
        (goes_deep, [{"k": ([1],)}], 2),
    ],
    ids=lambda value: getattr(value, "name", type(value).__name__) if not isinstance(value, float | list) else "",
)
def test_what_a_step_does_to_its_argument_neither_another_step_nor_the_caller_sees(home, step, value, first):
    found = home.run(twice(step), params={"value": value}).result

    assert found == [pytest.approx(first) if isinstance(first, float) else first] * 2
    assert step.function(value) == found[0]


def test_a_result_is_what_it_was_when_its_step_ended(home):
    @nr.pipeline
    def whole():
        given = gives_its_own()
        return [changes_it_later(1), reads(given)]

    assert home.run(whole).result == [1, 1]


def test_what_a_thread_goes_on_writing_to_after_its_step_nobody_sees(home):
    go_on, has_written = threading.Event(), threading.Event()

    @nr.step
    def leaves_a_thread():
        made = {"a": 1}

        def write():
            go_on.wait(10)
            made["a"] = 2
            has_written.set()

        threading.Thread(target=write, daemon=True).start()
        return made

    @nr.step
    def waits(n):
        go_on.set()
        has_written.wait(10)
        return n

    @nr.pipeline
    def whole():
        made = leaves_a_thread()
        return [waits(1), reads(made)]

    assert home.run(whole).result == [1, 1]


def test_a_step_gets_what_its_pipeline_called_it_with_and_not_what_that_made_of_it_later(home):
    @nr.pipeline
    def whole():
        settings, array = {"a": 1}, np.zeros(2)
        found = [reads(settings), adds_one(array)]
        settings["a"] = 2
        array[0] = 5
        return [*found, reads(settings), adds_one(array), goes_deep(LITERAL), goes_deep(LITERAL)]

    assert home.run(whole).result == [1, 2.0, 2, 7.0, 2, 2]
    assert LITERAL == [{"k": ([1],)}]


def test_a_default_is_never_changed(home):
    @nr.pipeline
    def whole():
        return [collects(1), collects(2), collects.map([3, 4])]

    assert home.run(whole).result == [1, 1, [1, 1]]
    assert collects.function.__defaults__ == ([],)


@nr.step
def items():
    return [{"r": 1}, {"r": 2}]


@nr.step(retries=2, backoff_seconds=0)
def pops_and_fails(item, shared):
    got = [item.pop("r", "gone"), shared.pop()]
    TRIES.append(1)
    if len(TRIES) < 3:
        raise ConnectionError("again")
    return got


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("how", ["made", "literal", "given", "referred to"])
def test_each_item_and_each_try_of_it_has_its_own_arguments(home, how, concurrency):
    @nr.step
    def one(n: int):
        return {"r": n}

    @nr.pipeline
    def whole(given: list):
        found = {
            "made": lambda: items(),
            "literal": lambda: [{"r": 1}, {"r": 2}],
            "given": lambda: given,
            "referred to": lambda: [one(1), one(2)],
        }
        return pops_and_fails.map(found[how](), shared=[7], concurrency=concurrency)

    assert home.run(whole, params={"given": [{"r": 1}, {"r": 2}]}).result == [[1, 7], [2, 7]]


def test_the_way_that_a_branch_takes_gives_each_taker_its_own(home):
    @nr.pipeline
    def whole(yes: bool):
        chosen = nr.branch(reads({"a": True}), lambda: {"a": 1, "b": 2}, lambda: {"a": 3})
        return [pops(chosen), pops(chosen), chosen]

    assert home.run(whole, params={"yes": True}).result == [1, 1, {"a": 1, "b": 2}]


def test_a_result_is_the_same_each_time_whatever_was_done_to_it(home):
    @nr.pipeline
    def whole():
        return items()

    run = home.run(whole)
    run.result.pop()

    assert run.result == [{"r": 1}, {"r": 2}]
    assert home.runs.get(home.context, run.id).result == run.result


@nr.step
def writes(text: str) -> Path:
    file = Path(tempfile.mkdtemp()) / "notes.txt"
    file.write_text(text)
    return file


@nr.step
def spoils_file(file: Path, how: str):
    before = file.read_text()
    file.chmod(0o644)
    if how == "appends":
        with file.open("a") as out:
            out.write("more")
    elif how == "writes as much":
        file.write_text("z" * len(before))
    elif how == "deletes":
        file.unlink()
    else:
        file.rename(file.with_name("elsewhere"))
    return before


@nr.step
def spoils_files(value: dict):
    before = [file.read_text() for file in value["files"]]
    value["files"][0].chmod(0o644)
    value["files"][0].write_text("other")
    return [*before, value["files"][1].read_text()]


@nr.step(retries=1, backoff_seconds=0)
def spoils_and_fails(file: Path):
    before = file.read_text()
    file.chmod(0o644)
    out = file.open("a")
    out.write("not closed")
    TRIES.append(out)
    if len(TRIES) == 1:
        raise ConnectionError("once")
    return before


@pytest.mark.parametrize("how", ["appends", "writes as much", "deletes", "renames"])
def test_a_step_that_spoils_its_file_spoils_nobody_elses(home, tmp_path, how):
    source = tmp_path / "source.txt"
    source.write_text("given")

    @nr.pipeline
    def whole(given: Path):
        made = writes("made")
        spoiled = [spoils_file(file, how) for file in (given, given, made, made)]
        literal = [spoils_file(source, how), spoils_file(source, how)]
        return [spoiled, literal, spoils_file.map([made, made, made], how=how, concurrency=3), made]

    run = home.run(whole, params={"given": source})

    assert run.result[:3] == [["given", "given", "made", "made"], ["given", "given"], ["made"] * 3]
    assert run.result[3].read_text() == "made"
    assert source.read_text() == "given"


def test_files_inside_of_collections_are_each_takers_own_and_two_of_one_content_are_two(home):
    @nr.pipeline
    def whole():
        files = {"files": [writes("same"), writes("same")]}
        return [spoils_files(files), spoils_files(files)]

    assert home.run(whole).result == [["same"] * 3, ["same"] * 3]


def test_a_try_after_one_that_left_a_file_open_has_a_file_of_its_own(home):
    @nr.pipeline
    def whole():
        return spoils_and_fails(writes("as it was"))

    result = home.run(whole).result
    for out in TRIES:
        out.close()

    assert result == "as it was"


@nr.step
def makes_folder() -> Path:
    folder = Path(tempfile.mkdtemp()) / "images"
    (folder / "inner").mkdir(parents=True)
    (folder / "large").write_bytes(b"1" * 9_000_000)
    (folder / "inner" / "small").write_text("small")
    return folder


@nr.step
def looks(folder: Path, n: int):
    TRIES.append((folder / "large").stat().st_ino)
    return [(folder / "large").read_bytes()[:1].decode(), len(list(folder.rglob("*")))]


@nr.step
def touches(folder: Path, how: str):
    if how == "in place":
        (folder / "large").chmod(0o644)
        with (folder / "large").open("r+b") as out:
            out.write(b"2")
    else:
        (folder / "inner" / "added").write_text("x")
    return how


def test_a_large_folder_is_unpacked_again_only_when_somebody_has_written_to_it(home):
    @nr.pipeline
    def whole():
        made = makes_folder()
        return [
            looks(made, 1),
            looks(made, 2),
            touches(made, "in place"),
            looks(made, 3),
            touches(made, "beside"),
            looks(made, 4),
        ]

    found = home.run(whole).result

    assert [found[place] for place in (0, 1, 3, 5)] == [["1", 3]] * 4
    assert TRIES[0] == TRIES[1]


def test_the_files_that_a_step_was_given_are_deleted_when_it_has_ended(home):
    given = []

    @nr.step
    def tells(file: Path):
        given.append(file)
        return file

    @nr.pipeline
    def whole():
        return tells(writes("short"))

    run = home.run(whole)

    assert not given[0].exists()
    assert run.result.read_text() == "short"


def test_a_step_says_when_it_reaches_code_that_cannot_be_followed(home, caplog):
    @nr.step
    def dynamic(name: str):
        return eval(name)

    @nr.pipeline
    def whole():
        return [dynamic("1 + 1"), dynamic("1 + 2")]

    with caplog.at_level(logging.WARNING, "noria.runs"):
        assert home.run(whole).result == [2, 3]

    assert [record.getMessage().partition(". ")[0] for record in caplog.records] == [
        "step 'dynamic' reaches code that cannot be followed: eval(name)"
    ]
