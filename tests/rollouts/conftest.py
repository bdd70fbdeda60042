"""Rollouts over a registry of a few versions and two endpoints, on each kind of database, a project for each use."""

import itertools
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from noria.access.service import Access
from noria.adapters.codecs import standard
from noria.core.clock import MachineStopwatch
from noria.core.context import Actor, Context
from noria.datasets.service import Datasets
from noria.ledger.notes import Signer
from noria.ledger.service import Ledger
from noria.registry.loading import Loader
from noria.registry.model import Trained
from noria.registry.service import Registry
from noria.rollouts.service import Rollouts
from noria.runs.model import Artifact
from noria.serving.log import Log
from noria.serving.service import Endpoints

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
VERSIONS = 4


class Site:
    """A fresh project: the model `fraud` with four versions, the endpoints `shop` and `app`, nobody champion yet."""

    numbers = itertools.count()

    def __init__(self, database, clock, ids, blobs, folder):
        self.database, self.clock = database, clock
        self.context = Context(actor=Actor(name="ann"), project=f"project{next(self.numbers)}")
        self.ledger = Ledger(database, Signer(Ed25519PrivateKey.generate()), clock=clock, ids=ids)
        access = Access(database, self.ledger, clock=clock)
        access.found(self.context)
        shared = {"ledger": self.ledger, "access": access, "clock": clock, "ids": ids}
        self.registry = Registry(database, **shared)
        own = {
            "registry": self.registry,
            "datasets": Datasets(database, blobs, **shared),
            "loader": Loader(blobs, standard()),
            "stopwatch": MachineStopwatch(),
        }
        self.endpoints = Endpoints(database, Log(folder, clock=clock, ids=ids), **own, **shared)
        self.rollouts = Rollouts(database, registry=self.registry, endpoints=self.endpoints, **shared)
        for number in range(VERSIONS):
            artifact = Artifact(codec="model", blob="00" * 32, digest="11" * 32)
            trained = Trained(
                artifact=artifact, run=f"run{number}", snapshot="snap", trained_through=MARCH, code="22" * 32
            )
            self.registry.register(self.context, "fraud", trained)
        for name in ("shop", "app"):
            self.endpoints.create(self.context, name, model="fraud", dataset="payments")

    @property
    def champion(self):
        return self.registry.alias(self.context, "fraud").version

    def route(self, endpoint="shop"):
        found = self.endpoints.route(self.context, endpoint)
        return {variant.version: variant.weight for variant in found.variants}, found.shadows

    def told(self, *kinds):
        while self.ledger.seal():
            pass
        facts = self.ledger.after(-1, project=self.context.project, limit=10_000)
        return [fact for fact in facts if fact.kind in kinds]


@pytest.fixture
def new_site(any_database, clock, ids, blobs, tmp_path):
    return lambda: Site(any_database, clock, ids, blobs, tmp_path / "log")


@pytest.fixture
def site(new_site):
    return new_site()
