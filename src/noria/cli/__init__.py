"""The command line: `noria`."""

import sys

from noria.core.errors import NoriaError


def main() -> None:
    """Run the command that the arguments name; errors become one sentence and a hint, and exit status 1."""
    from noria.cli.root import noria  # noqa: PLC0415 - click is loaded only when a command runs

    try:
        noria(prog_name="noria")
    except NoriaError as problem:
        sys.stderr.write(f"error: {problem.sentence}\n")
        if problem.hint:
            sys.stderr.write(f"hint: {problem.hint}\n")
        sys.exit(1)
