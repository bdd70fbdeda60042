"""Laws of values: each comes back as it was given, types down to every cell included, or is refused in words."""

import enum
import functools
import json
import math
import os
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from exactly import same
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.adapters.codecs import standard
from noria.core.codecs import Codecs
from noria.core.errors import CodeChanged, Invalid, NoriaError

CODECS = standard()
BERLIN = ZoneInfo("Europe/Berlin")


class Colour(enum.Enum):
    RED = "red"
    BLUE = ("b", 1)


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    A = "a"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Split:
    train: Any
    test: Any = None
    tags: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Point:
    x: Any
    y: Any = None


@dataclass(frozen=True)
class Doubled:
    x: int

    def __post_init__(self):
        object.__setattr__(self, "twice", 2 * self.x)


class Scored(NamedTuple):
    rows: Any
    score: float = 0.5


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - a kind of its own


class Order(pydantic.BaseModel):
    model_config = {"extra": "allow"}
    price: Decimal = Decimal("1.0")
    counts: dict[int, str] = {}
    _secret: int = pydantic.PrivateAttr(3)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    more: Any = None


class Own:
    pass


class Text(str):
    __slots__ = ()


def there_and_back(value):
    encoded = CODECS.encode(value)
    return CODECS.decode(encoded.codec, encoded.payload)


def cells(*values):
    return pd.DataFrame({"a": pd.Series(list(values), dtype=object)})


def with_attrs(frame, **attrs):
    frame.attrs.update(attrs)
    return frame


PYTHON = [
    Colour.RED,
    Colour.BLUE,
    Level.LOW,
    Word.A,
    Rights.READ | Rights.WRITE,
    Rights(0),
    Split(pd.DataFrame({"x": [1]}), Point(1), [np.arange(2)]),
    Point({"a": (1,)}, Point(None)),
    Doubled(2),
    Scored(pl.DataFrame({"x": [1]})),
    Pair(1, [2]),
    Order(price=Decimal("2.50"), counts={1: "a"}, note="extra"),
    Event(name="a", more={2, 1}),
    Decimal("1.10"),
    Decimal("-0"),
    Decimal("NaN"),
    Fraction(1, 3),
    complex(-0.0, math.nan),
    {1, 2},
    frozenset({(1, "a"), (True, "a")}),
    {1: "one", 2: "two"},
    {True: "one"},
    {(1, None): 1, Colour.RED: 2, Point(1): 3, 1.0: 4, "$": 5},
    OrderedDict(b=1, a=2),
    Counter("aab"),
    defaultdict(list, {"a": [1]}),
    deque([1, 2], 5),
    SimpleNamespace(a=1, b=[2]),
    range(0, 10, 3),
    slice(1, None),
    ...,
    bytearray(b"x"),
    2**70,
    10**5000,
    [True, 1, 1.0],
    UUID(int=7),
    ip_address("10.0.0.1"),
    ip_network("10.0.0.0/8"),
    PurePosixPath("a/b"),
    time(1, 2, 3, 4, tzinfo=UTC, fold=1),
    time(1, tzinfo=BERLIN),
    datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2), "mine")),
    datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC")),
    timezone(timedelta(seconds=-17)),
    BERLIN,
    date.max,
    timedelta.max,
]
PANDAS_VALUES = [
    pd.Timestamp("2020-01-01 00:00:00.000000001"),
    pd.Timestamp("2020", tz="UTC"),
    pd.Timestamp("2020-10-25 01:30", tz="UTC").tz_convert("Europe/Berlin"),
    pd.Timestamp("2020").as_unit("s"),
    pd.Timedelta(5, "ns"),
    pd.Period("2020-01", "M"),
    pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021"), "both"),
    pd.NaT,
    pd.NA,
]
NUMPY_VALUES = [
    np.float32(0.1),
    np.float16(1),
    np.longdouble("0.1"),
    np.complex64(1 + 2j),
    np.str_("a\0"),
    np.bytes_(b"a"),
    np.datetime64("2020", "ns"),
    np.datetime64("NaT"),
    np.timedelta64(5, "D"),
]
PANDAS = [
    cells(None, 10155000000000001, None),
    cells(2**53 + 1, 1.0, True, "1", None, math.nan, pd.NA, pd.NaT, b"x", bytearray(b"y")),
    cells({"a": 1}, {"b": None}, [1], (1,), {1}, np.arange(2)),
    cells(np.int64(1), np.str_("x"), date(2020, 1, 1), Decimal("1.10"), Decimal("1.0"), Colour.RED, Point(1)),
    cells("x", "y"),
    cells("x", None),
    cells(True, False),
    cells(1, 2),
    cells(),
    cells(None),
    cells(pd.DataFrame({"x": [1]}), pl.Series([1])),
    pd.DataFrame([[1, 2]], columns=["a", 1]),
    pd.DataFrame([[1, 2]], columns=["a", "a"]),
    pd.DataFrame([[1, 2]]),
    pd.DataFrame([[1, 2]], columns=pd.Index([0, 1])),
    pd.DataFrame([[1, 2]], columns=[None, math.nan]),
    pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])),
    pd.DataFrame([[1, 2]], columns=pd.date_range("2020", periods=2, freq="D")),
    pd.DataFrame([[1]], columns=pd.Index(["a"], name=3)),
    pd.DataFrame([[1]], columns=pd.Index(["a"], dtype=object)),
    pd.DataFrame(columns=["a", "b"]),
    pd.DataFrame(index=pd.date_range("2020", periods=2)),
    pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2020", periods=2, freq="MS", tz="Europe/Berlin")),
    pd.DataFrame({"a": [1, 2]}, index=pd.timedelta_range("1s", periods=2, freq="s")),
    pd.DataFrame({"a": [1, 2]}, index=pd.period_range("2020", periods=2, freq="Q")),
    pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, "b"])),
    pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, 2], name="a")),
    pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, 2], name=("x", 5))),
    pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, 2], dtype="Int64")),
    pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_product([["x"], [1, 2]], names=["k", 7])),
    pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["b", "a"], categories=["b", "a"], ordered=True)),
    with_attrs(pd.DataFrame({"a": [1]}), unit="m", source={"rows": (1, 2)}),
    pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    pd.DataFrame(
        {
            "f": pd.arrays.FloatingArray(np.array([np.nan, 1.0]), np.array([False, True])),
            "s": pd.array(["a", None], dtype="string[python]"),
            "c": pd.Categorical([1, "x"], categories=["x", 1], ordered=True),
            "d": pd.Categorical(pd.date_range("2020", periods=2)),
            "p": pd.period_range("2020", periods=2, freq="M"),
            "v": pd.interval_range(0, 2),
            "sparse": pd.arrays.SparseArray([0, 1]),
            "utc": pd.date_range("2020", periods=2, tz="UTC"),
            "complex": [1j, 2j],
            "lists": pd.array([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        }
    ),
    pd.Series([1, 2], name=("a", 1)),
    pd.Series([1, None], dtype=object),
    pd.Series([1], name=math.nan),
    pd.Series([1, 2], name="a", index=pd.Index([1, 2], name="a")),
    pd.date_range("2020", periods=3, freq="D", name="t"),
    pd.Index([1, "a"]),
    pd.RangeIndex(3, name="r"),
    pd.array([1, None], dtype="Int64"),
    pd.Categorical(["a"], categories=["b", "a"]),
]
ARRAYS = [
    np.array([1, "a", None, {"b": [1]}], dtype=object),
    np.array([[1, [2]], [3, None]], dtype=object),
    np.array(None, dtype=object),
    np.ma.masked_array([1, 2], [True, False], fill_value=9),
    np.ma.masked_array([1.0, 2.0]),
    np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array([(1, "x")], dtype=[("a", ">i4"), ("c", "U3")]),
    np.arange(3, dtype=">f8"),
    np.arange(3, dtype="longdouble"),
    np.array(["2020", "NaT"], dtype="M8[D]"),
    np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1],
]
TABLES = [
    pl.DataFrame({"o": pl.Series([{1}, None, Decimal("1.1")], dtype=pl.Object), "a": [1, 2, 3]}),
    pl.Series("o", [{1}], dtype=pl.Object),
    pl.DataFrame(
        {
            "enum": pl.Series(["a", None], dtype=pl.Enum(["b", "a"])),
            "decimal": [Decimal("1.10"), None],
            "lists": [[1, None], None],
            "empty": [[], [None]],
            "struct": [{"a": 1, "b": None}, None],
            "array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
            "time": [time(1), None],
            "moment": pl.Series([1, 2]).cast(pl.Datetime("ns", "Europe/Berlin")),
            "null": [None, None],
            "large": pl.Series([2**70, None], dtype=pl.Int128),
        }
    ),
    pa.table({"a": [1, None], "b": ["x", None]}).replace_schema_metadata({"k": "v"}),
    pa.RecordBatch.from_pydict({"a": [1]}),
    pa.array(["a", "b", "a"]).dictionary_encode(),
    pa.chunked_array([], pa.int8()),
    pa.array([{"x": 1}, None]),
]


@pytest.mark.parametrize(
    "value", [*PYTHON, *PANDAS_VALUES, *NUMPY_VALUES, *PANDAS, *ARRAYS, *TABLES], ids=lambda v: type(v).__name__
)
def test_a_value_comes_back_as_it_was_given_alone_and_inside_a_collection(value):
    for given_value in (value, {"k": [value]}, Split(value)):
        encoded = CODECS.encode(given_value)
        back = CODECS.decode(encoded.codec, encoded.payload)

        assert same(given_value, back)
        assert CODECS.encode(back).digest == encoded.digest


matrix_warning = pytest.mark.filterwarnings("ignore:the matrix subclass")


@matrix_warning
def test_a_matrix_stays_a_matrix():
    assert same(there_and_back(np.matrix([[1, 2]])), np.matrix([[1, 2]]))


def itself(value, hold):
    hold(value)
    return value


KNOTS = [
    itself([], lambda knot: knot.append(knot)),
    itself(Split(1), lambda knot: setattr(knot, "test", knot)),
    itself(cells(None), lambda knot: knot.__setitem__("a", pd.Series([knot], dtype=object))),
    functools.reduce(lambda inner, _: Point(inner), range(500), 1),
]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Text("a"), "no codec carries a .*Text"),
        ([Text("a")], r"no codec carries a .*Text at \[0\]"),
        (cells(Text("a")), "Text .*column 0, 'a'"),
        (cells(2**70), "an integer of more than 64 bits, 1180591620717411303424, in column 'a'"),
        (cells({"id": [2**70]}), "an integer of more than 64 bits, .* in column 'a'"),
        (Split(Own()), r"no codec carries a .*Own at \.train"),
        (Split(lambda: 1), r"no codec carries a builtins.function at \.train"),
        (Point(iter([])), "no codec carries a builtins.list_iterator"),
        (defaultdict(lambda: 1), "a defaultdict whose values are made by '<lambda>'"),
        (ValueError("x"), "no codec carries a builtins.ValueError"),
        (math, "no codec carries a builtins.module"),
        (pd.DataFrame({"a": [1]}, index=pd.DatetimeIndex(["2020"], freq=pd.DateOffset(months=1))), "the frequency"),
        (pl.col("a"), "no codec carries a polars.expr.expr.Expr"),
        (np.array(["a"], dtype=np.dtypes.StringDType()), "no codec carries an array of type StringDType"),
        *((knot, "too deep") for knot in KNOTS),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_what_does_not_come_back_is_refused_in_words(value, says):
    with pytest.raises(Invalid, match=says) as caught:
        CODECS.encode(value)

    assert caught.value.hint


def test_a_class_that_nobody_finds_by_its_name_is_refused():
    @dataclass
    class Local:
        x: int

    with pytest.raises(Invalid, match=r"Local at \[0\]: nobody finds its class by that name"):
        CODECS.encode([Local(1)])


DIFFERENT = [
    [cells({"a": 1.0}, {"b": 2.0}), cells({"a": 1.0, "b": None}, {"a": None, "b": 2.0})],
    [cells({1, 2}), cells([1, 2]), cells((1, 2)), cells(np.array([1, 2]))],
    [cells(1), cells(1.0), cells(True), cells("1"), pd.DataFrame({"a": [1]})],
    [cells(None), cells(math.nan), cells(pd.NA), cells(pd.NaT)],
    [{1, 2}, [1, 2], (1, 2), frozenset({1, 2}), deque([1, 2]), Pair(1, 2), Scored(1, 2)],
    [{1: "a"}, {1.0: "a"}, {True: "a"}, {"1": "a"}, OrderedDict({1: "a"})],
    [Colour.RED, "red", Level.LOW, Word.A, "a", 1],
    [Point(1), Split(1), {"x": 1, "y": None}],
    [Decimal("1.1"), Decimal("1.10"), 1.1],
    [pd.Categorical(["a"], categories=["a", "b"]), pd.Categorical(["a"], categories=["b", "a"])],
    [
        pd.DataFrame({"c": pd.Categorical(["a"], categories=["a", "b"])}),
        pd.DataFrame({"c": pd.Categorical(["a"], categories=["b", "a"])}),
        pd.DataFrame({"c": pd.Categorical(["a"], categories=["a", "b"], ordered=True)}),
    ],
    [pd.DataFrame({"a": [1]}), with_attrs(pd.DataFrame({"a": [1]}), unit="m")],
    [
        pd.DataFrame({"a": [1, 2]}, index=pd.DatetimeIndex(["2020-01-01", "2020-01-02"])),
        pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2020", periods=2, freq="D")),
    ],
    [np.array([1, 2], dtype=object), np.array([1, 2]), np.ma.masked_array([1, 2])],
    [pa.table({"a": [1]}), pa.RecordBatch.from_pydict({"a": [1]}), pl.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]})],
    [pa.array(["a"]).dictionary_encode(), pa.DictionaryArray.from_arrays(pa.array([1], pa.int32()), ["b", "a"])],
]


@pytest.mark.parametrize("values", DIFFERENT, ids=range(len(DIFFERENT)))
def test_values_that_differ_have_digests_that_differ(values):
    assert len({CODECS.encode(value).digest for value in values}) == len(values)
    assert len({CODECS.encode([value]).digest for value in values}) == len(values)


def test_a_set_has_one_digest_in_every_process():
    code = (
        "from noria.adapters.codecs import standard\n"
        "print(standard().encode([{'a', 'b', 'c', 'd'}, frozenset('xyz')]).digest)"
    )

    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(told) == 1


class Raising:
    def __init__(self, problem):
        self.problem = problem


class RaisingCodec:
    """A codec of a library that fails in its own way."""

    name = "raising"

    def carries(self, kind):
        return kind is Raising

    def accepts(self, value):
        return isinstance(value, Raising)

    def encode(self, value):
        raise value.problem

    decode = encode

    def digest(self, value, payload):  # noqa: ARG002 - the port's signature
        raise value.problem


@pytest.mark.parametrize(
    "problem", [OverflowError("too large"), pl.exceptions.PanicException("at the disco"), KeyError(1)]
)
def test_whatever_a_codec_raises_about_a_value_is_said_in_words(problem):
    with pytest.raises(Invalid, match=f"cannot carry this .*Raising: {type(problem).__name__}"):
        Codecs([RaisingCodec()]).encode(Raising(problem))


@pytest.mark.parametrize("problem", [MemoryError(), KeyboardInterrupt(), OSError(28, "no space")])
def test_what_the_machine_lacks_is_not_said_of_the_value(problem):
    with pytest.raises(type(problem)):
        Codecs([RaisingCodec()]).encode(Raising(problem))


def spelled(value):
    return json.loads(bytes(CODECS.encode(value).payload))


@pytest.mark.parametrize(
    ("value", "changes", "says"),
    [
        (Point(1), {"v": {"x": 1, "z": 2}}, "has not the same fields"),
        (Point(1), {"v": {"x": 1}}, "has not the same fields"),
        (Scored(1), {"v": {"rows": 1}}, "has not the same fields"),
        (Colour.RED, {"name": "GREEN"}, "has no GREEN"),
        (Colour.RED, {"v": "rouge"}, "has another value for RED"),
        (Rights.READ, {"names": {"READ": 2}}, "has not the same members"),
        (Point(1), {"of": f"{__name__}:Own"}, "is no object"),
        (Colour.RED, {"of": f"{__name__}:Point"}, "is no enum"),
    ],
)
def test_a_class_that_is_not_what_it_was_is_said_to_have_changed(value, changes, says):
    with pytest.raises(CodeChanged, match=says):
        CODECS.decode("plain", json.dumps(spelled(value) | changes).encode())


@pytest.mark.parametrize(
    "reference", ["os:system", "subprocess:Popen", "builtins:dict", "decimal:Decimal", "no_such:X"]
)
@pytest.mark.parametrize("mark", ["object", "enum", "flag", "named tuple"])
def test_bytes_make_no_object_but_of_a_class_of_fields(mark, reference):
    forged = {"$": mark, "of": reference, "v": {"args": ["true"]}, "name": "x", "names": {}}

    with pytest.raises(NoriaError, match="is no|is not there|any more"):
        CODECS.decode("plain", json.dumps(forged).encode())


def test_no_constructor_runs_when_an_object_is_read(monkeypatch):
    stored = CODECS.encode(Doubled(2))

    def trap(*_):
        raise AssertionError

    for name in ("__init__", "__post_init__", "__setattr__"):
        monkeypatch.setattr(Doubled, name, trap)

    assert CODECS.decode(stored.codec, stored.payload).twice == 4


atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.decimals()
    | st.dates()
    | st.datetimes(timezones=st.sampled_from([None, UTC, BERLIN]))
    | st.timedeltas()
    | st.sampled_from([*Colour, *Level, pd.NA, pd.NaT, np.int64(1), np.float32(0.5), pd.Timestamp("2020"), Text("x")])
)
keys = st.integers() | st.text(max_size=3) | st.booleans() | st.tuples(st.integers(), st.text(max_size=2)) | st.dates()
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(deque)
        | st.dictionaries(keys, inner, max_size=3)
        | st.frozensets(keys, max_size=3)
        | st.builds(Point, inner, inner)
        | st.builds(Split, inner)
        | st.builds(Scored, inner)
    ),
    max_leaves=8,
)
names = st.lists(st.text(max_size=3) | st.integers() | st.none(), min_size=1, max_size=3)


def comes_back_or_is_refused(value):
    try:
        encoded = CODECS.encode(value)
    except Invalid as refused:
        assert refused.hint
        return
    back = CODECS.decode(encoded.codec, encoded.payload)
    assert same(value, back)
    assert CODECS.encode(back).digest == encoded.digest


@settings(max_examples=60)
@given(values)
def test_any_value_comes_back_as_it_was_given_or_is_refused(value):
    comes_back_or_is_refused(value)


@settings(max_examples=25)
@given(names, st.lists(values, max_size=4), st.sampled_from(["object", None]))
def test_any_frame_of_objects_comes_back_as_it_was_given_or_is_refused(columns, rows, kind):
    made = {place: pd.Series(rows, dtype=object) for place in range(len(columns))}
    frame = pd.DataFrame(made, dtype=kind)
    frame.columns = columns

    comes_back_or_is_refused(frame)


@settings(max_examples=20)
@given(st.lists(values, max_size=4))
def test_any_array_and_polars_column_of_objects_comes_back_as_it_was_given_or_is_refused(rows):
    flat = np.empty(len(rows), dtype=object)
    flat[:] = rows

    comes_back_or_is_refused(flat)
    comes_back_or_is_refused(pl.Series("o", rows, dtype=pl.Object))
