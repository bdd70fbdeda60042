"""A home with one model that answers clicks, and what tests do with it."""

import contextlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

import noria as nr
from noria.boot import open_home
from noria.core.clock import SimulatedClock
from noria.registry.model import Trained
from noria.runs.model import Artifact
from noria.serving.model import Feedback, Variant
from noria.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
READS = nr.columns("x", "y")


def rows_of(count, *, first=0, at=START):
    numbers = range(first, first + count)
    return pl.DataFrame(
        {
            "id": [f"c{number}" for number in numbers],
            "at": [at] * count,
            "x": [float(number) for number in numbers],
            "y": [0.5] * count,
        }
    )


def ask(home, rows, key="x"):
    return home.endpoints.predict(home.context, "clicks", rows, key=key)


def tell(home, **told):
    home.endpoints.tell(home.context, "clicks", [Feedback(at=home.clock.now(), **told)])


def land(home):
    return home.landings.land(home.context, home.endpoints.get(home.context, "clicks"))


def labels(home):
    found = home.read("clicks")
    return dict(zip(found["id"], found["bought"], strict=True))


def by_x(home, key):
    """Return x and label of each row of a key."""
    found = home.read("clicks").filter(pl.col("id") == key).sort("x")
    return list(zip(found["x"], found["bought"], strict=True))


def asides(home):
    found = home.landings.asides(home.context, home.endpoints.get(home.context, "clicks"))
    return [(aside.kind, aside.key, aside.reason) for aside in found]


def snapshots(home):
    return [(made.source, made.rows, made.labels) for made in home.datasets.snapshots(home.context, "clicks")]


@contextlib.contextmanager
def opened(folder, address=None, **settings):
    """Open a home whose model 1 answers all clicks, with its log in the folder `log`."""
    folders = {"blobs": str(folder / "blobs"), "key_file": str(folder / "key"), "log_folder": str(folder / "log")}
    chosen = Settings(home=address or str(folder / "home"), **folders, **settings)
    with open_home(clock=SimulatedClock(START), settings=chosen) as platform:
        platform.datasets.create(platform.context, CLICKS)
        table = np.random.default_rng(1).normal(size=(50, 2))
        model = nr.Model(LogisticRegression().fit(table, table[:, 0] > 0), preprocess=READS)
        encoded = platform.codecs.encode(model)
        artifact = Artifact(codec=encoded.codec, blob=platform.blobs.put(encoded.payload), digest=encoded.digest)
        trained = Trained(artifact=artifact, run="run", snapshot="s", trained_through=START, code="22" * 32)
        platform.registry.register(platform.context, "clicks", trained)
        platform.endpoints.create(platform.context, "clicks", model="clicks", dataset="clicks")
        one = (Variant(version=1, weight=1.0),)
        platform.endpoints.set_route(platform.context, "clicks", expected_epoch=0, variants=one, reason="the first")
        yield platform
