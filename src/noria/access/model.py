"""Permissions, and the roles that bundle them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from noria.core.context import Actor


class Permission(StrEnum):
    """What a verb may ask for; the value reads in a sentence: 'may not ...'."""

    DATA_READ = "read data"
    DATA_WRITE = "write data"
    RUN_READ = "read runs"
    RUN_START = "start runs"
    MODEL_READ = "read models"
    MODEL_WRITE = "register models"
    MODEL_PROMOTE = "promote models"
    LOOP_READ = "read loops"
    LOOP_WRITE = "change loops"
    REVIEW = "review candidates"
    LEDGER_READ = "read the ledger"
    ADMIN = "grant roles"


_READS = frozenset({p for p in Permission if p.value.startswith("read ")})


class Role(StrEnum):
    """A bundle of permissions that an actor is granted in a project."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    OWNER = "owner"

    @property
    def permissions(self) -> frozenset[Permission]:
        """Return what the role allows."""
        return _PERMISSIONS[self]


_PERMISSIONS = {
    Role.VIEWER: _READS,
    Role.DEVELOPER: _READS
    | {Permission.DATA_WRITE, Permission.RUN_START, Permission.MODEL_WRITE, Permission.LOOP_WRITE},
    Role.REVIEWER: _READS | {Permission.REVIEW},
    Role.OPERATOR: frozenset(Permission) - {Permission.ADMIN},
    Role.OWNER: frozenset(Permission),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role that an actor has in a project, since when and by whom."""

    actor: Actor
    role: Role
    granted_by: str
    granted_at: datetime
