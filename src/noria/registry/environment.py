"""What a model was trained with: the interpreter, the platform and every installed distribution."""

import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from typing import Any

from noria.core import digests

_LIBRARY = "scikit-learn"


@cache
def environment() -> dict[str, Any]:
    """Return Python's version, the platform, and each distribution's version."""
    found = {dist.metadata["Name"]: dist.version for dist in distributions() if dist.metadata["Name"]}
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "distributions": dict(sorted(found.items(), key=lambda pair: pair[0].lower())),
    }


def other_library(trained: Mapping[str, Any]) -> str:
    """Say which scikit-learn a version was trained with and which one is here; nothing where both are the same."""
    before = trained.get("distributions", {}).get(_LIBRARY)
    here = environment()["distributions"].get(_LIBRARY)
    if before is None or before == here:
        return ""
    return f"{_LIBRARY} {before}, and here is {here or 'none'}"


@cache
def environment_digest() -> str:
    """Return the digest of the environment; two versions with the same one were trained with the same packages."""
    return digests.of_json(environment())
