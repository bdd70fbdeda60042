"""Laws of secrets: what is kept is where one stands; what a step has revealed is masked wherever it is said."""

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

import noria as nr
from noria.adapters.codecs import standard
from noria.adapters.executors.packing import pack_problem, unpack_problem
from noria.boot import open_home
from noria.cli.root import noria
from noria.core import masking
from noria.core.errors import Invalid, NotFound
from noria.pipelines.code import code_digest
from noria.pipelines.text_values import value_of
from noria.runs.executors import Problem
from noria.runs.logs import Log
from noria.settings import Settings

PASSWORD = 'gr\xfcn "tea" & co'
KEY = "-----BEGIN KEY-----\nabcdefghijklmnop\nqrstuvwxyz\n-----END KEY-----"
MARKS = ("tea", "abcdefghijkl", "qrstuvwxyz")
"""Parts of the secrets that stand in all of their spellings."""
ENV = nr.secret("env:TEST_DB_PASSWORD")


@dataclass
class Source:
    host: str
    password: nr.Secret


def says_all(password, key):
    """Say a secret in every way in which a step can."""
    print(password, repr(password), json.dumps(password), quote(password), password.encode())
    for letter in f"letter by letter {password}\n":
        sys.stdout.write(letter)
    sys.stderr.write(f"{key}\n")
    logging.getLogger("mine").warning("logged %s", password)
    subprocess.run(["echo", "a command said", password], check=True)
    thread = threading.Thread(target=lambda: print("a thread said", key.splitlines()[1]))
    thread.start()
    thread.join()
    nr.log_param("address", f"postgresql://app:{password}@db")
    nr.log_param("nested", {"password": [password], "n": 1})
    nr.log_metric(f"took with {password}", 1.0)
    nr.progress(1, 2, f"knows {password}")


@nr.step
def talk(source: Source, more: dict[str, list[nr.Secret]]) -> int:
    says_all(source.password.reveal(), more["keys"][0].reveal())
    return 7


@nr.pipeline
def talking(source: Source, more: dict[str, list[nr.Secret]]):
    return talk(source, more)


@nr.step
def fail(password: nr.Secret) -> int:
    revealed = password.reveal()
    try:
        return {}[revealed]
    except KeyError:
        raise ValueError({"dsn": f"app:{revealed}@db"})  # noqa: B904 - the first error stands in the traceback, too


@nr.pipeline
def failing(password: nr.Secret):
    return fail(password)


@nr.step
def length(password: nr.Secret) -> int:
    if password.reveal() == PASSWORD:
        raise ValueError(f"{PASSWORD} is refused")
    return len(password.reveal())


@nr.pipeline
def lengths(passwords: list[nr.Secret]):
    return length.map(passwords, on_failure="continue")


@nr.step
def returns(password: nr.Secret) -> dict:
    return {password.reveal(): object()}


@nr.pipeline
def returning(password: nr.Secret):
    return returns(password)


@nr.step
def hands_on(password: nr.Secret) -> str:
    return password.reveal()


@nr.step
def says(text: str) -> None:
    print("handed on:", text)
    raise RuntimeError(text)


@nr.pipeline
def handing(password: nr.Secret):
    return says(hands_on(password))


@nr.step(cache=True)
def seen(password: nr.Secret, name: str) -> int:
    calls.append(password.reveal())
    return len(calls)


calls = deque[str]()  # what a list holds would be part of the code


@nr.pipeline
def seeing(password: nr.Secret, name: str):
    return seen(password, name)


@pytest.fixture(autouse=True)
def secrets(monkeypatch, tmp_path):
    monkeypatch.setattr(masking, "_hidden", frozenset())
    monkeypatch.setattr(masking, "_pattern", None)
    monkeypatch.setenv("TEST_DB_PASSWORD", PASSWORD)
    (tmp_path / "key.pem").write_text(f"{KEY}\n")


@pytest.fixture
def key(tmp_path):
    return nr.secret(f"file:{tmp_path / 'key.pem'}")


@pytest.fixture(params=["in-process", "processes"])
def home(request, tmp_path):
    settings = Settings(home=str(tmp_path / "home"), actor="ann", executor=request.param, worker_cpus=2)
    with open_home(settings=settings) as platform:
        yield platform


def kept(folder):
    """Return what stands in the files of a home."""
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def leaks(content):
    return [mark for mark in MARKS if mark.encode() in content]


def test_whatever_a_step_says_is_kept_and_shown_without_what_it_revealed(home, key, tmp_path, capfd):
    params = {"source": Source("db", ENV), "more": {"keys": [key]}}
    run = home.run(talking, params=params)
    home.ledger.seal()
    words = "".join(part.text for part in home.runs.logs(home.context, run.id))
    shown = capfd.readouterr()

    assert run.result == 7
    assert "letter by letter ***\n" in words
    assert "WARNING mine: logged ***\n" in words
    for said in (words, shown.out):
        assert "*** '***' \"***\" *** b'***'\n" in said
        assert "a command said ***\n" in said
        assert "a thread said ***\n" in said
    assert "***\n" in shown.err
    assert {param.name: param.words for param in home.runs.params(home.context, run.id) if param.step} == {
        "address": "'postgresql://app:***@db'",
        "nested": "{'n': 1, 'password': ['***']}",
    }
    assert [metric.name for metric in home.runs.metrics(home.context, run.id)] == ["took with ***"]
    assert leaks(kept(tmp_path / "home")) == []


def test_what_a_run_was_given_is_where_its_secrets_stand(home, key):
    run = home.run(talking, params={"source": Source("db", ENV), "more": {"keys": [key]}})
    given = {param.name: param.words for param in home.runs.params(home.context, run.id) if not param.step}

    assert given["source"] == "Source(host='db', password=nr.secret('env:TEST_DB_PASSWORD'))"
    assert given["more"] == f"{{'keys': [nr.secret({key.reference!r})]}}"


def test_errors_and_tracebacks_are_without_what_was_revealed(home, tmp_path, capfd):
    run = home.run(failing, params={"password": ENV})
    (attempt,) = home.runs.attempts(home.context, run.id)
    with pytest.raises(nr.NoriaError) as failed:
        assert run.result
    home.ledger.seal()
    (fact,) = [fact for fact in home.ledger.after(-1) if fact.kind == "run.failed"]

    assert run.error == fact.payload["error"] == "step 'fail' raised ValueError: {'dsn': 'app:***@db'}"
    assert "in fail\n" in attempt.error
    assert attempt.error.endswith("ValueError: {'dsn': 'app:***@db'}\n")
    assert "***" in str(failed.value.__cause__)
    assert "tea" not in f"{failed.value} {failed.value.__cause__!r} {run.cause.__notes__}"
    assert leaks(kept(tmp_path / "home")) == []


def test_items_of_a_map_that_fail_say_nothing_of_their_secret(home, key, tmp_path):
    run = home.run(lengths, params={"passwords": [key, ENV]})
    good, bad = run.result

    assert good == len(KEY)
    assert isinstance(bad, nr.Failure)
    assert bad.reason == "raised ValueError: *** is refused"
    assert leaks(kept(tmp_path / "home")) == []


def test_what_cannot_be_kept_is_named_without_the_secret_that_stands_at_its_place(home, tmp_path):
    run = home.run(returning, params={"password": ENV})

    assert "***" in run.error
    assert leaks(kept(tmp_path / "home")) == []


def test_what_a_step_hands_on_is_data_and_yet_masked_in_what_later_steps_say(home):
    run = home.run(handing, params={"password": ENV})
    words = "".join(part.text for part in home.runs.logs(home.context, run.id))

    assert words == "handed on: ***\n"
    assert run.error == "step 'says' raised RuntimeError: ***"


def test_the_cache_goes_by_where_a_secret_stands_and_not_by_what_it_is(tmp_path, monkeypatch, key):
    calls.clear()
    with open_home(settings=Settings(home=str(tmp_path / "home"), actor="ann")) as home:
        first = home.run(seeing, params={"password": ENV, "name": "a"}).result
        monkeypatch.setenv("TEST_DB_PASSWORD", "another one")
        rotated = home.run(seeing, params={"password": ENV, "name": "a"}).result
        elsewhere = home.run(seeing, params={"password": key, "name": "a"}).result

    assert (first, rotated) == (1, 1)
    assert elsewhere == 2


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("env:NO_SUCH_PASSWORD", NotFound, "no environment variable named 'NO_SUCH_PASSWORD'"),
        ("env:EMPTY_PASSWORD", Invalid, "the secret env:EMPTY_PASSWORD is empty"),
        ("file:/no/such/secret", NotFound, "no file of a secret named '/no/such/secret'"),
        ("file:/", Invalid, "the secret file / cannot be read"),
        ("file:latin", Invalid, "the secret file latin is no text in UTF-8"),
    ],
)
def test_a_secret_that_is_not_there_is_an_error_that_names_it(reference, error, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMPTY_PASSWORD", "")
    (tmp_path / "latin").write_bytes(b"gr\xfcn")

    with pytest.raises(error, match=words) as missing:
        nr.secret(reference).reveal()

    assert missing.value.hint


def test_a_run_whose_secret_is_missing_fails_and_says_which(tmp_path):
    with open_home(settings=Settings(home=str(tmp_path / "home"), actor="ann")) as home:
        run = home.run(failing, params={"password": nr.secret("env:NO_SUCH_PASSWORD")})

    assert run.error == "step 'fail' raised no environment variable named 'NO_SUCH_PASSWORD'"
    assert run.cause.hint.startswith("set NO_SUCH_PASSWORD where the step runs")


@pytest.mark.parametrize(
    "said", ["hunter22", "", "env:", "env: A", "env:A=B", "file:", "ENV:A", "vault:a", "env:a\0", 7, None, b"env:A"]
)
def test_what_is_no_reference_is_refused_and_not_repeated(said):
    with pytest.raises(Invalid) as refused:
        nr.secret(said)

    assert str(refused.value) == (
        "a secret is given by where it stands, and not as it is\n"
        "hint: write env:NAME for an environment variable, or file:/path for a file"
    )


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("env:A", nr.Secret, nr.secret("env:A")),
        ("env:A", nr.Secret | None, nr.secret("env:A")),
        ("null", nr.Secret | None, None),
        ('["env:A", "file:/a"]', list[nr.Secret], [nr.secret("env:A"), nr.secret("file:/a")]),
        ('{"a": "env:A"}', dict[str, nr.Secret], {"a": nr.secret("env:A")}),
        ('{"host": "h", "password": "env:A"}', Source, Source("h", nr.secret("env:A"))),
    ],
)
def test_a_text_is_read_as_a_reference_where_the_annotation_says_so(text, annotation, value):
    assert value_of(text, annotation, note=lambda _: None) == value


@pytest.mark.parametrize("annotation", [nr.Secret, nr.Secret | None, list[nr.Secret], dict[str, nr.Secret] | None])
def test_a_secret_that_is_typed_itself_is_refused_and_not_repeated(annotation):
    with pytest.raises(Invalid) as refused:
        value_of("hunter22", annotation, note=lambda _: None)

    assert "hunter22" not in str(refused.value)


def test_a_secret_that_is_given_itself_is_refused_and_not_repeated(tmp_path):
    wanted = pytest.raises(Invalid, match="annotated Secret, and was given a value of type str")
    with open_home(settings=Settings(home=str(tmp_path / "home"), actor="ann")) as home, wanted as refused:
        home.run(failing, params={"password": "hunter22"})

    assert "hunter22" not in str(refused.value)


def test_a_secret_is_frozen_and_as_good_as_another_one_to_the_same_place():
    with pytest.raises(AttributeError):
        ENV.reference = "env:B"
    with pytest.raises(AttributeError):
        del ENV.reference

    assert {ENV: 1}[nr.secret(ENV.reference)] == 1
    assert pickle.loads(pickle.dumps(ENV)) == ENV != nr.secret("env:B")
    assert repr(ENV) == str(ENV) == "nr.secret('env:TEST_DB_PASSWORD')"


def test_a_secret_comes_back_from_its_codec_and_its_digest_is_that_of_the_reference():
    codecs = standard()
    encoded = codecs.encode({"a": [ENV], ENV: 1})

    assert codecs.decode(encoded.codec, encoded.payload) == {"a": [ENV], ENV: 1}
    assert codecs.encode(ENV).digest == codecs.encode(nr.secret(ENV.reference)).digest
    assert codecs.encode(ENV).digest != codecs.encode(nr.secret("env:B")).digest
    assert codecs.encode(ENV).digest != codecs.encode(ENV.reference).digest


def test_another_place_of_a_secret_that_a_step_reads_by_itself_is_other_code():
    def of(secret):
        def reads():
            return secret.reveal()

        return reads

    assert code_digest(of(ENV)) == code_digest(of(nr.secret(ENV.reference)))
    assert code_digest(of(ENV)) != code_digest(of(nr.secret("env:B")))


def test_an_error_goes_to_another_machine_without_what_was_revealed_and_of_its_own_type():
    ENV.reveal()
    codecs = standard()
    cause = KeyError(PASSWORD, {"dsn": [f"app:{PASSWORD}@db"]})
    cause.dsn = f"app:{PASSWORD}@db"
    packed = pack_problem(Problem(words=f"raised KeyError: {PASSWORD}", cause=cause), codecs)
    found = unpack_problem(packed, codecs)

    assert leaks(repr(packed).encode()) == []
    assert found.words == "raised KeyError: ***"
    assert (type(found.cause), found.cause.args[0], found.cause.dsn) == (KeyError, "***", "app:***@db")


def test_a_secret_that_comes_in_pieces_is_masked_and_nothing_else_is_lost():
    handed = []
    masking.hide("hunter22")
    log = Log(handed.append)
    for text in ("a hun", "ter", "22 b hunt"):
        log.write(text)
        log.hand_on()
    log.hand_on(to_the_end=True)

    assert handed == ["a ", "*** b ", "hunt"]


def test_what_is_short_is_not_masked_and_the_longest_is_first():
    for secret in ("abc", "abcdefgh", "abcd"):
        masking.hide(secret)

    assert masking.masked("abc abcd abcdefgh abcde") == "abc *** *** ***e"
    assert masking.masked_bytes(b"\xff abcd \xfe") == b"\xff *** \xfe"


STEPS = """
import os
import signal
import sys
from pathlib import Path

import noria as nr


@nr.step
def first(password: nr.Secret) -> int:
    print("it is", password.reveal())
    return len(password.reveal())


@nr.step
def second(password: nr.Secret, n: int) -> int:
    revealed = password.reveal()
    nr.log_param("dsn", f"app:{revealed}@db")
    sys.stdout.write(f"once more {revealed}")
    sys.stdout.flush()
    if Path("kill").exists():
        Path("kill").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError(revealed)


@nr.pipeline
def work(password: nr.Secret):
    return second(password, first(password))
"""


def invoke(*words):
    return subprocess.run([sys.executable, "-m", "noria", *words], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("how", ["run", "submit"])
def test_a_killed_run_goes_on_with_its_secret_and_no_command_shows_it(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps_with_secret.py").write_text(STEPS)
    (tmp_path / "kill").touch()
    said = [invoke(how, "steps_with_secret.py", "-p", "password=env:TEST_DB_PASSWORD")]
    if how == "submit":
        said.append(invoke("work", "--once"))
    (listed,) = json.loads(CliRunner().invoke(noria, ["runs", "--json"]).output)
    said.append(invoke("resume", listed["run"]))
    logs = CliRunner().invoke(noria, ["logs", listed["run"]]).output
    shown = json.loads(CliRunner().invoke(noria, ["runs", "show", listed["run"], "--json"]).output)
    whole = f"{logs}{shown}" + "".join(each.stdout + each.stderr for each in said)

    assert not (tmp_path / "kill").exists()
    assert shown["state"] == "failed"
    first, *later = [each["step"] for each in shown["attempts"]]
    assert (first, set(later)) == ("first", {"second"})
    assert shown["params"][0] == {"param": "password", "step": None, "value": "nr.secret('env:TEST_DB_PASSWORD')"}
    assert "it is ***" in logs
    assert "once more ***" in logs
    assert shown["error"] == "step 'second' raised ValueError: ***"
    assert leaks(whole.encode()) == []
    assert leaks(kept(tmp_path / ".noria")) == []


def test_a_loop_tells_where_the_secrets_of_its_params_stand():
    from noria.loop.spec import Loop

    @nr.pipeline
    def train(rows, password: nr.Secret):
        return rows

    loop = Loop(
        "clicks",
        dataset=nr.Dataset("clicks", key="id", time="at", label="bought"),
        train=train,
        when=nr.manual(),
        evaluate=nr.Evaluation(metrics=["auc"]),
        params={"password": ENV},
    )

    assert loop.to_plain()["params"] == {"password": "env:TEST_DB_PASSWORD"}
    assert loop.digest()
    assert os.environ["TEST_DB_PASSWORD"] == PASSWORD
