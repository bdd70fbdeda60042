"""The command line: `noria`."""

import sys

from noria.core.errors import NoriaError

_TRACEBACK = "--traceback"


def main() -> None:
    """Run the command that the arguments name; errors become one sentence and a hint, and exit status 1.

    So does what nobody foresaw, in Noria or in code that it called; `noria --traceback COMMAND` shows where it was.
    """
    from noria.cli.root import noria  # noqa: PLC0415 - click is loaded only when a command runs

    try:
        noria(prog_name="noria")
    except NoriaError as problem:
        sys.stderr.write(f"error: {problem.sentence}\n")
        if problem.hint:
            sys.stderr.write(f"hint: {problem.hint}\n")
        sys.exit(1)
    except Exception as problem:
        if _TRACEBACK in sys.argv[1:2]:
            raise
        from noria.core.raised import in_words  # noqa: PLC0415 - only on the way out

        sys.stderr.write(f"error: {in_words(problem)}\nhint: noria {_TRACEBACK} {' '.join(sys.argv[1:])} shows where\n")
        sys.exit(1)
