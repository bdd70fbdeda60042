"""Every error Noria raises on purpose, in one tree.

NoriaError
|-- Invalid            what was given cannot be used as it is          422
|   |-- BadData        a frame or file that a dataset refuses
|   `-- BadPipeline    a step or pipeline that cannot be what it says
|-- NotFound           nothing has that name                           404
|-- Denied             the actor lacks a permission                    403
|-- ReadOnly           this process may only read the home             403
|-- Conflict           the world moved, or says otherwise              409
|   |-- Stale          a compare-and-set lost its race
|   |-- LeaseLost      somebody else holds the work now
|   |-- CodeChanged    a finished step's code is not what it was
|   |-- Retired        it was retired, and does nothing              410
|   `-- CannotServe    a version is not there in full, or does not score as it was judged
|-- StepFailed         a user's step raised                            500
|-- ModelFailed        a version could not score the rows              500
|-- Unavailable        worth trying again: busy, not reachable         503
|   |-- TimedOut       no answer came in time                          504
|   `-- NotStored      the disk did not take what was to be kept       507
|-- NotInstalled       an optional extra is missing                    501
`-- Corrupt            stored bytes are not what was stored            500

Each has a stable `code`, an HTTP `status`, a sentence, and a `hint` that names the way out.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import ClassVar

_CLOSE = 0.78
"""How alike two names are, by `difflib`, of which one is a slip of the other."""
_NO_SYNONYMS: Mapping[str, str] = MappingProxyType({})


class NoriaError(Exception):
    """Any error that Noria raises on purpose: a sentence, and a hint that names the way out."""

    code: ClassVar[str] = "noria"
    status: ClassVar[int] = 500
    retriable: ClassVar[bool] = False

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\nhint: {self.hint}" if self.hint else self.sentence


class Invalid(NoriaError):
    """What was given cannot be used as it is."""

    code = "invalid"
    status = 422


class BadData(Invalid):
    """A frame or a file that a dataset refuses; nothing was committed."""

    code = "bad-data"


class BadPipeline(Invalid):
    """A step or a pipeline that cannot be what it says."""

    code = "bad-pipeline"


class NotFound(NoriaError):
    """Nothing of that kind has that name."""

    code = "not-found"
    status = 404

    def __init__(self, kind: str, name: object, *, known: Iterable[object] = (), hint: str = "") -> None:
        super().__init__(f"no {kind} named {str(name)!r}", hint=hint or nearest(str(name), known))
        self.kind = kind
        self.name = name


class Denied(NoriaError):
    """The actor lacks the permission that the verb asks for."""

    code = "denied"
    status = 403

    def __init__(self, actor: str, permission: str, project: str) -> None:
        super().__init__(
            f"{actor} may not {permission} in project {project!r}",
            hint="ask an owner of the project for a role that includes it",
        )


class ReadOnly(NoriaError):
    """This process may only read the home, and the verb would write to it."""

    code = "read-only"
    status = 403


class Conflict(NoriaError):
    """The world moved on, or says otherwise."""

    code = "conflict"
    status = 409


class Retired(Conflict):
    """It was retired, and does nothing until it is restored."""

    code = "retired"
    status = 410

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name!r} is retired", hint=f"noria restore {kind} {name}")


class Stale(Conflict):
    """A compare-and-set lost its race: what was read is no longer so."""

    code = "stale"
    retriable = True


class LeaseLost(Conflict):
    """Somebody else holds the work now; nothing of ours may be committed."""

    code = "lease-lost"


class CodeChanged(Conflict):
    """The code of a finished step is not what it was when the step finished."""

    code = "code-changed"


class CannotServe(Conflict):
    """A version may not answer: its bytes are not all there, or it does not give the scores that it was judged by."""

    code = "cannot-serve"


class StepFailed(NoriaError):
    """A user's step raised on its last attempt; the cause is chained and its traceback kept."""

    code = "step-failed"


class ModelFailed(NoriaError):
    """A version could not score the rows that it was asked about."""

    code = "model-failed"

    def __init__(self, version: str, reason: str, *, hint: str = "") -> None:
        super().__init__(
            f"{version} could not score the rows: {reason}",
            hint=hint or "send rows like those it was trained on; if they are, look into its preprocess",
        )


class Unavailable(NoriaError):
    """Worth trying again: busy, not reachable."""

    code = "unavailable"
    status = 503
    retriable = True


class TimedOut(Unavailable):
    """No answer came in time; what was asked may still be worked on."""

    code = "timed-out"
    status = 504


class NotStored(Unavailable):
    """The disk did not take what was to be kept: it is full, or does not work; nothing was acknowledged."""

    code = "not-stored"
    status = 507


class NotInstalled(NoriaError):
    """An optional extra is missing."""

    code = "not-installed"
    status = 501

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed", hint=f"pip install 'noria[{extra}]'")


class Corrupt(NoriaError):
    """Stored bytes are not what was stored."""

    code = "corrupt"


def nearest(name: str, known: Iterable[object], *, synonyms: Mapping[str, str] = _NO_SYNONYMS) -> str:
    """Offer the known name that was surely meant, or else the names there are, or nothing.

    Meant is a name that differs in case or punctuation alone, or by a slip of the hand. `synonyms` are other names,
    spelled without punctuation, of what may be known; one that stands for nothing known is no slip.

    >>> nearest("frauds", ["fraud", "churn"])
    "did you mean 'fraud'?"
    >>> nearest("pr_auc", ["auc", "mae"])
    'known: auc, mae'
    """
    names = [str(other) for other in known]
    plain = {_plain(other): other for other in names}
    meant = plain.get(_plain(name))
    if _plain(name) in synonyms:
        meant = meant or next((other for other in names if other == synonyms[_plain(name)]), None)
    elif meant is None:
        close = get_close_matches(_plain(name), plain, n=1, cutoff=_CLOSE)
        meant = plain[close[0]] if close else None
    if meant is not None:
        return f"did you mean {meant!r}?"
    return "known: " + ", ".join(sorted(names)[:10]) if names else ""


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name
