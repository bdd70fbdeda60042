"""Items of a map that are tried several at a time, in threads of the run's process."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context

from noria.runs.tasks import Taken, Task


def take_together(
    tasks: Sequence[Task], known: Sequence[Taken | None], *, concurrency: int, attempt: Callable[[Task], Taken]
) -> list[tuple[Task, Taken]]:
    """Try the tasks that are not known yet; return each with what came of it, or the first one that failed."""

    def attempt_one(task: Task) -> Taken:
        taken = attempt(task)
        if taken[1] is not None:
            raise _ItemFailed(taken)
        return taken

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="noria-map")
    try:
        futures = [
            None if found else pool.submit(copy_context().run, attempt_one, task)
            for task, found in zip(tasks, known, strict=True)
        ]
        _end_all([future for future in futures if future is not None])
    finally:  # on Ctrl-C nobody waits here for what is under way: it may go on for hours
        pool.shutdown(wait=False, cancel_futures=True)
    found = [(task, one or _result(future)) for task, one, future in zip(tasks, known, futures, strict=True)]
    return _through_first_problem(found)


class _ItemFailed(Exception):
    """Ends a concurrent map: the items that have not begun are not begun."""

    def __init__(self, taken: Taken) -> None:
        super().__init__("an item failed")
        self.taken = taken


def _end_all(futures: Sequence["Future[Taken]"]) -> None:
    """Wait for all; after the first that failed, those that have not begun are left out."""
    wait(futures, return_when=FIRST_EXCEPTION)
    for future in futures:
        future.cancel()
    wait(futures)


def _result(future: "Future[Taken] | None") -> Taken | None:
    """Return what came of an item, None if it was not begun; what the engine itself raised is raised."""
    if future is None or future.cancelled():
        return None
    try:
        return future.result()
    except _ItemFailed as problem:
        return problem.taken


def _through_first_problem(found: Iterable[tuple[Task, Taken | None]]) -> list[tuple[Task, Taken]]:
    """Return what was taken, with the first failed one at the end; one that was not begun comes after a failure."""
    taken = [(task, one) for task, one in found if one is not None]
    failed = next((pair for pair in taken if pair[1][1] is not None), None)
    return taken if failed is None else [failed]
