"""Whether users' modules are being imported right now only to find a step in them: none may start a run meanwhile."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from noria.core.errors import BadPipeline

GUARD = 'put what runs the pipeline under `if __name__ == "__main__":`'

_is_importing = False


@contextmanager
def importing() -> Generator[None]:
    """Say so, as long as it lasts."""
    global _is_importing  # noqa: PLW0603 - imports are the process's own
    _is_importing = True
    try:
        yield
    finally:
        _is_importing = False


def refuse_while_importing() -> None:
    """Raise instead of starting a run in a script that is imported to find its steps: it would never end."""
    if _is_importing or _is_starting():
        raise BadPipeline("a script starts a run while a process that executes its steps is importing it", hint=GUARD)


def _is_starting() -> bool:
    """Say whether this is a process of multiprocessing that is importing its parent's script; looked at, not loaded."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and getattr(process.current_process(), "_inheriting", False)
