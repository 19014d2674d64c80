"""`pmw voices`: whom one can let speak, as it is typed after `--tts`."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipecat_workers_cli.cli.arguments import Json, OutputOption, takes_log_options
from pipecat_workers_cli.cli.progress import Progress
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError, PmwError
from pipecat_workers_cli.options import Gender, Output

if TYPE_CHECKING:
    from pipecat_workers_cli.services.voice_lists import Listed, Wanted

NAMED = 3  # voices that an error names, at most
ABOUT = 60  # characters of a description, off a terminal


class VoiceProvider(StrEnum):
    """Whose voices."""

    CARTESIA = "cartesia"
    PIPER = "piper"


@takes_log_options
def voices(
    context: typer.Context,
    search: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="In its name, its description or its id.", show_default="any"
        ),
    ] = "",
    provider: Annotated[
        VoiceProvider | None,
        typer.Option("--provider", help="Whose.", show_default="all that can be asked"),
    ] = None,
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="en, en-GB.", show_default="any")
    ] = "",
    gender: Annotated[
        Gender | None,
        typer.Option("--gender", help="As the provider says.", show_default="any"),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000, metavar="N", help="Of each provider.")
    ] = 20,
    after: Annotated[
        str, typer.Option("--after", metavar="VOICE", help="The next page: those after this one.")
    ] = "",
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE.wav", help="Have the one that is found say a text."),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="What it says with --save.")
    ] = None,
    output: OutputOption = Output.TEXT,
    json: Json = False,
) -> None:
    """List voices for --tts: Cartesia's, and Piper's that are installed here."""
    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    terminal.set_up_logs()
    from pipecat_workers_cli.services.voice_lists import SAMPLE, Wanted, save_sample

    named, search = _split(search)
    of, after = _split(after)
    wanted = Wanted(search, language, gender, limit, after)
    output = Output.JSON if json else output
    with Progress(terminal) as progress:
        found = _find(terminal, provider or named or of, wanted, progress)
        if save is None:
            progress.end()
            _show(terminal, found, output)
            return
        voice = _only(found, search)
        progress.tell(f"{voice.tts} speaks")
        seconds = save_sample(voice, save, text=text or SAMPLE)
    if output is Output.JSON:
        _print_json({**_fields(voice), "file": str(save), "seconds": round(seconds, 3)})
    else:
        typer.echo(f"{save}: {seconds:.1f} s by {voice.tts}")


def _split(typed: str) -> tuple[VoiceProvider | None, str]:
    """Take `cartesia:ID`, as it is printed here, apart."""
    name, colon, rest = typed.partition(":")
    if colon and name in tuple(VoiceProvider):
        return VoiceProvider(name), rest
    return None, typed


def _find(
    terminal: Terminal, provider: VoiceProvider | None, wanted: "Wanted", progress: Progress
) -> "list[Listed]":
    from pipecat_workers_cli.services.voice_lists import KEY, cartesia_voices, piper_voices
    from pipecat_workers_cli.settings import variable

    found: list[Listed] = []
    if provider in (None, VoiceProvider.PIPER):
        found += _page(terminal, piper_voices(wanted), wanted)
    if provider is None and variable(KEY) is None:
        terminal.say(f"Cartesia's are left out: {KEY} is not set")
    elif provider in (None, VoiceProvider.CARTESIA):
        progress.tell("asking Cartesia for its voices")
        try:
            found += _page(terminal, cartesia_voices(wanted), wanted)
        except PmwError as error:
            if provider is not None or not found:
                raise
            terminal.say(f"Cartesia's are left out: {error.what}; {error.mend}")
    return found


def _page(terminal: Terminal, found: "Sequence[Listed]", wanted: "Wanted") -> "Sequence[Listed]":
    page = found[: wanted.limit]
    if len(found) > len(page):
        terminal.say(f"there are more: --after {page[-1].tts}, or a higher --limit")
    return page


def _only(found: "Sequence[Listed]", search: str) -> "Listed":
    """Return the one voice that is meant.

    Raises:
        ConfigurationError: None is, or several are.
    """
    exact = [voice for voice in found if search.lower() in (voice.id.lower(), voice.name.lower())]
    meant = exact or found
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise ConfigurationError("no such voice was found", mend="pmw voices lists what there is")
    some = ", ".join(voice.tts for voice in meant[:NAMED])
    raise ConfigurationError(
        f"--save takes one voice, and {len(meant)} are meant: {some}{', …' * (len(meant) > NAMED)}",
        mend=f"name one: pmw voices {meant[0].tts} --save FILE.wav",
    )


def _show(terminal: Terminal, found: "Sequence[Listed]", output: Output) -> None:
    if output is Output.JSON:
        for voice in found:
            _print_json(_fields(voice))
    elif not found:
        terminal.say("no such voice was found")
    elif sys.stdout.isatty():
        from rich.table import Table
        from rich.text import Text

        table = Table("--tts", "name", "language", "gender", "about", box=None, header_style="dim")
        for column in table.columns[:4]:
            column.no_wrap = True
        table.columns[4].overflow = "ellipsis"
        table.columns[4].no_wrap = True
        for voice in found:
            cells = (voice.name, voice.language, voice.gender, voice.about)
            table.add_row(Text(voice.tts, style="bold"), *map(Text, cells))
        terminal.console().print(table)
    else:
        tts, name = (max(len(getattr(v, key)) for v in found) for key in ("tts", "name"))
        for v in found:
            line = f"{v.tts:<{tts}}  {v.name:<{name}}  {v.language:<7}  {v.gender:<9}"
            typer.echo(f"{line}  {v.about[:ABOUT]}".rstrip())


def _fields(voice: "Listed") -> dict[str, object]:
    return {key: getattr(voice, key) for key in ("tts", "name", "language", "gender", "about")}


def _print_json(fields: dict[str, object]) -> None:
    import json

    typer.echo(json.dumps(fields, ensure_ascii=False))
