"""A home with three versions that say who they are by their scores: 1 and 2 as ONNX, 3 in a process of its own."""

import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl
from sklearn.linear_model import Ridge

import noria as nr
from noria.registry.model import Trained
from noria.runs.model import Artifact
from noria.serving.model import Variant

CLICKS = nr.Dataset("clicks", key="id", time="at", label="bought")
READS = nr.columns("x", "y")
SAMPLE = pl.DataFrame({"x": [0.0, 1.0, 2.0], "y": [0.5, 0.25, 0.125]})
SOURCE = "import time\n\ndef features(rows):\n    return rows.select('x', 'y').fill_null(0.0).to_numpy()\n"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def says(number):
    """Return an estimator whose score is its number plus a hundredth of x."""
    estimator = Ridge().fit(np.eye(2), [0.0, 0.0])
    estimator.coef_, estimator.intercept_ = np.array([0.01, 0.0]), float(number)
    return estimator


def register(home, model):
    encoded = home.codecs.encode(model)
    artifact = Artifact(codec=encoded.codec, blob=home.blobs.put(encoded.payload), digest=encoded.digest)
    prepared = home.preparer.prepare(model, SAMPLE, features=["x", "y"], functions=[])
    trained = Trained(
        artifact=artifact, run=home.ids.new("run"), snapshot="s", trained_through=LONG_AGO, code="22" * 32,
        bundle=prepared.bundle,
    )  # fmt: skip

    def work(connection):
        version = home.registry.register_in(connection, home.context, "clicks", trained)
        return home.endpoints.serve_in(connection, home.context, version, prepared)

    return home.database.write(work)


def furnish(home, folder):
    """Put dataset, versions and endpoint into a fresh home; the module of version 3 is only in its bundle."""
    home.datasets.create(home.context, CLICKS)
    for number in (1, 2):
        register(home, nr.Model(says(number), preprocess=READS))
    (folder / "only_bundled.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        import only_bundled

        register(home, nr.Model(says(3), preprocess=only_bundled.features))
    finally:
        sys.path.remove(str(folder))
        del sys.modules["only_bundled"]
        (folder / "only_bundled.py").unlink()
    home.endpoints.create(home.context, "clicks", model="clicks", dataset="clicks")


def route(home, *shares, shadows=()):
    """Let versions answer by their shares from now on."""
    variants = [Variant(version=version, weight=weight) for version, weight in shares]
    epoch = home.endpoints.route(home.context, "clicks").epoch
    return home.endpoints.set_route(
        home.context, "clicks", expected_epoch=epoch, variants=variants, shadows=shadows, reason="test"
    )
