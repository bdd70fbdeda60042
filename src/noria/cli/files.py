"""Finds loops, pipelines and datasets in a user's Python file or module.

A target is a file (`steps.py`, `shop/train.py`) or a module (`shop.train`), with or without `:name`. A file that stands
in a package is imported as the module it is there, so that its relative imports work; any other one as `python FILE`
would have it.
"""

import os
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from noria.core.errors import Invalid, NoriaError, NotFound
from noria.runs.rules import sentence

Kind = TypeVar("Kind")

_SUFFIX = ".py"
_LONGEST_LINE = 200
_NOT_TEXT = ("null bytes", "can't decode", "encoding")
"""Words of Python's about a file that is no text in UTF-8, or not in the encoding that it says."""
_MADE_BY = {"pipeline": "@nr.pipeline above a function", "loop": "loop = nr.Loop(...)"}


def load(target: str | Path) -> ModuleType:
    """Import the file or module that a target names.

    Raises:
        NotFound: there is no such file or module.
        Invalid: it cannot be imported; the sentence says in which line, and why.

    """
    text = str(target)
    path = Path(text)
    if _is_module_name(text) and not path.is_file():
        find_here()
        return _module(text)
    if not path.exists():
        raise NotFound("file", text, hint=_written(path) or "noria init writes one to begin with")
    _must_be_python(path)
    root, name = _as_in_package(Path(os.path.abspath(path)))  # noqa: PTH100 - resolve() would follow links, and absolute() keeps ".."
    return _file(path) if name is None else _module_of(path, root=root, name=name)


def all_of(module: ModuleType, kind: type[Kind]) -> dict[str, Kind]:
    """Return the module's values of a kind, by the names they have there."""
    return {name: value for name, value in vars(module).items() if isinstance(value, kind)}


def one_of(module: ModuleType, kind: type[Kind], name: str | None, *, what: str) -> Kind:
    """Return the value of that name, or the only one of its kind."""
    found = all_of(module, kind)
    if name in found:
        return found[name]
    made_by = f"write {_MADE_BY[what]}" if what in _MADE_BY else ""
    if name is not None and name in vars(module):
        raise Invalid(
            f"{name!r} in {module.__name__} is a {type(vars(module)[name]).__name__}, no {what}", hint=made_by
        )
    if name is not None:
        raise NotFound(what, name, known=found, hint="" if found else f"{module.__name__} has none: {made_by}")
    if not found:
        raise Invalid(f"{module.__name__} has no {what}", hint=made_by)
    if len(found) > 1:
        names = ", ".join(found)
        hint = f"name one of them after a colon, such as :{next(iter(found))}"
        raise Invalid(f"{module.__name__} has {len(found)} of kind {what} ({names})", hint=hint)
    return next(iter(found.values()))


def split(target: str) -> tuple[str, str | None]:
    """Split `file.py:name` or `package.module:name`; a name need not be there.

    >>> split("shop.train:work"), split("steps.py"), split("c:/steps.py")
    (('shop.train', 'work'), ('steps.py', None), ('c:/steps.py', None))
    """
    place, separator, name = target.rpartition(":")
    is_named = separator and (place.endswith(_SUFFIX) or _is_module_name(place)) and not {"/", "\\"} & set(name)
    return (place, name or None) if is_named else (target, None)


def find_here(bundle: Path | None = None) -> None:
    """Let modules of the present folder, and of its `src`, be imported; or those of a bundle before any others."""
    if bundle is not None:
        _put_first(bundle)
        return
    sources = Path.cwd() / "src"
    if sources.is_dir() and not (sources / "__init__.py").exists():
        _put_first(sources)
    _put_first(Path.cwd())


def _put_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _is_module_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split(".")) and not text.endswith(_SUFFIX)


def _module(name: str) -> ModuleType:
    """Import a module by its name; that a part of the name is not there is another thing than what it fails to import."""
    try:
        is_there = all(find_spec(".".join(name.split(".")[: end + 1])) for end in range(name.count(".") + 1))
    except ModuleNotFoundError as problem:  # a part of it is a module, and no package
        is_there = not (problem.name or "") or not f"{name}.".startswith(f"{problem.name}.")
    except (Exception, SystemExit) as problem:
        raise _unloadable(name, problem) from problem
    if not is_there:
        file = Path(*name.split(".")).with_suffix(_SUFFIX)
        raise NotFound(
            "module", name, hint=_written(file) or "name a file, such as steps.py, or a module as import has it"
        )
    try:
        return import_module(name)
    except (Exception, SystemExit) as problem:
        raise _unloadable(name, problem) from problem


def _as_in_package(path: Path) -> tuple[Path, str | None]:
    """Return the folder from which a file of a package is imported, and the module's name; None for any other file."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").exists() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, None if folder == path.parent else ".".join(parts)


def _module_of(path: Path, *, root: Path, name: str) -> ModuleType:
    """Import a file of a package as the module it is; what stands beside it is found last, as it was without a package."""
    _put_first(root)
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = _module(name)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).samefile(path):
        raise Invalid(
            f"{path} is the module {name}, and importing that finds {file}",
            hint="give the package another name, or run it where its own folder comes first",
        )
    return module


def _file(path: Path) -> ModuleType:
    """Run a file as a module named after it, with its folder on the path, as `python FILE` would have it."""
    _put_first(path.absolute().parent)
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module, before = module_from_spec(spec), sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        del sys.modules[path.stem]
        if before is not None:
            sys.modules[path.stem] = before
        raise _unloadable(str(path), problem) from problem
    return module


def _must_be_python(path: Path) -> None:
    """Raise `Invalid` for a folder, and for what no Python can be read from."""
    if path.is_dir():
        inside = [str(each) for each in sorted(path.glob(f"*{_SUFFIX}"))[:5]]
        hint = f"name a file in it, such as {', '.join(inside)}" if inside else "name a file that ends in .py"
        raise Invalid(f"{path} is a folder, no Python file", hint=hint)
    if path.suffix != _SUFFIX:
        hint = f"name a file that ends in {_SUFFIX}, or a module: package.module"
        raise Invalid(f"{path} is no Python file", hint=hint)
    try:
        path.open("rb").close()
    except OSError as problem:
        hint = "name a file that this user may read"
        raise Invalid(f"{path} cannot be read: {problem.strerror or problem}", hint=hint) from problem


def _unloadable(what: str, problem: BaseException) -> NoriaError:
    """Say in a sentence why users' code cannot be imported, and in which line of which file."""
    return Invalid(f"{what} cannot be loaded: {_where(problem)}{_reason(problem)}", hint=_way_out(what, problem))


def _reason(problem: BaseException) -> str:
    """Return what was wrong; of broken syntax, with the text of its line."""
    match problem:
        case SystemExit():
            return f"it asks the process to exit ({problem.code})"
        case SyntaxError():
            text = (problem.text or "").strip()[:_LONGEST_LINE]
            return f"{problem.msg or 'invalid syntax'}{f' in {text!r}' if text else ''}"
        case NoriaError():
            return problem.sentence
        case ModuleNotFoundError():
            return str(problem)
        case _:
            return sentence(problem)


def _way_out(what: str, problem: BaseException) -> str:
    """Return what helps against it."""
    hint = f"mend it; python {what} shows the whole traceback" if what.endswith(_SUFFIX) else "mend it"
    match problem:
        case SystemExit():
            hint = 'put what runs by itself under if __name__ == "__main__":'
        case NoriaError():
            hint = problem.hint or hint
        case ModuleNotFoundError(name=str(name)):
            hint = f"is {name!r} its name, and is it installed here? if not: pip install {name.partition('.')[0]}"
        case ImportError() if "no known parent package" in str(problem):
            module = f"{Path(what).absolute().parent.name}.{Path(what).stem}"
            hint = f"name the module: {module}:NAME; or make the folder a package, with a file __init__.py in it"
        case ImportError(name=str(name)):
            hint = f"is the name right, and is the version of {name} that is installed here? pip show {name}"
        case SyntaxError() if any(word in problem.msg for word in _NOT_TEXT):
            hint = "save it as text in UTF-8"
        case _:
            pass
    return hint


def _where(problem: BaseException) -> str:
    """Return the file and the line of users' code that an error comes from, nearest to the error."""
    if isinstance(problem, SyntaxError) and problem.filename and problem.lineno:
        return f"{Path(problem.filename).name}, line {problem.lineno}: "
    own = Path(__file__).parents[1]
    lines = [
        f"{Path(frame.filename).name}, line {frame.lineno}: "
        for frame in traceback.extract_tb(problem.__traceback__)
        if own not in Path(frame.filename).parents and not frame.filename.startswith("<")
    ]
    return lines[-1] if lines else ""


def _written(path: Path) -> str:
    """Offer the file or module that somebody may have meant."""
    if path.is_file():
        return f"did you mean {path}?"
    folder = path.parent if str(path.parent) else Path()
    near = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
    return f"there is {', '.join(map(str, near[:5]))}" if near else ""
