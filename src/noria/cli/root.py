"""The tree of commands; the module of a command is loaded when it is called."""

from importlib import import_module

import click

from noria.version import __version__

_COMMANDS = {
    "init": ("noria.cli.init:init", "Write a small loop into this folder, ready to run and to edit."),
    "up": ("noria.cli.up:up", "Run the whole circle here: API and pages, gateway, worker; one terminal."),
    "server": ("noria.server.control.command:server", "Serve the control API and the pages."),
    "worker": ("noria.cli.working:worker", "Turn the loops of Python files."),
    "gateway": ("noria.server.gateway.command:gateway", "Answer predictions and take feedback over HTTP."),
    "demo": ("noria.cli.demo.command:demo", "Replay the flights of 2013 through five retraining policies."),
    "run": ("noria.cli.runs:run", "Run a pipeline of a Python file."),
    "submit": ("noria.cli.queue:submit", "Let a pipeline wait for a worker."),
    "work": ("noria.cli.queue:work", "Execute the runs that wait."),
    "runs": ("noria.cli.runs:runs", "List runs, the newest first; show one with its cost."),
    "logs": ("noria.cli.logs:logs", "Print what the steps of a run wrote; follow them."),
    "rerun": ("noria.cli.runs:rerun", "Run a run again, reusing what is the same."),
    "cancel": ("noria.cli.runs:cancel", "End a run before its next step."),
    "pause": ("noria.cli.runs:pause", "Let a run rest before its next step."),
    "resume": ("noria.cli.runs:resume", "Let a failed or stopped run go on."),
    "data": ("noria.cli.data:data", "Push, list, show and compare datasets."),
    "schema": ("noria.cli.schemas:schema", "Show, propose and approve what a dataset's rows may be."),
    "quarantine": ("noria.cli.quarantine:quarantine", "Look at what guards hold back, release it or erase it."),
    "erase": ("noria.cli.erase:erase", "Erase somebody's rows from everything that is kept."),
    "loop": ("noria.cli.loops:loop", "Start loops, and see how they stand."),
    "cycles": ("noria.cli.loops:cycles", "List the turns of the loops, with outcomes and reasons."),
    "review": ("noria.cli.review:review", "See which candidates wait for a person; approve or refuse them."),
    "doctor": ("noria.cli.doctor:doctor", "Say what is wrong and what waits for a person."),
    "models": ("noria.cli.models:models", "List models and their versions."),
    "rollouts": ("noria.cli.rollouts:rollouts", "List candidates on their way in, and how the others ended."),
    "rollout": ("noria.cli.rollouts:rollout", "Take a candidate back."),
    "promote": ("noria.cli.models:promote", "Make a version the champion."),
    "rollback": ("noria.cli.models:rollback", "Give the place back to the champion before."),
    "why": ("noria.cli.models:why", "Tell in words why a version exists and who decided what about it."),
    "retire": ("noria.cli.removing:retire", "Hide what is no longer wanted; a loop is paused, too."),
    "restore": ("noria.cli.removing:restore", "Show what was retired again."),
    "retired": ("noria.cli.removing:retired", "List what is retired."),
    "remove": ("noria.cli.removing:remove", "Delete a loop, dataset, model, endpoint or run for good."),
    "gc": ("noria.cli.storage:gc", "Take away stored bytes that nothing refers to."),
    "audit": ("noria.cli.audit:audit", "Check the ledger."),
}


class Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return all names, in the order of the circle."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own signature
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        room, _, name = _COMMANDS[cmd_name][0].partition(":")
        return getattr(import_module(room), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        """Describe all commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Offer the nearest name for one that is not there."""
        from noria.core.errors import nearest  # noqa: PLC0415 - only on the way out

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as problem:
            hint = nearest(args[0], _COMMANDS)
            raise click.UsageError(f"{problem.message} {hint}", ctx=ctx) from problem


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="noria %(version)s")
@click.option("--supervised", is_flag=True, hidden=True, help="End when standard input does: `noria up` holds it.")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error that nobody foresaw.")
def noria(supervised: bool, traceback: bool) -> None:  # noqa: ARG001, FBT001 - click's flags; `main` reads the second
    """Continuous training: data arrives, is guarded, trained on, judged, promoted or refused; and again."""
    if supervised:
        from noria.cli.orphans import end_with_parent  # noqa: PLC0415 - only a child of `noria up` needs it

        end_with_parent()
