"""A home with a registry of a few versions, and endpoints over it."""

from datetime import UTC, datetime

import pytest
from clicks import opened
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from noria.access.service import Access
from noria.adapters.codecs import standard
from noria.core.clock import MachineStopwatch
from noria.datasets.service import Datasets
from noria.ledger.notes import Signer
from noria.ledger.service import Ledger
from noria.registry.loading import Loader
from noria.registry.model import Trained
from noria.registry.service import Registry
from noria.runs.model import Artifact
from noria.serving.log import Log
from noria.serving.service import Endpoints

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def ledger(any_database, clock, ids):
    return Ledger(any_database, Signer(Ed25519PrivateKey.generate()), clock=clock, ids=ids)


@pytest.fixture
def endpoints(any_database, ledger, clock, ids, ann, blobs, tmp_path):
    """Endpoints over three versions of the model `fraud`, on each kind of database."""
    access = Access(any_database, ledger, clock=clock)
    access.found(ann)
    shared = {"ledger": ledger, "access": access, "clock": clock, "ids": ids}
    registry = Registry(any_database, **shared)
    for number in range(3):
        artifact = Artifact(codec="model", blob="00" * 32, digest="11" * 32)
        trained = Trained(artifact=artifact, run=f"run{number}", snapshot="snap", trained_through=MARCH, code="22" * 32)
        registry.register(ann, "fraud", trained)
    datasets = Datasets(any_database, blobs, **shared)
    loader = Loader(blobs, standard())
    log = Log(tmp_path / "log", clock=clock, ids=ids)
    own = {"registry": registry, "datasets": datasets, "loader": loader, "stopwatch": MachineStopwatch()}
    return Endpoints(any_database, log, **own, **shared)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request, tmp_path):
    """A home whose model answers clicks, on each kind of database."""
    address = None if request.param == "sqlite" else request.getfixturevalue("postgresql_address")
    with opened(tmp_path, address) as platform:
        yield platform
