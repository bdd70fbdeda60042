"""Every setting, in one typed object; read from the environment and `noria.toml`, and only by `boot`."""

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

import msgspec

from noria.core.errors import Invalid, nearest

_PREFIX = "NORIA_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set; a field `lease_seconds` is `NORIA_LEASE_SECONDS` in the environment."""

    home: str = field(default=".noria", metadata={"doc": "folder, or postgresql:// address, that a command opens"})
    blobs: str = field(
        default="", metadata={"doc": "folder or s3://, gs://, az:// address of the blobs; in the home folder if empty"}
    )
    key_file: str = field(
        default="", metadata={"doc": "Ed25519 key that signs the ledger; in the home folder if empty"}
    )
    log_folder: str = field(
        default="",
        metadata={"doc": "folder of predictions and feedback, shared by gateways and workers; in the home if empty"},
    )
    log_keep_days: float = field(
        default=0.0, metadata={"doc": "days after which compacted predictions and feedback are removed; 0 keeps them"}
    )
    feedback_patience_days: float = field(
        default=30.0, metadata={"doc": "days that feedback waits for its row before it is put aside"}
    )
    project: str = field(default="default", metadata={"doc": "project that a command works in"})
    actor: str = field(default="", metadata={"doc": "name of the person who acts; the login name if empty"})
    lease_seconds: float = field(default=30.0, metadata={"doc": "seconds after which a silent worker's work is free"})
    host: str = field(default="127.0.0.1", metadata={"doc": "address that servers listen on"})
    hosts: str = field(
        default="",
        metadata={"doc": "names, besides loopback's, that servers answer to, such as noria.example.com,*.svc.local"},
    )
    insecure: bool = field(
        default=False, metadata={"doc": "whether servers may listen beyond this machine: there are no accounts yet"}
    )
    most_connections: int = field(
        default=500, metadata={"doc": "connections that a server holds at once; more are answered 503"}
    )
    read_seconds: float = field(
        default=30.0, metadata={"doc": "seconds within which a request's headers, and then its body, must have come"}
    )
    most_header_bytes: int = field(default=32 * 2**10, metadata={"doc": "bytes of the largest headers that are read"})
    control_port: int = field(default=7878, metadata={"doc": "port of the control API and the pages"})
    gateway_port: int = field(default=7879, metadata={"doc": "port of the gateway"})
    route_poll_seconds: float = field(default=0.2, metadata={"doc": "seconds between a gateway's looks at the routes"})
    route_staleness_seconds: float = field(
        default=30.0, metadata={"doc": "seconds without a word of the database after which a gateway says it is stale"}
    )
    refuse_when_stale: bool = field(default=False, metadata={"doc": "whether a stale gateway answers no predictions"})
    answer_seconds: float = field(
        default=10.0, metadata={"doc": "seconds that a version may take for an answer before the request is refused"}
    )
    answer_unlogged: bool = field(
        default=False, metadata={"doc": "whether predictions are answered when the log cannot be written"}
    )
    model_preload: str = field(
        default="sklearn.ensemble",
        metadata={"doc": "modules that a gateway imports once for all its model processes, if they are installed"},
    )
    rescore_share: float = field(
        default=0.01, metadata={"doc": "share of live answers that a worker scores again with the model; 0 for none"}
    )
    most_body_bytes: int = field(default=8 * 2**20, metadata={"doc": "bytes of the largest body a gateway reads"})
    executor: str = field(
        default="in-process", metadata={"doc": "what executes steps: in-process, processes, ray, or kubernetes"}
    )
    worker_cpus: float = field(
        default=0.0, metadata={"doc": "cores that steps share here; if 0 all of them, in-process uncounted"}
    )
    worker_gpus: float = field(default=0.0, metadata={"doc": "GPUs that steps share here"})
    worker_tags: str = field(default="", metadata={"doc": "what else steps find here, such as fast-disk,eu"})
    ray_address: str = field(
        default="", metadata={"doc": "host:port of a Ray cluster, or auto; one on this machine if empty"}
    )
    kubernetes_image: str = field(default="", metadata={"doc": "image of a step's pod, with noria and its packages"})
    kubernetes_namespace: str = field(default="default", metadata={"doc": "namespace of the Jobs"})
    kubernetes_service_account: str = field(default="", metadata={"doc": "service account of the pods; none if empty"})
    kubernetes_secret: str = field(
        default="", metadata={"doc": "secret whose keys are the pods' environment, such as what opens the blobs"}
    )
    kubernetes_volume_claim: str = field(
        default="", metadata={"doc": "volume claim of a folder of blobs, mounted in the pods where it is here"}
    )
    kubernetes_pending_seconds: float = field(
        default=600.0, metadata={"doc": "seconds that a pod may wait for a node and its image"}
    )
    usd_per_cpu_hour: float = field(
        default=0.0, metadata={"doc": "USD for an hour of a CPU's work, by which attempts are priced; 0: they are not"}
    )
    usd_per_gpu_hour: float = field(
        default=0.0, metadata={"doc": "USD for an hour with a GPU, for steps that ask for some"}
    )
    check_types: bool = field(
        default=True,
        metadata={
            "doc": "whether what steps and pipelines are given is held against the annotations of their parameters"
        },
    )
    sync_steps: bool = field(
        default=False, metadata={"doc": "sync each step's result on SQLite at once instead of within 100 ms"}
    )
    fragment_cache_bytes: int = field(default=512 * 2**20, metadata={"doc": "bytes of decoded data kept in memory"})


def read_settings(folder: Path | None = None) -> Settings:
    """Read `noria.toml` of the folder (or the present one), then the environment, which wins.

    Raises:
        Invalid: an unknown name, or a value of the wrong type.

    """
    file = (folder or Path()) / "noria.toml"
    told: dict[str, object] = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    variables = environment()
    told |= {name.removeprefix(_PREFIX).lower(): value for name, value in variables.items() if name.startswith(_PREFIX)}
    known = [entry.name for entry in fields(Settings)]
    for name in told:
        if name not in known:
            raise Invalid(f"there is no setting {name!r}", hint=nearest(name, known))
    try:
        return msgspec.convert(told, Settings, strict=False)
    except msgspec.ValidationError as problem:
        raise Invalid(f"a setting of {file} or {_PREFIX}... in the environment: {problem}") from problem


def with_user(place: str) -> str:
    """Return the name of a folder with `~` at its beginning replaced by the user's own; `~name` is a name like any other."""
    return str(Path(place).expanduser()) if place == "~" or place.startswith(("~/", f"~{os.sep}")) else place


def environment(**unless_set: str) -> dict[str, str]:
    """Return this process's environment, for a child; what is named is added where nobody has said otherwise."""
    return unless_set | dict(os.environ)  # noqa: TID251 - the one place that reads the environment
