"""Says in words why a user's Python file could not be read: the file, the line, and what is wrong there."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from noria.core.errors import Invalid, NoriaError, NotFound
from noria.core.raised import RAISED, kind_of, place_of


def must_be_readable(path: Path) -> None:
    """Raise unless there is a file that can be read as Python text."""
    if not path.exists():
        raise NotFound("file", path, hint="noria init writes one to begin with")
    if not path.is_file():
        raise Invalid(f"{path} is a folder, not a Python file", hint=f"name a file in it, such as {path / 'loop.py'}")
    try:
        path.open("rb").close()
    except OSError as problem:
        raise Invalid(f"{path} cannot be read: {problem.strerror}", hint="look at its rights: ls -l") from problem


@contextmanager
def said_in_words(path: Path) -> Generator[None]:
    """Run the code of a file; raises `Invalid`, with the place, for whatever that raises."""
    try:
        yield
    except SyntaxError as problem:
        raise _syntax(path, problem) from problem
    except ImportError as problem:
        hint = f"pip install {problem.name.partition('.')[0]}, or is it misspelt?" if problem.name else _hint(path)
        raise Invalid(f"{_where(path, problem)}: {problem}", hint=hint) from problem
    except NoriaError as problem:
        raise Invalid(f"{_where(path, problem)}: {problem.sentence}", hint=problem.hint) from problem
    except RAISED as problem:
        words = "it asks the process to exit" if isinstance(problem, SystemExit) else kind_of(problem)
        raise Invalid(f"{_where(path, problem)}: {words}", hint=_hint(path)) from problem


def _syntax(path: Path, problem: SyntaxError) -> Invalid:
    """Return a syntax error of the file, or of a module that it imports, with the line as it is written."""
    file = Path(problem.filename).name if problem.filename else path.name
    if problem.lineno is None:
        return Invalid(f"{path} is no Python text: {problem.msg}", hint="save it as UTF-8")
    written = (problem.text or "").strip()
    line = f" in {written!r}" if written else ""
    return Invalid(f"{file}, line {problem.lineno}: {problem.msg}{line}", hint="mend that line and start again")


def _where(path: Path, problem: BaseException) -> str:
    """Return the file and line that were being run: in the file, or in a module beside it."""
    file, _, line = place_of(problem, under=path.absolute().parent).partition(":")
    return f"{file}, line {line}" if line else path.name


def _hint(path: Path) -> str:
    return f"python {path} shows the whole traceback"
