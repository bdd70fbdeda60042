"""The process in a pod: `python -m noria.adapters.executors.kubernetes_child BLOBS TRY MESSAGE_FILE`.

It gets its try from the blobs and leaves there how the try ended; the name of that it leaves in the pod's termination
message. What the step writes is the pod's log, and how far it is a marked line of it.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

import msgspec

from noria.adapters.codecs import standard
from noria.adapters.executors.child import Child
from noria.adapters.executors.packing import Packed
from noria.adapters.executors.sending import Said, Try
from noria.core.codecs import Encoded
from noria.core.errors import NotFound
from noria.core.masking import masked
from noria.runs import rules
from noria.runs.model import Artifact
from noria.runs.values import Values
from noria.store.blobs import open_blobs

MARK = "\x1e"


def main() -> None:
    """Execute one try, and end with this process whatever still runs of it."""
    address, digest, message_file = sys.argv[1:]
    values = Values(standard(), open_blobs(address))
    asked = msgspec.msgpack.decode(values.blobs.get(digest), type=Try)
    child = Child(
        values.codecs,
        get=lambda packed: values.read(artifact_of(packed)),
        put=lambda value: packed_artifact(values.put(value) if isinstance(value, Encoded) else value),
    )
    out = _stdout()
    try:
        for kind, said in child.perform(asked, lambda: _bundle(values, asked)):
            if kind == "ended":
                Path(message_file).write_text(values.blobs.put(msgspec.msgpack.encode(said)), encoding="utf-8")
            else:
                _write(out, (kind, said))
    except Exception as problem:  # noqa: BLE001 - storage that takes no more: the pod's log is the last place to say so
        _write(out, ("words", f"{masked(traceback.format_exc())}{rules.sentence(problem)}\n"))
        os._exit(1)
    os._exit(0)


def packed_artifact(artifact: Artifact) -> Packed:
    """Return what leads to a stored value."""
    return {"codec": artifact.codec, "digest": artifact.digest, "blob": artifact.blob, "inline": artifact.inline}


def artifact_of(packed: Packed) -> Artifact:
    """Return the stored value that this leads to."""
    return Artifact(**packed)


def _bundle(values: Values, asked: Try) -> bytes | None:
    try:
        return None if asked.bundle is None else values.blobs.get(asked.bundle)
    except NotFound as problem:
        raise NotFound(
            "bundle", asked.bundle, hint="was it collected as garbage, or is this another store? run the step again"
        ) from problem


def _stdout() -> TextIO:
    """Return this process's output; what Python code writes from now on reaches it by way of the step's log alone."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="replace", newline="\n")
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    return out


def _write(out: TextIO, said: Said) -> None:
    kind, value = said
    if kind == "words":
        out.write(value)
    elif kind == "progress":
        out.write(f"{MARK}{json.dumps(value)}\n")
    out.flush()


def heard(log: str) -> list[Said]:
    """Return what whole lines of a pod's log say: words, and how far the step is."""
    said: list[Said] = []
    words, *marked = log.split(MARK)
    said.append(("words", words))
    for part in marked:
        line, _, words = part.partition("\n")
        said.extend((_progress(line), ("words", words)))
    return said


def _progress(line: str) -> Said:
    try:
        told: Any = json.loads(line)
    except ValueError:  # a step that writes the mark itself
        return "words", f"{MARK}{line}\n"
    return "progress", told


if __name__ == "__main__":
    main()
