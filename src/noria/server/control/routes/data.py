"""Datasets and their snapshots, the quarantine, and the signals of monitors."""

from typing import Annotated

from fastapi import APIRouter, Query

from noria.boot import Platform
from noria.core.context import Context
from noria.core.errors import Conflict
from noria.guards.model import Quarantined, QuarantineState
from noria.guards.rules import Choice
from noria.monitors.model import SignalsWanted
from noria.server.control.acting import Acting, Home
from noria.server.control.routes.asking import API, After, Limit, NameInPath, NameInQuery, WithRetired
from noria.server.control.shapes import data as shapes
from noria.server.control.shapes.shape import Text

router = APIRouter(prefix=API)
_Place = Annotated[str | None, Query(pattern="^[0-9]{1,9}[.][0-9]{1,9}$", description="the `next` of the page before")]


@router.get("/datasets", tags=["datasets"], summary="All datasets")
def list_datasets(home: Home, context: Acting, *, with_retired: WithRetired = False) -> shapes.Datasets:
    """Return each dataset that is not retired, with its newest snapshot."""
    found = home.datasets.datasets(context, with_retired=with_retired)
    return shapes.Datasets(items=[_dataset(home, context, known.name) for known in found])


@router.get("/datasets/{name}", tags=["datasets"], summary="One dataset")
def get_dataset(home: Home, context: Acting, name: NameInPath) -> shapes.Dataset:
    """Return a dataset."""
    return _dataset(home, context, name)


@router.get("/datasets/{name}/snapshots", tags=["datasets"], summary="A dataset's snapshots")
def list_snapshots(home: Home, context: Acting, name: NameInPath) -> shapes.Snapshots:
    """Return a dataset's snapshots, oldest first."""
    found = home.datasets.snapshots(context, name)
    return shapes.Snapshots(items=[shapes.Snapshot.model_validate(snapshot) for snapshot in found])


@router.get("/quarantine", tags=["quarantine"], summary="What is or was in quarantine, by finding")
def list_quarantine(home: Home, context: Acting, dataset: NameInQuery = None) -> shapes.HeldGroups:
    """Return what guards held back, in all datasets or in one, and how it stands."""
    if dataset is not None:
        home.datasets.dataset(context, dataset)
    found = home.guards.groups(context, dataset)
    return shapes.HeldGroups(items=[shapes.HeldGroup.model_validate(group) for group in found])


@router.get("/quarantine/{dataset}", tags=["quarantine"], summary="Single held rows and labels of a dataset")
def list_held(
    home: Home,
    context: Acting,
    dataset: NameInPath,
    *,
    source: NameInQuery = None,
    guard: NameInQuery = None,
    cycle: NameInQuery = None,
    key: Annotated[Text | None, Query()] = None,
    state: QuarantineState = QuarantineState.HELD,
    after: _Place = None,
    limit: Limit = 50,
) -> shapes.HeldPage:
    """Return rows and labels in the order in which they were held, a page at a time."""
    home.datasets.dataset(context, dataset)
    last = None if after is None else (int(after.partition(".")[0]), int(after.partition(".")[2]))
    choice = Choice(source=source, guard=guard, cycle=cycle, key=key, state=state, limit=limit, after=last)
    found = home.guards.entries(context, dataset, choice)
    items = [shapes.Held.model_validate(entry) for entry in found]
    return shapes.HeldPage(items=items, next=_place(found[-1]) if len(found) == limit else None)


@router.post("/quarantine/{dataset}/release", tags=["quarantine"], summary="Let held rows be learned from again")
def release(home: Home, context: Acting, dataset: NameInPath, asked: shapes.Chosen) -> shapes.Released:
    """Let what is chosen be read again; guards do not judge it once more."""
    home.datasets.dataset(context, dataset)
    count = home.guards.release(context, dataset, asked.choice(), reason=asked.reason)
    return shapes.Released(dataset=dataset, which=asked.choice().words(), released=count)


@router.post("/quarantine/{dataset}/erase", tags=["quarantine"], summary="Remove held rows from every snapshot")
def erase(home: Home, context: Acting, dataset: NameInPath, asked: shapes.Erasing) -> shapes.Erased:
    """Remove what is named, rows with their labels or labels alone, from every snapshot; it cannot be undone."""
    home.datasets.dataset(context, dataset)
    meant = len(home.guards.entries(context, dataset, asked.choice()))
    if meant not in (0, asked.count):
        raise Conflict(f"{meant:,} rows and labels are meant, not {asked.count:,}", hint="look at them, and ask again")
    done = home.guards.erase(context, dataset, asked.choice(), reason=asked.reason)
    return shapes.Erased(
        dataset=dataset,
        which=asked.choice().words(),
        rows=done.rows,
        labels=done.labels,
        snapshots=done.snapshots,
        commitment=done.commitment,
    )


@router.get("/signals", tags=["signals"], summary="What monitors have seen move")
def list_signals(
    home: Home, context: Acting, loop: NameInQuery = None, after: After = None, limit: Limit = 50
) -> shapes.Signals:
    """Return signals, of all loops or of one, newest first, a page at a time."""
    found = home.monitors.page(context, SignalsWanted(subject=loop, limit=limit), after=after)
    items = [
        shapes.Signal(id=each.id, raised_at=each.raised_at, **{name: getattr(each.signal, name) for name in _SIGNAL})
        for each in found
    ]
    return shapes.Signals(items=items, next=items[-1].id if len(items) == limit else None)


_SIGNAL = ("subject", "kind", "value", "threshold", "words")


def _dataset(home: Platform, context: Context, name: str) -> shapes.Dataset:
    declared, latest = home.datasets.dataset(context, name), home.datasets.latest(context, name)
    return shapes.Dataset(
        name=declared.name,
        key=declared.key,
        time=declared.time,
        label=declared.label,
        latest=None if latest is None else shapes.Snapshot.model_validate(latest),
    )


def _place(entry: Quarantined) -> str:
    return f"{entry.held_in}.{entry.place}"
