"""A house of runs on a fresh database of each kind."""

import os

import pytest
from tests_runs_house import Watch, house_on

from noria.adapters.codecs import standard
from noria.adapters.executors.processes import Processes
from noria.core.clock import MachineStopwatch
from noria.runs.inprocess import InProcess
from noria.runs.values import Values
from noria.store.opening import open_database


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
def kubernetes_cluster(tmp_path):
    """A small Kubernetes that runs Jobs as processes of this machine."""
    pytest.importorskip("kubernetes")
    pytest.importorskip("kubernetes_validate")
    from fake_kubernetes import FakeKubernetes

    cluster = FakeKubernetes(tmp_path / "pods")
    yield cluster
    cluster.close()


@pytest.fixture
def kubernetes(kubernetes_cluster, values, tmp_path, ids):
    from kubernetes.client import ApiClient, Configuration

    from noria.adapters.executors.jobs import Place
    from noria.adapters.executors.kubernetes import Kubernetes

    with ApiClient(Configuration(host=kubernetes_cluster.address)) as client:
        place = Place(image="noria:test", blobs=str(tmp_path / "blobs"))
        executor = Kubernetes(
            values, place, client, ids=ids, watch=MachineStopwatch(), look_every_seconds=0.05, pending_seconds=0.5
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
