"""What crosses to another machine: values by codecs, errors by type, code by its bundle; and what the other side refuses."""

import io
import sys
import zipfile

import numpy as np
import polars as pl
import pytest

import noria.pipelines as nr
from noria.adapters.codecs import standard
from noria.adapters.executors import modules
from noria.adapters.executors.child import Child
from noria.adapters.executors.importing import importing, refuse_while_importing
from noria.adapters.executors.packing import pack, pack_problem, unpack, unpack_problem
from noria.adapters.executors.sending import Sender, Try, tell
from noria.core.codecs import Encoded
from noria.core.errors import BadPipeline, Invalid, NotFound
from noria.pipelines.references import refuse_unless_found
from noria.runs.executors import Problem
from noria.runs.logs import Log
from noria.runs.recorder import Recorder
from noria.runs.values import Several, Values

CODECS = standard()


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")
        self.one = one
        self.other = object()


@nr.step
def one(x):
    return x


def put(encoded):
    return {"codec": encoded.codec, "payload": encoded.payload}


def get(packed):
    return CODECS.decode(packed["codec"], packed["payload"])


def throw(problem):
    raise problem


def over_there(problem):
    try:
        throw(problem)
    except Exception as raised:
        packed = pack_problem(Problem(words="raised", cause=raised), CODECS)
    return unpack_problem(packed, CODECS).cause


@pytest.mark.parametrize("value", [None, 1, [1, (2.5, {"a": b"b"})], {"$": 1}, float("inf")])
def test_plain_values_cross_as_they_are(value):
    assert unpack(pack(value, CODECS, put), get) == value


def test_what_is_kept_already_is_not_encoded_again_wherever_it_stands(blobs):
    values = Values(CODECS, blobs)
    frame = values.keep(pl.DataFrame({"x": [1]}))
    sent = []

    def leave(value):
        sent.append(value)
        return values.put(value) if isinstance(value, Encoded) else value

    packed = pack(([frame, 1], {"a": Several([frame, frame]), 2: None}, np.arange(3)), CODECS, leave)
    frames, others, array = unpack(packed, values.read)

    assert [value.codec for value in sent if isinstance(value, Encoded)] == ["plain", "plain", "plain", "plain", "npy"]
    assert frames[0].equals(pl.DataFrame({"x": [1]}))
    assert frames[1] == 1
    assert [len(other) for other in others["a"]] == [1, 1]
    assert others[2] is None
    assert array.tolist() == [0, 1, 2]


def test_what_no_codec_carries_at_all_is_refused():
    with pytest.raises(Invalid, match=r"no codec carries a builtins\.object"):
        pack([1, object()], CODECS, put)


@pytest.mark.parametrize("problem", [KeyError("k"), FileNotFoundError(2, "no such file", "f"), Odd(1, 2)])
def test_an_error_is_of_its_own_type_on_the_other_side_and_says_the_same(problem):
    crossed = over_there(problem)

    assert type(crossed) is type(problem)
    assert str(crossed) == str(problem)
    assert "raise problem" in crossed.__notes__[0]


def test_an_error_of_ours_keeps_its_hint_and_one_keeps_its_plain_attributes():
    assert over_there(NotFound("model", "frauds", known=["fraud"])).hint == "did you mean 'fraud'?"
    assert over_there(Odd(1, 2)).one == 1


def test_an_error_whose_type_is_not_to_be_found_says_the_same():
    class Local(Exception):
        pass

    crossed = over_there(Local("word"))

    assert type(crossed) is RuntimeError
    assert str(crossed) == "Local: word"


def test_a_step_that_was_typed_into_a_session_is_refused(monkeypatch):
    monkeypatch.setattr(one.function, "__module__", "__main__")
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)

    with pytest.raises(BadPipeline, match="typed into a session"):
        refuse_unless_found(one.function, one.what)


def bundle(**sources):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, source in sources.items():
            archive.writestr(f"{name}.py", source)
    return buffer.getvalue()


@pytest.fixture
def entered():
    yield modules.enter
    modules.enter(None)


def test_a_process_imports_what_its_bundle_says_and_nothing_of_the_one_before(entered, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bundled.py").write_text("x = 'beside it'")
    seen = []
    for payload in (None, bundle(bundled="x = 1"), bundle(bundled="from bundled_too import x", bundled_too="x = 2")):
        entered(payload)
        __import__("bundled")
        seen.append(sys.modules["bundled"].x)
        if payload is None:
            del sys.modules["bundled"]

    assert seen == ["beside it", 1, 2]


def test_a_traceback_shows_the_source_of_a_bundle(entered):
    entered(bundle(bundled="def fails():\n    raise KeyError('k')  # here\n"))
    import bundled

    packed = None
    try:
        bundled.fails()
    except KeyError as problem:
        packed = pack_problem(Problem(words="", cause=problem), CODECS)

    assert "raise KeyError('k')  # here" in packed["error"]["traceback"]


def test_a_step_that_says_nothing_has_no_log():
    handed_on = []
    told = Recorder(log=Log(handed_on.append, iter([0.0, 2.0, 4.0, 6.0]).__next__))

    for said in [("words", ""), ("begun", None), ("words", ""), ("progress", [1.0, None, ""])]:
        tell(told, said)

    assert handed_on == []
    assert told.log.take() == ""


SOURCE = "import noria.pipelines as nr\n\n@nr.step\ndef work(x):\n    return x + {}\n"


def said_of(asked, payload):
    return list(Child(CODECS, get=get, put=put).perform(asked, lambda: payload))


def test_code_that_is_not_what_the_run_has_is_refused(entered):
    entered(bundle(sent=SOURCE.format(1)))
    import sent

    code = Sender(CODECS).code(sent.work).digest
    asked = Try(step="sent:work", code=code, arguments={"x": pack(1, CODECS, put)})

    same = said_of(asked, bundle(sent=SOURCE.format(1)))
    other = said_of(asked, bundle(sent=SOURCE.format(2)))

    assert [kind for kind, _ in same] == ["begun", "ended"]
    assert get(same[-1][1]["returned"]) == 2
    problem = unpack_problem(other[-1][1]["problem"], CODECS)
    assert "the code of sent:work, or a package that it uses, is not there what it is" in problem.words
    assert not problem.may_pass


def test_a_script_that_runs_when_it_is_imported_is_told_so(entered):
    script = "from noria.boot import open_home\nopen_home('never-made')\n" + SOURCE.format(1)
    asked = Try(step="script:work", code="", arguments={})

    problem = unpack_problem(said_of(asked, bundle(script=script))[-1][1]["problem"], CODECS)

    assert 'put what runs the pipeline under `if __name__ == "__main__":`' in problem.words


def test_nobody_opens_a_home_while_a_step_is_looked_for():
    with importing(), pytest.raises(BadPipeline, match="a script starts a run"):
        refuse_while_importing()
    refuse_while_importing()
