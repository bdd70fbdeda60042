"""Laws that every codec meets: what goes in comes out, meaning has one digest, and what cannot be carried is said."""

import io
import json
import math
import os
import struct
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_series_equal
from sklearn.linear_model import Ridge

from noria.adapters.codecs import standard
from noria.core.errors import Invalid, NotFound

CODECS = standard()

MOMENTS = pd.date_range("2020-01-01", periods=2, tz="America/New_York", name="at")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=20)
    | st.dates()
    | st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-5, minutes=30))]))
    | st.datetimes(timezones=st.sampled_from([ZoneInfo("America/New_York")]))
    | st.timedeltas()
)
plain_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.just("$"), inner, max_size=4)
    ),
)


def there_and_back(value):
    encoded = CODECS.encode(value)
    return CODECS.decode(encoded.codec, encoded.payload)


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, datetime):
        return one == other and one.fold == other.fold and one.utcoffset() == other.utcoffset()
    return one == other


@given(plain_values)
def test_plain_values_come_back_with_their_types(value):
    try:
        back = there_and_back(value)
    except Invalid as problem:
        assert "no Unicode" in problem.sentence
        return

    assert same(value, back)


@given(plain_values)
def test_a_plain_value_read_back_has_the_same_digest(value):
    try:
        encoded = CODECS.encode(value)
    except Invalid:
        return

    assert CODECS.encode(CODECS.decode(encoded.codec, encoded.payload)).digest == encoded.digest


def test_values_that_differ_have_digests_that_differ():
    values = [
        1,
        1.0,
        True,
        "1",
        (1,),
        [1],
        {"a": 1},
        b"1",
        None,
        math.nan,
        math.inf,
        -math.inf,
        0.0,
        -0.0,
        {"$": 1},
        np.float64(1),
        np.int64(1),
        np.array(1),
        np.array([1]),
        date(2020, 1, 1),
        datetime(2020, 1, 1),
        datetime(2020, 1, 1, tzinfo=UTC),
    ]

    assert len({CODECS.encode(value).digest for value in values}) == len(values)


@pytest.mark.parametrize(
    "number", [np.float64(0.1), np.float32(0.1), np.float64("nan"), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)]
)
def test_numbers_of_numpy_stay_numbers_of_numpy(number):
    back = there_and_back({"auc": number})["auc"]

    assert type(back) is type(number)
    assert repr(back) == repr(number)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.array(["a", "bc"]),
        np.array([], dtype="int8"),
        np.array(3),
        np.array(["2020-01-01"], dtype="datetime64[s]"),
        np.array([True, False]),
    ],
)
def test_arrays_come_back_with_type_and_shape(array):
    back = there_and_back(array)

    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)


def test_the_order_of_an_array_in_memory_is_not_its_meaning():
    array = np.arange(6.0).reshape(2, 3)

    assert CODECS.encode(array).digest == CODECS.encode(np.asfortranarray(array)).digest
    assert CODECS.encode(array).digest != CODECS.encode(array.reshape(3, 2)).digest


def test_records_of_other_fields_are_other_values_and_what_lies_between_the_fields_is_none():
    def digest(*fields, align=False, fill=0):
        rows = np.frombuffer(bytes([fill]) * 16 * 3, np.dtype([("x", "u1", (16,))])).copy()
        kind = np.dtype([*fields], align=align)
        records = rows.view(np.uint8)[: 3 * kind.itemsize].view(kind)
        for name in kind.names:
            records[name] = 1
        return CODECS.encode(records).digest

    assert digest(("a", "<i4"), ("b", "<i4")) != digest(("b", "<i4"), ("a", "<i4"))
    assert digest(("a", "<i4"), ("b", "<i4")) != digest(("a", "<i4"), ("b", "<f4"))
    gaps = [digest(("a", "u1"), ("b", "<i4"), align=True, fill=fill) for fill in (0, 255)]
    assert gaps[0] == gaps[1]


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"a": [1, None], "b": ["x", None], "c": [1.5, math.nan]}),
        pl.DataFrame(
            {"t": [datetime(2020, 1, 1, tzinfo=UTC)], "d": [date(2020, 1, 1)], "l": [[1, 2]], "s": [{"x": 1}]}
        ),
        pl.DataFrame(
            {"c": pl.Series(["a", "b"], dtype=pl.Categorical), "e": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"]))}
        ),
        pl.DataFrame(schema={"a": pl.Int8}),
        pl.DataFrame(),
    ],
)
def test_frames_come_back_equal(frame):
    back = there_and_back(frame)

    assert back.schema == frame.schema
    assert back.equals(frame)
    assert CODECS.encode(back).digest == CODECS.encode(frame).digest


def test_frames_that_an_older_noria_wrote_compressed_are_read():
    rows = pl.DataFrame({"a": np.arange(300_000.0), "s": ["x", None, "yy"] * 100_000})
    file = io.BytesIO()
    rows.write_ipc(file, compression="lz4")
    table, sink = pa.Table.from_pandas(pd.DataFrame({"a": [1.5, None]})), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as written:
        written.write_table(table)

    assert CODECS.decode("arrow", file.getvalue()).equals(rows)
    assert CODECS.decode("pandas", sink.getvalue().to_pybytes())["a"].tolist()[0] == 1.5


def test_collections_that_an_older_noria_wrote_are_read():
    array = io.BytesIO()
    np.save(array, np.arange(3))
    index = json.dumps(
        {"shape": '[1,{"$":"part","v":0},{"$":"part","v":1}]', "parts": [["npy", "d", 152]] * 2}
    ).encode()
    assert len(array.getvalue()) == 152

    back = CODECS.decode("collection", struct.pack(">I", len(index)) + index + array.getvalue() * 2)

    assert back[0] == 1
    assert [part.tolist() for part in back[1:]] == [[0, 1, 2], [0, 1, 2]]


def test_how_a_frame_of_pandas_is_chunked_is_not_its_meaning():
    whole = pd.DataFrame(
        {"a": ["x", None, "zz", ""], "n": pd.array([1, None, 3, 4], dtype="Int64"), "d": MOMENTS[[0, 1, 0, 1]]}
    )
    parts = pd.concat([whole.iloc[:1], whole.iloc[1:]], ignore_index=True)
    sliced = pd.concat([whole, whole]).iloc[4:].reset_index(drop=True)

    digests = {CODECS.encode(frame).digest for frame in (whole, parts, sliced)}

    assert len(digests) == 1
    assert CODECS.encode(whole.replace({"zz": "z"})).digest not in digests


def test_how_a_frame_is_chunked_is_not_its_meaning():
    whole = pl.DataFrame({"a": [1, 2]})
    parts = pl.concat([whole.head(1), whole.tail(1)], rechunk=False)

    assert CODECS.encode(whole).digest == CODECS.encode(parts).digest


@pytest.mark.parametrize("series", [pl.Series("a", [1, None]), pl.Series([1.5]), pl.Series("t", [date(2020, 1, 1)])])
def test_columns_come_back_equal(series):
    back = there_and_back(series)

    assert_series_equal(back, series)
    assert CODECS.encode(back).digest == CODECS.encode(series).digest
    assert CODECS.encode(series).digest != CODECS.encode(series.to_frame()).digest


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, math.nan]}),
        pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "c": pd.Categorical(["x", "y"])}, index=MOMENTS),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", "n"])),
        pd.DataFrame({0: [1.0], 1: [2.0]}, index=[7]),
        pd.DataFrame({"a": pd.Series([], dtype="float32")}),
        pd.DataFrame(index=range(3)),
        pd.DataFrame(),
    ],
)
def test_frames_of_pandas_come_back_with_index_and_types(frame):
    back = there_and_back(frame)

    pd.testing.assert_frame_equal(back, frame, check_freq=False)
    assert CODECS.encode(back).digest == CODECS.encode(frame).digest


@pytest.mark.parametrize(
    "series", [pd.Series([1, 2], name="a"), pd.Series([True, False]), pd.Series([1.5, 2.5], index=MOMENTS, name="a")]
)
def test_series_of_pandas_come_back_with_index_and_name(series):
    back = there_and_back(series)

    pd.testing.assert_series_equal(back, series, check_freq=False)
    assert CODECS.encode(back).digest == CODECS.encode(series).digest


def test_what_differs_in_pandas_has_another_digest():
    frame = pd.DataFrame({"a": [1, 2]})
    values = [
        frame,
        frame.astype("float64"),
        frame.set_index(pd.Index([1, 2])),
        frame.rename(columns={"a": "b"}),
        frame["a"],
        frame["a"].rename(None),
        frame.astype("Int64"),
        pl.from_pandas(frame),
    ]

    assert len({CODECS.encode(value).digest for value in values}) == len(values)


def test_a_collection_of_frames_arrays_and_models_comes_back_with_its_shape():
    model = Ridge().fit([[1.0], [2.0]], [1.0, 2.0])
    value = {"train": (pl.DataFrame({"x": [1]}), np.array([2.0])), "models": [model], "note": "a", "$": None}

    back = there_and_back(value)

    assert list(back) == list(value)
    assert back["train"][0].equals(value["train"][0])
    assert type(back["train"]) is tuple
    assert back["train"][1].tolist() == [2.0]
    assert back["models"][0].coef_.tolist() == model.coef_.tolist()
    assert (back["note"], back["$"]) == ("a", None)
    assert CODECS.encode(back).digest == CODECS.encode(value).digest
    assert CODECS.encode(value | {"note": "b"}).digest != CODECS.encode(value).digest
    assert CODECS.encode([np.ones(1), np.ones(2)]).digest != CODECS.encode([np.ones(2), np.ones(1)]).digest


def test_a_file_and_a_folder_come_back_with_names_and_content_wherever_they_lay(tmp_path):
    one, other = tmp_path / "one" / "model", tmp_path / "other" / "model"
    for root in (one, other):
        (root / "deep").mkdir(parents=True)
        (root / "deep" / "weights.bin").write_bytes(b"\x00\x01")
        (root / "run.sh").write_text("echo")
        (root / "run.sh").chmod(0o700 if root == one else 0o755)

    back = there_and_back(one)

    assert back.name == "model"
    assert (back / "deep" / "weights.bin").read_bytes() == b"\x00\x01"
    assert os.access(back / "run.sh", os.X_OK)
    assert there_and_back(one / "run.sh").read_text() == "echo"
    assert CODECS.encode(one).digest == CODECS.encode(other).digest
    (other / "run.sh").write_text("echo 2")
    assert CODECS.encode(one).digest != CODECS.encode(other).digest


def test_a_folder_that_would_fill_the_disk_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "large.bin").open("wb") as sparse:
        sparse.truncate(2**38)

    with pytest.raises(Invalid, match="holds more than 137,438,953,472 bytes"):
        CODECS.encode(tmp_path)


def test_a_folder_with_a_link_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(Invalid, match="link is neither a file nor a folder"):
        CODECS.encode(tmp_path)


class Own:
    pass


knot = []
knot.append(knot)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Own(), "no codec carries a .*Own"),
        ([1, {"a": Own()}], r"no codec carries a .*Own at \[1\]\['a'\] inside a collection"),
        ({Own(): 2}, r"no codec carries a .*Own at \[.*Own.*\] inside a collection"),
        ({"a": {(Own(),)}}, r"no codec carries a .*Own at \['a'\]\[.*\]\[0\] inside a collection"),
        ({Path("a"): 2}, "no codec carries a pathlib.PosixPath"),
        (lambda: 1, "no codec carries a builtins.function"),
        (knot, "too deep"),
        ([np.ones(1), knot], "too deep"),
        (bytes(2_000_000), "2,000,000 bytes are too many"),
        ("\ud800", "no Unicode"),
        ([np.zeros(1, "i4,i4")[0]], r"a NumPy number of type .* at \[0\]"),
        (np.array([Own()]), "this array of NumPy cannot be kept: no codec carries a .*Own"),
        (np.array([(1, None)], [("a", "i4"), ("b", "O")]), "whose items lie elsewhere in memory"),
        (pl.LazyFrame({"a": [1]}), "a LazyFrame is a plan"),
        ((pl.LazyFrame({"a": [1]}),), r"a LazyFrame is a plan, not values at \[0\]"),
        (pd.DataFrame({"a": [Own()]}), "this frame of pandas cannot be kept: .*Own .*column 0, 'a'"),
        (Path("nowhere"), "there is nothing at nowhere"),
        (
            pl.DataFrame({"a": pl.Series([Own()], dtype=pl.Object)}),
            "this frame of Polars cannot be kept: .*Own .*column 'a'",
        ),
    ],
)
def test_what_cannot_be_carried_is_said_with_a_hint(value, says):
    with pytest.raises(Invalid, match=says) as caught:
        CODECS.encode(value)

    assert caught.value.hint


def test_a_codec_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(NotFound, match="no codec named 'pickle'"):
        CODECS.decode("pickle", b"")


def test_pickled_bytes_are_refused_by_the_codec_of_arrays():
    with pytest.raises(Invalid, match="these bytes are no array"):
        CODECS.decode("npy", b"\x80\x04\x95garbage")


def test_asking_the_codecs_loads_no_scikit_learn():
    code = (
        "import sys, numpy\nfrom noria.adapters.codecs import standard\n"
        "standard().encode([1]); standard().encode(numpy.arange(3))\n"
        "print({'sklearn', 'skops', 'pandas'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert told == "set()\n"
