"""A house of runs on a fresh database of each kind."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests_runs_house import Watch, house_on

from noria.adapters.codecs import standard
from noria.adapters.executors.processes import Processes
from noria.core.clock import MachineStopwatch, RealClock
from noria.core.ids import TimedIds
from noria.runs.inprocess import InProcess
from noria.runs.values import Values
from noria.store.blobs import open_blobs
from noria.store.opening import open_database

REAL = os.environ.get("KUBERNETES_TEST_CONFIG", "")
STORAGE = os.environ.get("KUBERNETES_TEST_STORAGE", "")


@pytest.fixture
def house(database, blobs, clock, ids, ann, tmp_path):
    return house_on(database, blobs, clock, ids, ann, tmp_path)


@pytest.fixture
def any_house(any_database, blobs, clock, ids, ann, tmp_path):
    return house_on(any_database, blobs, clock, ids, ann, tmp_path)


@pytest.fixture
def postgresql_house(postgresql_address, blobs, clock, ids, ann, tmp_path):
    database = open_database(postgresql_address)
    yield house_on(database, blobs, clock, ids, ann, tmp_path)
    database.close()


@pytest.fixture
def runs(house):
    return house.runs()


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def values(blobs):
    return Values(standard(), blobs)


@pytest.fixture
def in_process():
    return InProcess(MachineStopwatch())


@pytest.fixture(scope="module")
def processes():
    executor = Processes(MachineStopwatch(), cpus=2)
    yield executor
    executor.close()


@pytest.fixture
def blobs(tmp_path):
    """Blobs that steps reach, wherever they are executed."""
    return open_blobs(STORAGE if REAL else str(tmp_path / "blobs"))


@pytest.fixture
def shared(tmp_path):
    """A folder that steps see under the same name, wherever they are executed."""
    if not REAL:
        yield tmp_path
        return
    if "://" in STORAGE:
        pytest.skip("tests and pods share no folder")
    with TemporaryDirectory(dir=STORAGE) as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def kubernetes_cluster(tmp_path):
    """A small Kubernetes that runs Jobs as processes of this machine."""
    if REAL:
        pytest.skip("no real cluster does what this test makes it do")
    pytest.importorskip("kubernetes")
    pytest.importorskip("kubernetes_validate")
    from fake_kubernetes import FakeKubernetes

    cluster = FakeKubernetes(tmp_path / "pods")
    yield cluster
    cluster.close()


@pytest.fixture
def kubernetes(request, values, tmp_path, ids):
    if REAL:
        yield from real_kubernetes(values)
        return
    pytest.importorskip("kubernetes")
    from kubernetes.client import ApiClient, Configuration

    from noria.adapters.executors.jobs import Place
    from noria.adapters.executors.kubernetes import Kubernetes

    with ApiClient(Configuration(host=request.getfixturevalue("kubernetes_cluster").address)) as client:
        place = Place(image="noria:test", blobs=str(tmp_path / "blobs"))
        executor = Kubernetes(
            values, place, client, ids=ids, watch=MachineStopwatch(), look_every_seconds=0.05, pending_seconds=0.5
        )
        yield executor
        executor.close()


def real_kubernetes(values, **more):
    """Open the executor on the cluster of KUBERNETES_TEST_CONFIG, in the namespace of its current context."""
    from kubernetes import config

    from noria.adapters.executors.jobs import place_of
    from noria.adapters.executors.kubernetes import Kubernetes

    said = {
        "image": os.environ["KUBERNETES_TEST_IMAGE"],
        "blobs": STORAGE,
        "namespace": config.list_kube_config_contexts(REAL)[1]["context"].get("namespace", "default"),
        "service_account": "",
        "secret": os.environ.get("KUBERNETES_TEST_SECRET", ""),
        "volume_claim": os.environ.get("KUBERNETES_TEST_CLAIM", ""),
    }
    with config.new_client_from_config(REAL) as client:
        executor = Kubernetes(
            values,
            place_of(**(said | more)),
            client,
            ids=TimedIds(RealClock()),
            watch=MachineStopwatch(),
            look_every_seconds=0.2,
            pending_seconds=30,
        )
        yield executor
        executor.close()


@pytest.fixture(scope="session")
def ray_cluster():
    """A real Ray of one node, to which tests add others."""
    os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")  # a busy machine of few cores is slow to register
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns of what it will do with GPUs
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 200 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def ray(ray_cluster, values):
    from noria.adapters.executors.ray import Ray

    executor = Ray(values, watch=MachineStopwatch(), address=ray_cluster.address)
    yield executor
    executor.close()
