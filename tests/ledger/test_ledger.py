"""Laws of the ledger: order without gaps, nothing told without its state, nothing changed unnoticed."""

import threading
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, select, update

from noria.ledger import notes
from noria.ledger.model import FactKind
from noria.ledger.notes import Signer
from noria.ledger.service import Ledger
from noria.ledger.tables import checkpoints, facts, ledger_nodes


@pytest.fixture
def ledger(any_database, clock, ids):
    return Ledger(any_database, Signer(Ed25519PrivateKey.generate()), clock=clock, ids=ids)


def tell(ledger, database, context, count, *, subject="flights"):
    for number in range(count):
        database.write(
            lambda c, number=number: ledger.record(
                c,
                context,
                FactKind.DATASET_COMMITTED,
                subject=subject,
                payload={"number": number},
            ),
        )


def test_facts_get_positions_without_gaps_in_the_order_in_which_they_were_told(ledger, any_database, ann):
    tell(ledger, any_database, ann, 5)

    assert ledger.seal(limit=3) == 3
    assert ledger.seal() == 2
    assert ledger.seal() == 0

    assert [(fact.position, fact.payload["number"]) for fact in ledger.after(-1)] == [(n, n) for n in range(5)]


def test_a_fact_is_not_told_when_its_transaction_fails(ledger, any_database, ann):
    def half(connection):
        ledger.record(connection, ann, FactKind.DATASET_COMMITTED, subject="flights", payload={})
        raise KeyError("half")

    with pytest.raises(KeyError):
        any_database.write(half)

    assert ledger.seal() == 0


def test_sequencers_at_once_give_each_fact_one_position(ledger, any_database, ann):
    tell(ledger, any_database, ann, 40)

    def seal():
        while ledger.seal(limit=7):
            pass

    threads = [threading.Thread(target=seal) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [fact.position for fact in ledger.after(-1)] == list(range(40))
    assert ledger.audit().holds


def test_an_untouched_ledger_holds(ledger, any_database, ann):
    tell(ledger, any_database, ann, 12)
    ledger.checkpoint()
    tell(ledger, any_database, ann, 5)
    ledger.checkpoint()
    tell(ledger, any_database, ann, 1)

    audit = ledger.audit()

    assert audit.holds
    assert (audit.facts, audit.unsealed, audit.checkpoints) == (17, 1, 2)


def test_a_changed_fact_is_found(ledger, any_database, ann):
    tell(ledger, any_database, ann, 6)
    ledger.checkpoint()

    any_database.write(lambda c: c.execute(update(facts).where(facts.c.position == 2).values(actor="person:mallory")))

    assert "the facts are not those that the checkpoint at 6 facts was signed over" in ledger.audit().problems


def test_a_missing_fact_is_found(ledger, any_database, ann):
    tell(ledger, any_database, ann, 6)
    ledger.seal()

    any_database.write(lambda c: c.execute(delete(facts).where(facts.c.position == 2)))

    assert "fact 2 is missing: the next one is 3" in ledger.audit().problems


def test_a_tail_that_was_cut_with_its_tree_is_found_by_a_checkpoint_kept_elsewhere(ledger, any_database, ann):
    from noria.ledger.tables import ledger_heads

    tell(ledger, any_database, ann, 3)
    short = ledger.checkpoint()
    tell(ledger, any_database, ann, 3)
    kept = ledger.checkpoint()

    def cut(connection):
        connection.execute(delete(facts).where(facts.c.position >= 3))
        connection.execute(delete(checkpoints).where(checkpoints.c.size > 3))
        connection.execute(update(ledger_heads).values(size=3, root=short.root))
        connection.execute(delete(ledger_nodes).where(ledger_nodes.c.level > 1))

    any_database.write(cut)

    assert ledger.audit().holds
    assert not ledger.audit(kept=[kept.note]).holds


def test_a_checkpoint_signed_by_another_key_does_not_hold(ledger, any_database, ann):
    tell(ledger, any_database, ann, 2)
    mark = ledger.checkpoint()
    size, root = notes.contents(mark.note)
    forged = Signer(Ed25519PrivateKey.generate()).sign(size=size, root=root)

    any_database.write(lambda c: c.execute(update(checkpoints).values(note=forged)))

    assert ledger.audit().problems == ("the signature of the checkpoint at 2 facts does not hold",)


def test_a_note_with_a_changed_size_does_not_hold():
    signer = Signer(Ed25519PrivateKey.generate())
    note = signer.sign(size=10, root=bytes(32))

    assert signer.holds(note)
    assert not signer.holds(note.replace("\n10\n", "\n11\n"))


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    made = notes.load_or_make_key(tmp_path / "keys" / "ledger.key")

    again = notes.load_or_make_key(tmp_path / "keys" / "ledger.key")

    assert made.private_bytes_raw() == again.private_bytes_raw()
    assert (tmp_path / "keys" / "ledger.key").stat().st_mode & 0o077 == 0


def test_facts_about_a_subject_are_told_oldest_first(ledger, any_database, ann):
    tell(ledger, any_database, ann, 2, subject="a")
    tell(ledger, any_database, ann, 1, subject="b")

    assert [fact.payload["number"] for fact in ledger.about(ann, "a")] == [0, 1]


def test_times_come_back_in_utc_to_the_microsecond(ledger, any_database, ann, clock):
    clock.advance_to(datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC))
    tell(ledger, any_database, ann, 1)

    stored = any_database.read(lambda c: c.execute(select(facts.c.at)).scalar_one())

    assert stored == datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
