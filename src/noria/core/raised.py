"""Says in words what code that is not ours has raised, and where: a sentence in place of a traceback."""

import traceback
from pathlib import Path

from noria.core.errors import NoriaError
from noria.core.masking import masked

RAISED = (Exception, SystemExit)
"""What users' code may raise; it may also ask the process to exit."""


def in_words(raised: BaseException) -> str:
    """Return what was raised, in a line; of what was not foreseen also its kind, and where in the code it was.

    >>> in_words(NoriaError("no metric named 'aux'", hint="did you mean 'auc'?"))
    "no metric named 'aux' (did you mean 'auc'?)"
    """
    if isinstance(raised, NoriaError):
        return masked(f"{raised.sentence} ({raised.hint})" if raised.hint else raised.sentence)
    where = place_of(raised)
    return f"{kind_of(raised)} ({where})" if where else kind_of(raised)


def kind_of(raised: BaseException) -> str:
    """Return the kind of what was raised, and the first line of what it says."""
    said = masked(str(raised)).strip().splitlines()
    return f"{type(raised).__name__}: {said[0]}" if said else type(raised).__name__


def place_of(raised: BaseException, *, under: Path | None = None) -> str:
    """Return the file and line in which it was raised; the last one in a folder, where there is one."""
    frames = traceback.extract_tb(raised.__traceback__)
    inside = [frame for frame in frames if under is not None and Path(frame.filename).is_relative_to(under)]
    chosen = (inside or ([] if under is not None else frames))[-1:]
    return "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in chosen)
