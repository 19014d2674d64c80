"""`pipecat workers …`: all of `pmw` as a command of Pipecat's own command line.

Pipecat's program mounts the Typer apps of the entry-point group `pipecat_cli.extensions`,
and imports them whenever it runs: so this one is empty until somebody asks for it.
"""

from typing import Any

import typer
from typer.core import TyperGroup

HELP = "Assemble, run and watch Pipecat workers."


class Family(TyperGroup):
    """Hands the words that follow its name to `pmw`, which ends the process as it always does.

    So its help, errors and exit codes are the same under both names. A shell that asks for
    completions finds the commands of `pmw` here.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave all words alone, `--` and options too."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: Any) -> None:
        """Run `pmw`; doesn't return."""
        from pipecat_workers_cli.cli.app import main

        main(ctx.args, program=ctx.command_path)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands of `pmw`."""
        return self._whole().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one of the commands of `pmw`."""
        return self._whole().get_command(ctx, cmd_name)

    def _whole(self) -> Any:
        from pipecat_workers_cli.cli.app import app

        return typer.main.get_command(app)


app = typer.Typer(cls=Family, help=HELP, add_completion=False)


@app.callback()
def workers() -> None:
    """Be a group, though it has no command of its own."""
