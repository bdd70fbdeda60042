"""Erases somebody's rows wherever they are: log, snapshots, quarantine, results of runs, and what deletion leaves."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from noria.core.context import Context
from noria.core.errors import Invalid
from noria.guards.rules import Choice
from noria.loop.turn import Rooms
from noria.store.scrubbing import scrub


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was erased of some keys, or would be; `models` are the versions that may have learned from their rows."""

    dataset: str
    rows: int
    predictions: int
    feedback: int
    quarantined: int
    results: int
    golden_rows: int
    models: tuple[str, ...]
    commitment: str | None = None
    scrubbed: bool = False

    def words(self) -> str:
        """Return it as a person would say it."""
        counted = {name: value for name, value in asdict(self).items() if isinstance(value, int) and value}
        return ", ".join(f"{value:,} {name}" for name, value in counted.items()) or "nothing"


def forget(
    rooms: Rooms, context: Context, dataset: str, keys: Sequence[str], *, reason: str, dry_run: bool = False
) -> Forgotten:
    """Erase the rows of some keys and all that is kept of them; it cannot be undone. With `dry_run`, only count.

    The log goes first, so that nothing lands again; then snapshots and quarantine, with the fact; then the results of
    runs, which nothing can make again by then. What a crash cut short is done by erasing again. What a run holds in
    memory meanwhile it may still store: erase again when it has ended.
    """
    if not keys or not all(keys):
        raise Invalid("there is no key to erase", hint="name one: noria erase DATASET --key KEY")
    declared = rooms.datasets.dataset(context, dataset)
    models = _learned_from(rooms, context, dataset, keys)
    rows = len(rooms.datasets.known_keys(context, dataset, keys))
    quarantined = sum(len(rooms.guards.entries(context, dataset, Choice(key=key, state=None))) for key in keys)
    logged = [
        rooms.landings.erase(context, endpoint, keys, dry_run=dry_run)
        for endpoint in rooms.endpoints.all(context, with_retired=True)
        if endpoint.dataset == dataset
    ]
    erasure = None if dry_run else rooms.guards.erase_keys(context, dataset, keys, reason=reason)
    results = rooms.runs.erase(context, keys, column=declared.key, dry_run=dry_run)
    answering = {each.model for each in rooms.endpoints.all(context, with_retired=True) if each.dataset == dataset}
    golden_rows = sum(rooms.prover.erase(context.project, model, keys, dry_run=dry_run) for model in sorted(answering))
    return Forgotten(
        dataset=dataset,
        rows=rows,
        predictions=sum(each.predictions for each in logged),
        feedback=sum(each.feedback for each in logged),
        quarantined=quarantined,
        results=results,
        golden_rows=golden_rows,
        models=models,
        commitment=None if erasure is None else erasure.commitment,
        scrubbed=not dry_run and scrub(rooms.database),
    )


def _learned_from(rooms: Rooms, context: Context, dataset: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the model versions whose snapshot has a row of the keys: they may have learned from it."""
    first = rooms.datasets.first_with(context, dataset, keys)
    if first is None:
        return ()
    numbers = {snapshot.id: snapshot.number for snapshot in rooms.datasets.snapshots(context, dataset)}
    versions = (
        version
        for model in rooms.registry.models(context, with_retired=True)
        for version in rooms.registry.versions(context, model)
    )
    return tuple(str(version) for version in versions if numbers.get(version.snapshot, 0) >= first)
