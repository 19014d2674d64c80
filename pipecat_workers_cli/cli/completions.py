"""`pmw completions`: the scripts that ship in `completions/`, printed or installed.

`python -m pipecat_workers_cli.cli.completions` writes anew in a checkout what they read.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipecat_workers_cli.cli.arguments import takes_log_options
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.cli.words import completions_file
from pipecat_workers_cli.errors import PmwError

MARK = "# Written by pmw: pmw completions {shell} --install writes it anew."


class Shell(StrEnum):
    """A shell that has completions."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


FILES = {Shell.BASH: "pmw.bash", Shell.ZSH: "_pmw", Shell.FISH: "pmw.fish"}


@takes_log_options
def completions(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="The shell to complete in.")],
    install: Annotated[
        bool, typer.Option("--install", help="Write them to the shell's place for yours.")
    ] = False,
) -> None:
    """Print a shell's completions, or install them."""
    script = shipped_script(shell)
    if not install:
        typer.echo(script, nl=False)
        return
    path = install_script(shell, script)
    typer.echo(f"completions for {shell} are in {path}")
    Terminal.of(context).say(next_step(shell, path))


def shipped_script(shell: Shell) -> str:
    """Return the completions that ship for a shell."""
    return Path(completions_file(FILES[shell])).read_text(encoding="utf-8")


def user_file(shell: Shell) -> Path:
    """Return the file from which a shell loads a user's completions of `pmw`."""
    home = Path.home()
    match shell:
        case Shell.BASH:
            data = _folder("XDG_DATA_HOME", home / ".local" / "share")
            folder = _folder("BASH_COMPLETION_USER_DIR", data / "bash-completion")
            return folder / "completions" / FILES[shell]
        case Shell.ZSH:
            return _folder("ZDOTDIR", home) / ".zfunc" / FILES[shell]
        case Shell.FISH:
            folder = _folder("XDG_CONFIG_HOME", home / ".config")
            return folder / "fish" / "completions" / FILES[shell]


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default)


def install_script(shell: Shell, script: str) -> Path:
    """Write a shell's completions to its user's folder, over none but an earlier one of ours.

    Returns:
        The file.

    Raises:
        PmwError: A file of somebody else's is there, or it can't be written.
    """
    path = user_file(shell)
    try:
        there = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        if there == script:
            return path
        if there and MARK.format(shell=shell) not in there:
            raise PmwError(
                f"{path} is there and isn't pmw's",
                mend=f"move it away, or write yours elsewhere: pmw completions {shell} > FILE",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script, encoding="utf-8")
    except OSError as error:
        raise PmwError(
            f"cannot write {path}: {error.strerror}",
            mend=f"pmw completions {shell} > FILE, and let your shell load FILE",
        ) from None
    return path


def next_step(shell: Shell, path: Path) -> str:
    """Say what is left to do after the file was written."""
    match shell:
        case Shell.BASH:
            return (
                "open a new shell; where the package bash-completion isn't installed, "
                f"add to ~/.bashrc: source {path}"
            )
        case Shell.ZSH:
            return (
                "open a new shell; unless they are there already, add to ~/.zshrc: "
                f"fpath+=({path.parent}); autoload -Uz compinit; compinit"
            )
        case Shell.FISH:
            return "open a new shell"


if __name__ == "__main__":
    from pipecat_workers_cli.cli.listing import render_words
    from pipecat_workers_cli.cli.words import FILE

    Path(completions_file(FILE)).write_text(render_words(), encoding="utf-8")
