"""Every setting, in one typed object; read from the environment and `noria.toml`, and only by `boot`."""

import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

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
    project: str = field(default="default", metadata={"doc": "project that a command works in"})
    actor: str = field(default="", metadata={"doc": "name of the person who acts; the login name if empty"})
    lease_seconds: float = field(default=30.0, metadata={"doc": "seconds after which a silent worker's work is free"})
    fragment_cache_bytes: int = field(default=512 * 2**20, metadata={"doc": "bytes of decoded data kept in memory"})


def read_settings(folder: Path | None = None) -> Settings:
    """Read `noria.toml` of the folder (or the present one), then the environment, which wins.

    Raises:
        Invalid: an unknown name, or a value of the wrong type.

    """
    file = (folder or Path()) / "noria.toml"
    settings = Settings()
    if file.exists():
        settings = _with(settings, tomllib.loads(file.read_text(encoding="utf-8")), origin=str(file))
    told = {name.removeprefix(_PREFIX).lower(): value for name, value in os.environ.items() if name.startswith(_PREFIX)}
    return _with(settings, told, origin="the environment")


def _with(settings: Settings, told: dict[str, object], *, origin: str) -> Settings:
    known = {entry.name: entry for entry in fields(Settings)}
    changes: dict[str, object] = {}
    for name, value in told.items():
        if name not in known:
            raise Invalid(f"{origin} has no setting {name!r}", hint=nearest(name, known))
        kind = type(getattr(settings, name))
        try:
            changes[name] = kind(value)
        except (TypeError, ValueError) as problem:
            raise Invalid(f"{name} in {origin} is {value!r}, which is no {kind.__name__}") from problem
    return replace(settings, **changes)  # type: ignore[arg-type]  # each value has just been given its field's type
