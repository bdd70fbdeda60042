"""Secrets: what a step is given is where one stands, never the secret itself; the step reads it where it runs."""

import os
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

from noria.core.errors import Invalid, NotFound
from noria.core.masking import hide

FORMS = "env:NAME for an environment variable, or file:/path for a file"
"""How a reference is written."""


class Secret:
    """A reference to a secret, such as `env:DB_PASSWORD`; what is stored, shown and hashed is the reference alone."""

    __slots__ = ("reference",)

    reference: str

    def __init__(self, reference: str) -> None:
        """Raise `Invalid` for what is no reference; the error does not repeat it, for it may be the secret itself."""
        kind, separator, place = (
            reference.partition(":") if isinstance(cast("object", reference), str) else ("", "", "")
        )
        is_env = kind == "env" and place == place.strip() and "=" not in place
        if not (separator and place and "\x00" not in place and (is_env or kind == "file")):
            raise Invalid("a secret is given by where it stands, and not as it is", hint=f"write {FORMS}")
        object.__setattr__(self, "reference", reference)

    @classmethod
    def from_text(cls, text: str) -> "Secret":
        """Return what a text on the command line means."""
        return cls(text)

    def reveal(self) -> str:
        """Read the secret, here and now; from then on this process masks it in what runs print, log and raise.

        A line break at the end of a file is no part of it.

        Raises:
            NotFound: there is no such variable or file here.
            Invalid: it is empty, or no text in UTF-8, or its file cannot be read.

        """
        kind, _, place = self.reference.partition(":")
        found = _variable(place) if kind == "env" else _content(place)
        if not found:
            raise Invalid(f"the secret {self.reference} is empty", hint="set it where the step runs")
        hide(found)
        return found

    def __repr__(self) -> str:
        return f"nr.secret({self.reference!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash((Secret, self.reference))

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (self.reference,)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a secret cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a secret cannot be changed: {name}")


def secret(reference: str) -> Secret:
    """Return a parameter that leads to a secret: `env:NAME`, an environment variable, or `file:/path`, a file.

    A step or a pipeline takes it (annotated `nr.Secret`), and a step reads it by `reveal()`. Raises `Invalid` for what is
    no reference.
    """
    return Secret(reference)


def asks_for_secret(annotation: Any) -> bool:  # noqa: ANN401 - any annotation
    """Say whether a value of an annotation is, or may hold, a secret: what was given instead is not repeated in errors."""
    return annotation is Secret or any(asks_for_secret(each) for each in get_args(annotation))


def _variable(name: str) -> str:
    found = os.environ.get(name)  # noqa: TID251 - no setting: whoever wrote the step names it, and it is read where that runs
    if found is None:
        hint = f"set {name} where the step runs: for this process, for noria work, or in the pods of a cluster"
        raise NotFound("environment variable", name, hint=hint)
    try:
        found.encode()
    except UnicodeEncodeError:
        raise Invalid(f"the environment variable {name} is no text in UTF-8", hint="set it as text") from None
    return found


def _content(place: str) -> str:
    try:
        content = Path(place).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        hint = "put it where the step runs: on this machine, at noria work, or in the pods of a cluster"
        raise NotFound("file of a secret", place, hint=hint) from None
    except OSError as problem:
        said = problem.strerror or type(problem).__name__
        raise Invalid(
            f"the secret file {place} cannot be read: {said}", hint="let the step's process read it"
        ) from None
    except UnicodeDecodeError:
        raise Invalid(f"the secret file {place} is no text in UTF-8", hint="keep it there as text") from None
    return content.removesuffix("\n")
