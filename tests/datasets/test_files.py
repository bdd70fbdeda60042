"""Laws of files: what is sure is read exactly, what is not is asked about, and nothing is changed without a word."""

import gzip
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd
import polars as pl
import pytest

from noria.core.errors import BadData, Invalid, NoriaError
from noria.datasets import files
from noria.datasets.model import Dataset

PARCELS = Dataset("parcels", key="id", time="at")
LABELLED = Dataset("parcels", key="id", time="at", label="y")
DAY = "2026-01-01T00:00:00Z"


def read(path, known=None, dataset=PARCELS, **options):
    return files.read(path, dataset=dataset, known=known or {}, options=options)


@pytest.fixture
def write(tmp_path):
    def make(text, name="rows.csv", encoding="utf-8"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return file

    return make


def column_of(write, values, known=None, **options):
    """Read a file with one column x beside key and time."""
    quoted = (f'"{value}"' if "," in value else value for value in values)
    lines = [f"k{place},{DAY},{value}" for place, value in enumerate(quoted)]
    return read(write("\n".join(["id,at,x", *lines]) + "\n"), known=known, **options)


SURE = [
    (["1", "-2", ""], [1, -2, None], pl.Int64),
    (["1", "2.5"], [1.0, 2.5], pl.Float64),
    (["-0.0", "1e-05", ".5", "inf"], [-0.0, 1e-05, 0.5, float("inf")], pl.Float64),
    ([" 1", "2 "], [1, 2], pl.Int64),
    (["9223372036854775807"], [2**63 - 1], pl.Int64),
    (["True", "FALSE", ""], [True, False, None], pl.Boolean),
    (["", ""], [None, None], pl.Null),
    (["2026-01-31", "2024-02-29"], [date(2026, 1, 31), date(2024, 2, 29)], pl.Date),
    (["2026-01-31 12:30", "2026/1/2 3:04:05.25"], [datetime(2026, 1, 31, 12, 30), datetime(2026, 1, 2, 3, 4, 5, 250_000)], pl.Datetime("us")),
    (["2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00Z"], [datetime(2026, 1, 31, 10, tzinfo=UTC), datetime(2026, 1, 31, 12, tzinfo=UTC)], pl.Datetime("us", "UTC")),
    (["25/12/2026", "03/04/2026"], [date(2026, 12, 25), date(2026, 4, 3)], pl.Date),
    (["12/25/2026", "03/04/2026"], [date(2026, 12, 25), date(2026, 3, 4)], pl.Date),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "values", "kind"), SURE)
def test_what_is_sure_is_read_exactly(write, texts, values, kind):
    found = column_of(write, texts).frame["x"]

    assert (found.dtype, found.to_list()) == (kind, values)


TEXT = [
    (["007", "12"], "leading zeros"),
    (["02139", "10001"], "leading zeros"),
    (["00.5", "1.5"], "leading zeros"),
    (["+4917", "+33"], "a plus"),
    (["1e5", "2e7"], "exponent"),
    (["12e4567", "1"], "exponent"),
    (["0x1F", "0x2A"], "text"),
    (["9223372036854775808", "1"], "beyond 64 bits"),
    (["0.12345678901234567890"], "more digits"),
    (["9007199254740993", "0.5"], "more digits"),
    (["1e+999", "2.0"], "more digits"),
    (["1,234", "12,345"], "comma"),
    (["1,234,567", "5"], "groups"),
    (["$5", "$6"], "text"),
    (["5%", "6%"], "text"),
    (["yes", "no"], "text"),
    (["Y", "N"], "text"),
    (["1_000", "2_000"], "text"),
    (["2026-02-30", "2026-01-01"], "text"),
    (["a", "NA"], "stays as it is"),
    ([*map(str, range(500)), "abc"], "line 502"),
]


@pytest.mark.parametrize(("texts", "why"), TEXT)
def test_what_may_be_an_id_stays_text_letter_for_letter_and_it_is_said_why(write, texts, why):
    found = column_of(write, texts)

    assert found.frame["x"].to_list() == texts
    assert why in found.understood[2].why


ASKED = [
    (["03/04/2026", "05/06/2026"], "--dates"),
    (["3.4.2026"], "--dates"),
    (["25/12/2026", "12/25/2026"], "--dates"),
    (["03/04/26", "12/12/26"], "--dates"),
    (["1", "NA"], "--null 'NA'"),
    (["1.5", "N/A"], "--null 'N/A'"),
    (["null", "null"], "--null 'null'"),
    (["true", "-"], "--null '-'"),
    (["2026-01-01", "nan"], "--null 'nan'"),
    (["1", "  "], "--null '  '"),
    (["2026-01-01T00:00:00Z", "2026-01-01T00:00:00"], "--zone"),
]


@pytest.mark.parametrize(("texts", "way_out"), ASKED)
def test_what_is_not_sure_is_asked_about(write, texts, way_out):
    with pytest.raises(BadData, match="line 2|line 3") as refused:
        column_of(write, texts)

    assert way_out in refused.value.hint


TOLD = [
    (["03/04/2026"], {"dates": "dmy"}, [date(2026, 4, 3)]),
    (["03/04/2026"], {"dates": {"x": "mdy"}}, [date(2026, 3, 4)]),
    (["3 Apr 2026"], {"dates": {"x": "%d %b %Y"}}, [date(2026, 4, 3)]),
    (["1", "NA"], {"null": "NA"}, [1, None]),
    (["1", "NA", "-"], {"null": ["NA", "-"]}, [1, None, None]),
    (["1", "NA"], {"types": {"x": "text"}}, ["1", "NA"]),
    (["007"], {"types": "x=int"}, [7]),
    (["1,5", "2"], {"decimal": ","}, [1.5, 2.0]),
    (["1.10", "12345.678"], {"types": {"x": "decimal"}}, [Decimal("1.10"), Decimal("12345.678")]),
    (["yes", "0"], {"types": {"x": "bool"}}, [True, False]),
    (["nan", "1"], {"types": {"x": "float"}}, "nan"),
    (["2026-07-01 12:00"], {"zone": "Europe/Berlin"}, [datetime(2026, 7, 1, 10, tzinfo=UTC)]),
]


@pytest.mark.parametrize(("texts", "options", "values"), TOLD)
def test_what_is_told_is_done(write, texts, options, values):
    found = column_of(write, texts, **options).frame["x"]

    assert found[0] != found[0] if values == "nan" else found.to_list() == values


@pytest.mark.parametrize(
    ("known", "texts", "values"),
    [
        ("text", ["7", "NA", ""], ["7", "NA", None]),
        ("int", ["7", ""], [7, None]),
        ("int", ["7.5", "1"], [7.5, 1.0]),
        ("float", ["7", "1e5"], [7.0, 1e5]),
        ("Date", ["2026-01-01"], [date(2026, 1, 1)]),
        ("Decimal(precision=38, scale=2)", ["1.105"], [Decimal("1.105")]),
        ("Datetime(time_unit='us', time_zone=None)", ["2026-01-01"], [datetime(2026, 1, 1)]),
    ],
)
def test_later_files_are_read_as_the_dataset_has_its_columns(write, known, texts, values):
    assert column_of(write, texts, known={"x": known}).frame["x"].to_list() == values


@pytest.mark.parametrize(
    ("known", "bad"),
    [("int", "abc"), ("int", "NA"), ("float", "1.5.2"), ("bool", "yes"), ("Date", "x"), ("int", str(2**63))],
)
def test_what_a_later_file_cannot_mean_is_said_with_line_and_value(write, known, bad):
    with pytest.raises(BadData, match=f"rows.csv, line 3: 'x' holds '{bad}'"):
        column_of(write, ["", bad], known={"x": known})


def timed(write, *times, **options):
    lines = [f"k{place},{time}" for place, time in enumerate(times)]
    return read(write("\n".join(["id,at", *lines])), **options)


def test_event_times_without_a_zone_need_one(write):
    with pytest.raises(BadData, match="line 2: 'at' holds '2026-01-01 12:00', without a time zone") as refused:
        timed(write, "2026-01-01 12:00")

    assert "--zone" in refused.value.hint
    assert timed(write, "2026-07-01 12:00", zone="America/New_York").frame["at"].to_list() == [
        datetime(2026, 7, 1, 16, tzinfo=UTC)
    ]


@pytest.mark.parametrize("moment", ["2026-03-29 02:30", "2026-10-25 02:30"])
def test_hours_that_clocks_showed_twice_or_not_at_all_are_refused(write, moment):
    with pytest.raises(BadData, match=r"line 3: .*twice or not at all"):
        timed(write, "2026-01-01 12:00", moment, zone="Europe/Berlin")


@pytest.mark.parametrize("texts", [["1700000000"], ["yesterday"], ["2026-13-01"], ["2026-01-01T00:00:00.1234567Z"]])
def test_event_times_that_are_none_are_refused_with_a_way_to_say_how_they_are_written(write, texts):
    with pytest.raises(BadData, match="which is no time") as refused:
        timed(write, *texts)

    assert "--dates" in refused.value.hint


def test_seconds_since_1970_are_read_where_they_are_told(write):
    assert timed(write, "1700000000", dates="unix").frame["at"].to_list() == [
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    ]


SHAPES = [
    ("semicolons", "id;at;x\na;{t};1,5\n", {"decimal": ","}, "semicolons"),
    ("tabs", "id\tat\tx\na\t{t}\t1.5\n", {}, "tabs"),
    ("bars", "id|at|x\na|{t}|1.5\n", {}, "bars"),
    ("Excel's first line", "sep=;\nid;at;x\na;{t};1.5\n", {}, None),
    ("CRLF and blank lines", "id,at,x\r\n\r\na,{t},1.5\r\n\r\n", {}, None),
    ("a separator at every end", "id,at,x,\na,{t},1.5,\n", {}, "ends with a separator"),
    ("an index without a name", ",id,at,x\n0,a,{t},1.5\n", {}, "counts the rows"),
    ("an index that pandas named", "Unnamed: 0,id,at,x\n0,a,{t},1.5\n", {}, "counts the rows"),
    ("padded names", "id, at ,x\na,{t},1.5\n", {}, None),
    ("a column that is told to be skipped", "id,at,x,z\na,{t},1.5,NA\n", {"types": "z=skip"}, "as told"),
]


@pytest.mark.parametrize(("text", "options", "note"), [case[1:] for case in SHAPES], ids=[case[0] for case in SHAPES])
def test_files_of_every_shape_hold_the_same_rows(write, text, options, note):
    found = read(write(text.replace("{t}", DAY)), **options)

    assert found.frame.to_dicts() == [{"id": "a", "at": datetime(2026, 1, 1, tzinfo=UTC), "x": 1.5}]
    assert note is None or any(note in each for each in found.notes)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(write, encoding):
    assert read(write(f"id,at,x\na,{DAY},Köln\n", encoding=encoding)).frame["x"].to_list() == ["Köln"]


def test_bytes_that_are_not_of_the_encoding_are_refused_with_their_line_and_read_where_it_is_told(write):
    file = write(f"id,at,x\na,{DAY},Köln\n", encoding="cp1252")

    with pytest.raises(BadData, match=r"line 2: byte 33 \(0xf6\) is not utf-8") as refused:
        read(file)

    assert "--encoding cp1252" in refused.value.hint
    assert read(file, encoding="cp1252").frame["x"].to_list() == ["Köln"]


@pytest.mark.parametrize("pack", ["gz", "zip", "zst"])
def test_packed_files_are_unpacked(tmp_path, pack):
    file, text = tmp_path / f"rows.csv.{pack}", f"id,at,x\na,{DAY},007\n".encode()
    if pack == "gz":
        file.write_bytes(gzip.compress(text))
    elif pack == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("rows.csv", text)
    else:
        pa = pytest.importorskip("pyarrow")
        with pa.output_stream(str(file), compression="zstd") as stream:
            stream.write(text)

    assert read(file).frame["x"].to_list() == ["007"]


REFUSED = [
    ("too many fields", "id,at,x\na,{t},1,2\n", "line 2: 4 fields"),
    ("too few fields", "id,at,x\na,{t},1\nb,{t}\n", "line 3: 2 fields"),
    ("a line after one of two lines", 'id,at,x\na,{t},"1\n2"\nb,{t}\n', "line 4: 2 fields"),
    ("two columns of one name", "id,at,x,x\na,{t},1,2\n", "two columns named 'x'"),
    ("an index that is data", "Unnamed: 0,id,at\n5,a,{t}\n", "index of a table"),
    ("a column without a name", "id,at,,x\na,{t},v,1\n", "index of a table"),
    ("a quote that is not closed", 'id,at,x\na,{t},"1\n', "line 2"),
    ("NUL", "id,at,x\na,{t},\0\n", "NUL"),
    ("UTF-16 without a mark", "id,at,x\na,{t},1\n".encode("utf-16-le"), "NUL"),
    ("remarks above the header", "# of today\nid,at,x\na,{t},1\n", "line 2"),
    ("a pattern for a name", "id,at,^x$\na,{t},1\n", "named '^x$'"),
    ("one of ours", "id,at,noria_row_source\na,{t},1\n", "noria_row_source"),
]


@pytest.mark.parametrize(("text", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_files_that_cannot_be_meant_are_refused_with_a_hint(write, text, words):
    file = write(text.replace(b"{t}", DAY.encode()) if isinstance(text, bytes) else text.replace("{t}", DAY))

    with pytest.raises(BadData) as refused:
        read(file)

    assert words in refused.value.sentence
    assert refused.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"types": {"x": "number"}}, {"types": {"y": "int"}}, {"types": "x"}, {"zone": "Mars/Base"}, {"dates": "european"},
        {"encoding": "utf-9"}, {"sep": "||"}, {"decimal": ";"}, {"dates": {"y": "dmy"}},
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant_are_refused(write, options):
    with pytest.raises(Invalid):
        column_of(write, ["03/04/2026"], **options)


def test_json_keeps_whole_numbers_of_64_bits_and_reads_its_times(write):
    rows = '{"id": "a", "at": "%s", "x": 9007199254740993, "zip": "007"}\n{"id": "b", "at": "%s", "x": null}\n'

    found = read(write(rows % (DAY, DAY), name="rows.ndjson")).frame

    assert found["x"].to_list() == [2**53 + 1, None]
    assert found["zip"].to_list() == ["007", None]
    assert found["at"].dtype == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    "x",
    ["[1, 2", '{"a": 1, "a": 2}', "0.1234567890123456789", '1}, {"id": "b", "at": "2026-01-01T00:00:00Z", "x": "s"'],
)
def test_json_that_would_change_is_refused(write, x):
    with pytest.raises(BadData):
        read(write(f'[{{"id": "a", "at": "{DAY}", "x": {x}}}]', name="rows.json"))


def test_the_index_of_a_pandas_file_is_left_out_only_if_it_counts_the_rows(tmp_path):
    rows = pd.DataFrame({"id": ["a", "b"], "at": pd.to_datetime([DAY, DAY])})
    rows.assign(__index_level_0__=[0, 1]).to_parquet(tmp_path / "counted.parquet")
    rows.assign(__index_level_0__=[5, 9]).to_parquet(tmp_path / "kept.parquet")

    assert read(tmp_path / "counted.parquet").frame.columns == ["id", "at"]
    with pytest.raises(BadData, match="index of a table"):
        read(tmp_path / "kept.parquet")


def test_a_zone_may_be_told_of_frames_and_of_files_with_types():
    naive = pl.DataFrame({"id": ["a"], "at": [datetime(2026, 7, 1, 12)]})

    assert read(naive, zone="Europe/Berlin").frame["at"].to_list() == [datetime(2026, 7, 1, 10, tzinfo=UTC)]
    with pytest.raises(Invalid, match="'sep' says nothing about a frame"):
        read(naive, sep=";")
    with pytest.raises(NoriaError, match="twice or not at all"):
        read(naive.with_columns(at=pl.Series([datetime(2026, 3, 29, 2, 30)])), zone="Europe/Berlin")
