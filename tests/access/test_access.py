"""Laws of access: who may do what, who may say so, and that somebody always may."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from noria.access.model import Permission, Role
from noria.access.service import Access
from noria.core.context import Actor, Context
from noria.core.errors import Conflict, Denied
from noria.ledger.notes import Signer
from noria.ledger.service import Ledger

BOB = Context(actor=Actor(name="bob"))


@pytest.fixture
def access(any_database, clock, ids, ann):
    ledger = Ledger(any_database, Signer(Ed25519PrivateKey.generate()), clock=clock, ids=ids)
    access = Access(any_database, ledger, clock=clock)
    access.found(ann)
    return access


def test_the_first_actor_of_a_project_owns_it(access, ann):
    access.found(BOB)

    access.require(ann, Permission.ADMIN)
    with pytest.raises(Denied, match="person:bob may not grant roles in project 'default'"):
        access.require(BOB, Permission.ADMIN)


def test_a_stranger_may_nothing(access):
    with pytest.raises(Denied):
        access.require(BOB, Permission.DATA_READ)


@pytest.mark.parametrize(
    ("role", "allowed", "denied"),
    [
        (Role.VIEWER, Permission.MODEL_READ, Permission.RUN_START),
        (Role.DEVELOPER, Permission.LOOP_WRITE, Permission.MODEL_PROMOTE),
        (Role.REVIEWER, Permission.REVIEW, Permission.MODEL_PROMOTE),
        (Role.OPERATOR, Permission.MODEL_PROMOTE, Permission.ADMIN),
    ],
)
def test_a_role_allows_what_it_names_and_nothing_else(access, ann, role, allowed, denied):
    access.grant(ann, BOB.actor, role)

    access.require(BOB, allowed)
    with pytest.raises(Denied):
        access.require(BOB, denied)


def test_a_role_that_was_taken_away_ends_at_once_here(access, ann):
    access.grant(ann, BOB.actor, Role.VIEWER)
    access.require(BOB, Permission.DATA_READ)

    access.revoke(ann, BOB.actor)

    with pytest.raises(Denied):
        access.require(BOB, Permission.DATA_READ)


def test_a_role_in_one_project_is_none_in_another(access, ann):
    with pytest.raises(Denied):
        access.require(Context(actor=ann.actor, project="other"), Permission.DATA_READ)


def test_the_last_owner_stays(access, ann):
    with pytest.raises(Conflict, match="at least one owner"):
        access.revoke(ann, ann.actor)
    with pytest.raises(Conflict, match="at least one owner"):
        access.grant(ann, ann.actor, Role.VIEWER)

    access.require(ann, Permission.ADMIN)


def test_only_who_may_grant_roles_sees_them(access, ann):
    access.grant(ann, BOB.actor, Role.DEVELOPER)

    assert [(str(grant.actor), grant.role) for grant in access.grants(ann)] == [
        ("person:ann", Role.OWNER),
        ("person:bob", Role.DEVELOPER),
    ]
    with pytest.raises(Denied):
        access.grants(BOB)


def test_norias_own_services_act_as_operators(access, ann):
    access.require(ann.acting_as("loop-worker"), Permission.MODEL_PROMOTE)
    with pytest.raises(Denied):
        access.require(ann.acting_as("loop-worker"), Permission.ADMIN)
