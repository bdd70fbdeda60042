"""Laws of erasing somebody: no byte of theirs is left in any file or table, and everybody else's rows are."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from datetime import timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from clicks import CLICKS, HOUR, READS, START, ask, land, opened, rows_of, tell
from polars.exceptions import PolarsError
from sklearn.linear_model import LogisticRegression
from sqlalchemy import MetaData, select

import noria as nr
from noria.cli.root import noria
from noria.core.errors import Invalid, NotFound, Unavailable
from noria.datasets.model import FragmentKind, Hold
from noria.guards.model import Action, Finding, Judgement
from noria.ledger.model import FactKind
from noria.loop.forgetting import forget
from noria.runs.model import AttemptState
from noria.serving import queries
from noria.serving.model import Feedback, Landed

ADA = f"ada-of-{4711}"  # not as one text: this module is kept with the versions that it trains
DAYS = 30


@nr.step(cache=True)
def joined(rows: pl.DataFrame) -> pl.DataFrame:
    print("first", rows["id"].to_list())
    return rows.with_columns(z=pl.col("x") + 1)


@nr.step(cache=True)
def listed(rows: pl.DataFrame) -> dict[str, list[str]]:
    return {"ids": rows["id"].to_list()}


@nr.step(cache=True)
def arrayed(rows: pl.DataFrame) -> np.ndarray:
    return rows["id"].to_numpy().astype("U20")


@nr.step
def fit(rows: pl.DataFrame, names: dict[str, list[str]], array: np.ndarray) -> nr.Model:
    assert names["ids"] == array.tolist()
    return nr.Model(LogisticRegression().fit(READS(rows), rows["bought"].to_numpy()), preprocess=READS)


@nr.pipeline
def train(rows):
    table = joined(rows)
    return fit(table, listed(table), arrayed(table))


@nr.pipeline
def looked_at(rows):
    return joined(rows)


LOOP = nr.Loop("clicks", dataset=CLICKS, train=train, when=nr.manual(), guards=[], gate=None, min_rows=10)


def ada_and(rows):
    return rows.with_columns(id=pl.when(pl.col("id") == "c0").then(pl.lit(ADA)).otherwise(pl.col("id")))


def furnish(home):
    """Let Ada be everywhere: rows, labels, quarantine, a cycle, runs, the log in both forms, and what waits in it."""
    days = [START - timedelta(days=30 - number) for number in range(DAYS)]
    home.push(CLICKS, ada_and(rows_of(DAYS)).with_columns(at=pl.Series(days)))
    told = {"id": [ADA, *(f"c{n}" for n in range(1, DAYS))], "bought": [n % 2 == 0 for n in range(DAYS)]}
    home.land_labels(CLICKS, pl.DataFrame(told).with_columns(known_at=pl.Series(days)))
    home.start(LOOP)
    home.loops.request(home.context, "clicks", reason="now")
    with home.worker(LOOP) as worker:
        worker.run_until_quiet()
    run = home.run(looked_at, params={"rows": home.datasets.rows(home.context, "clicks")})
    answers = ask(home, ada_and(rows_of(3)), key="id")
    for answer in answers:
        tell(home, label=True, prediction=answer.prediction)
    land(home)
    home.clock.advance_to(START + timedelta(days=1))
    ask(home, rows_of(2, first=50).with_columns(site=pl.lit(ADA)), key="site")
    tell(home, label=False, key=ADA)
    tell(home, label=False, key="c1")
    land(home)
    home.landings.tidy(home.context, home.endpoints.get(home.context, "clicks"))
    ask(home, ada_and(rows_of(2, at=START + HOUR)), key="id")
    hold = Hold(kind=FragmentKind.ROWS, key=ADA, time=START, through=9)
    found = Finding(guard="quality", action=Action.QUARANTINE, words="odd", holds=(hold,))
    judged = Judgement(findings=(found,))
    home.database.write(lambda c: home.guards.quarantine_in(c, home.context, "clicks", judged, cycle="clicks/1"))
    return run


def texts_of(path):
    """Yield a file's bytes, and what they are when they are read as what they may be."""
    raw = path.read_bytes()
    yield raw
    for read in (pl.read_parquet, pl.read_ipc):
        try:
            yield str(read(io.BytesIO(raw)).rows()).encode()
        except (PolarsError, OSError):
            continue
    yield raw.replace(b"\0", b"")  # arrays of texts
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            yield from (parts.read(name) for name in parts.namelist())


def files_with(folder, word):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(word.encode() in text for text in texts_of(path))]


def columns_with(home, word):
    def look(connection):
        tables = MetaData()
        tables.reflect(connection)
        return [
            f"{table.name}.{column.name}"
            for table in tables.tables.values()
            for column in table.columns
            if any(word in str(value) for value in connection.execute(select(column)).scalars())
        ]

    return home.database.read(look)


def erase(home, *keys, **options):
    return forget(home.rooms, home.context, "clicks", keys or [ADA], reason="asked to", **options)


def outcomes(home):
    return home.endpoints.outcomes(
        home.context, "clicks", since=START, until=START + timedelta(days=9), as_of=START + timedelta(days=9)
    )


def test_after_an_erasure_no_file_and_no_table_has_a_byte_of_the_key_and_the_others_stay(home, tmp_path):
    run = furnish(home)
    before = outcomes(home)
    assert len(files_with(tmp_path, ADA)) > 5
    assert {"quarantined.key", "cached_results.inline", "logs.text"} <= set(columns_with(home, ADA))

    erased = erase(home)

    assert (erased.rows, erased.predictions, erased.feedback, erased.quarantined) == (1, 4, 2, 1)
    assert erased.results >= 3
    assert erased.models == ("clicks@2", "clicks@3")
    assert columns_with(home, ADA) == []
    left = outcomes(home)
    assert left.height == before.height - 4
    assert (
        left.filter(pl.col("key") != "c1")["label"].to_list()
        == before.filter(~pl.col("key").is_in([ADA, "c1"]))["label"].to_list()
    )
    assert set(home.read("clicks")["id"]) == {*(f"c{number}" for number in range(1, DAYS)), "c50", "c51"}
    with pytest.raises(Invalid, match="erased"):
        _ = home.runs.get(home.context, run.id).result
    home.close()
    assert files_with(tmp_path, ADA) == []


def test_a_dry_run_counts_the_same_and_changes_nothing(tmp_path):
    with opened(tmp_path) as home:
        furnish(home)
        there, tables = files_with(tmp_path / "log", ADA), columns_with(home, ADA)

        told = erase(home, dry_run=True)

        assert (files_with(tmp_path / "log", ADA), columns_with(home, ADA)) == (there, tables)
        done = erase(home)
        counted = [(each.rows, each.predictions, each.feedback, each.results, each.models) for each in (told, done)]
        assert counted[0] == counted[1]


def test_an_erasure_that_was_cut_short_is_done_by_erasing_again(tmp_path, monkeypatch):
    with opened(tmp_path) as home:
        furnish(home)
        for room, verb in ((home.guards, "erase_keys"), (home.runs, "erase"), (home.blobs, "drop")):
            with monkeypatch.context() as patch:
                patch.setattr(room, verb, _dies)
                with pytest.raises(Unavailable):
                    erase(home)

        erase(home)

        assert columns_with(home, ADA) == []
    assert files_with(tmp_path, ADA) == []


def _dies(*_args, **_options):
    raise Unavailable("killed")


def test_a_run_makes_again_what_was_erased_of_it(tmp_path):
    with opened(tmp_path) as home:
        run = furnish(home)
        erase(home)

        rows = home.datasets.rows(home.context, "clicks")
        again = home.runs.rerun(home.context, run.id, params={"rows": rows})

        assert ADA not in again.result["id"].to_list()
        states = [attempt.state for attempt in home.runs.attempts(home.context, run.id)]
        assert set(states) <= {AttemptState.ERASED}


def test_what_the_same_person_asks_later_is_new(tmp_path):
    with opened(tmp_path) as home:
        furnish(home)
        erase(home)

        ask(home, ada_and(rows_of(1, at=START + HOUR)))
        land(home)

        assert ADA in home.read("clicks")["id"].to_list()


def test_another_process_that_kept_records_in_memory_lets_them_go(tmp_path):
    with opened(tmp_path) as home:
        furnish(home)
        other = nr.open(settings=home.settings, clock=home.clock)
        assert ADA in outcomes(other)["key"].to_list()

        erase(home)

        assert ADA not in outcomes(other)["key"].to_list()
        other.close()


def test_the_fact_of_an_erasure_has_a_commitment_and_no_key(tmp_path):
    with opened(tmp_path) as home:
        furnish(home)

        erased = erase(home)

        home.ledger.seal()
        (fact,) = [fact for fact in home.ledger.after(-1, limit=1000) if fact.kind is FactKind.ROWS_ERASED]
        assert fact.payload["commitment"] == erased.commitment
        assert ADA not in str(fact.payload)
        assert home.ledger.audit().holds


def test_nothing_and_an_unknown_dataset_are_not_erased(tmp_path):
    with opened(tmp_path) as home:
        with pytest.raises(Invalid, match="no key"):
            erase(home, "")
        with pytest.raises(NotFound, match="dataset"):
            forget(home.rooms, home.context, "cliks", [ADA], reason="asked to")


def test_the_command_asks_first_and_says_what_it_did(tmp_path):
    with opened(tmp_path) as home:
        furnish(home)
    words = ["erase", "clicks", "--key", ADA, "--home", str(tmp_path / "home"), "--json"]
    places = {"BLOBS": "blobs", "KEY_FILE": "key", "LOG_FOLDER": "log"}
    folders = {f"NORIA_{name}": str(tmp_path / place) for name, place in places.items()}

    refused = CliRunner().invoke(noria, words, env=folders, input="n\n")
    told = CliRunner().invoke(noria, [*words, "--dry-run"], env=folders)
    done = CliRunner().invoke(noria, [*words, "--yes"], env=folders)

    assert refused.exit_code == 1
    assert "1 rows, 4 predictions" in refused.output
    assert json.loads(told.output)["commitment"] is None
    assert json.loads(done.output)["scrubbed"] is True
    assert files_with(tmp_path, ADA) == []


def test_feedback_by_key_that_names_nobody_else_is_left_alone(tmp_path):
    with opened(tmp_path) as home:
        home.endpoints.tell(home.context, "clicks", [Feedback(at=START, key=f"{ADA}-2", label=True)])
        land(home)

        assert erase(home).feedback == 0
        assert land(home).waiting == 1


def test_a_landing_on_its_way_is_waited_for_and_puts_nothing_back(tmp_path, monkeypatch):
    with opened(tmp_path) as home:
        ask(home, ada_and(rows_of(2)))
        real, erasing = home.datasets.commit, threading.Thread(target=lambda: erase(home))

        def commit(*args, **options):
            erasing.start()
            erasing.join(0.2)
            assert erasing.is_alive()
            return real(*args, **options)

        monkeypatch.setattr(home.datasets, "commit", commit)
        land(home)
        erasing.join()

        assert home.read("clicks")["id"].to_list() == ["c1"]
        assert land(home) == Landed()


def test_what_waits_or_was_put_aside_is_erased(tmp_path):
    with opened(tmp_path) as home:
        home.push(CLICKS, rows_of(1, first=100))
        tell(home, label=True, key=ADA)
        ask(home, rows_of(1).with_columns(id=pl.lit("c" * 1001), site=pl.lit(ADA)), key="site")
        assert land(home) == Landed(waiting=1, aside=1)
        assert {"landings.waiting", "asides.record"} <= set(columns_with(home, ADA))

        erase(home)

        assert columns_with(home, ADA) == []
        assert land(home) == Landed()


_WRITES = """
import sys
from pathlib import Path
from noria.core.clock import RealClock
from noria.serving.disk import MachineDisk
from noria.serving.segments import SegmentWriter

writer = SegmentWriter(Path(sys.argv[1]), "feedback-other", clock=RealClock(), disk=MachineDisk())
for line in sys.stdin.buffer:
    writer.append(line)
    sys.stdout.write("ok")
    sys.stdout.flush()
"""


def test_a_segment_that_another_process_writes_to_is_erased_from_and_goes_on(tmp_path):
    with opened(tmp_path) as home:
        folder = home.log.folder_of("default", "clicks")
        words = [sys.executable, "-c", _WRITES, str(folder)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:

            def write(key):
                line = msgspec.json.encode(Feedback(label=True, at=START, key=key)) + b"\n"
                other.stdin.write(line)
                other.stdin.flush()
                assert other.stdout.read(2) == b"ok"

            write("c1")
            write(ADA)
            assert land(home) == Landed(waiting=2)
            assert erase(home).feedback == 1
            write("c2")
            other.stdin.close()

        assert files_with(tmp_path, ADA) == []
        assert [one["key"] for one in waiting_after(home)] == ["c1", "c2"]


def waiting_after(home):
    land(home)
    return home.database.read(lambda c: queries.landing(c, "default", "clicks")).waiting
