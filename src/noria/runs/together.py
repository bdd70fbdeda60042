"""Items of a map that are tried several at a time, in threads of the run's process."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import suppress
from contextvars import Context, copy_context

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

    unknown = [task for task, one in zip(tasks, known, strict=True) if one is None]
    futures = {task.id: Future[Taken]() for task in unknown}
    waiting = deque((task, futures[task.id], copy_context()) for task in unknown)

    def attempt_in_turn() -> None:
        while waiting:
            with suppress(IndexError):  # another thread has taken the last one
                task, future, context = waiting.popleft()
                _fulfil(future, context, attempt_one, task)

    for _ in range(min(concurrency, len(unknown))):
        threading.Thread(target=attempt_in_turn, name="noria-map", daemon=True).start()
    try:
        wait(futures.values(), return_when=FIRST_EXCEPTION)
    finally:  # on Ctrl-C nobody waits for what is under way, not even the end of the process: it may go on for hours
        for future in futures.values():
            future.cancel()
    wait(futures.values())
    found = [(task, one or _result(futures[task.id])) for task, one in zip(tasks, known, strict=True)]
    return _through_first_problem(found)


class _ItemFailed(Exception):
    """Ends a concurrent map: the items that have not begun are not begun."""

    def __init__(self, taken: Taken) -> None:
        super().__init__("an item failed")
        self.taken = taken


def _fulfil(future: "Future[Taken]", context: Context, attempt: Callable[[Task], Taken], task: Task) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(context.run(attempt, task))
        except BaseException as problem:  # noqa: BLE001 - it is raised where the future is asked
            future.set_exception(problem)


def _result(future: "Future[Taken]") -> Taken | None:
    """Return what came of an item, None if it was not begun; what the engine itself raised is raised."""
    if future.cancelled():
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
