"""The commands for a worker at the other end of a WebSocket: its end, and the caller's."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipecat_workers_cli.cli.arguments import (
    PROXY_TOKEN,
    Detach,
    DrainTimeout,
    Llm,
    ServicesOption,
    Sets,
    Tts,
    WireOption,
    takes_log_options,
)
from pipecat_workers_cli.cli.call_arguments import takes_call_options_but
from pipecat_workers_cli.cli.complete import complete_recipe, complete_worker
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.options import CallOptions, LinkOptions, ProxyOptions, ServiceOptions, Wire

proxy_app = typer.Typer(
    no_args_is_help=True, help="An LLM worker at the other end of a WebSocket, no bus between."
)
REMOTE_URL = "ws://localhost:8765/ws"


@proxy_app.command()
@takes_log_options
def serve(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A worker of the recipe.", autocompletion=complete_worker
        ),
    ] = "assistant",
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="Whose worker: a name or a path.",
            autocompletion=complete_recipe,
        ),
    ] = "assistant",
    host: Annotated[str, typer.Option("--host", help="Where it listens.")] = "localhost",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Its port.")] = 8765,
    token: Annotated[
        Optional[list[str]],  # noqa: UP045  # Typer reads it at run time
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="Asked of every caller; needed beyond localhost. Repeatable: each of them opens.",
            show_default=f"${PROXY_TOKEN}, several apart by spaces",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Speak TLS by this certificate (PEM)."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            "--tls-key",
            metavar="FILE",
            help="The certificate's key (PEM).",
            show_default="in the same file",
        ),
    ] = None,
    allowed_origins: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--allowed-origins",
            metavar="ORIGIN",
            help="Pages of this origin may open a link. Repeatable.",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond localhost without a token.")
    ] = False,
    max_calls: Annotated[
        int, typer.Option("--max-calls", min=1, max=10_000, help="Calls at once.")
    ] = 100,
    max_message_bytes: Annotated[
        int,
        typer.Option(
            "--max-message-bytes",
            min=65_536,
            max=8_388_608,
            metavar="N",
            help="Taken at once; who sends more is let go.",
        ),
    ] = 1_048_576,
    idle_timeout: Annotated[
        float,
        typer.Option(
            "--idle-timeout",
            min=1,
            metavar="S",
            help="Closes a link over which nothing is said.",
        ),
    ] = 300.0,
    drain_timeout: DrainTimeout = 60.0,
    wire: WireOption = Wire.PMW,
    services: ServicesOption = None,
    llm: Llm = None,
    tts: Tts = None,
    sets: Sets = None,
    detach: Detach = False,
) -> None:
    """Serve a worker at ws://HOST:PORT/ws, a fresh one for each caller that connects."""
    from pipecat_workers_cli.cli.detach import in_background
    from pipecat_workers_cli.settings import load_env
    from pipecat_workers_cli.tracing.setup import set_up_tracing

    terminal = Terminal.of(context)
    if terminal.runner_args:
        raise ConfigurationError(
            f"pmw proxy serve takes nothing after '--', such as '{terminal.runner_args[0]}'",
            mend="leave it out; pmw proxy call hands it to Pipecat's runner",
        )
    if detach and in_background(terminal, recipe):
        return
    load_env(terminal.env_file)
    terminal.set_up_logs()
    set_up_tracing()
    from pipecat_workers_cli.cli.serving_proxy import serve_proxied

    options = ProxyOptions(
        worker=name,
        services=ServiceOptions(profile=services, llm=llm, tts=tts),
        sets=tuple(sets or ()),
        host=host,
        port=port,
        tokens=tuple(token or tokens_of_env()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        allowed_origins=tuple(allowed_origins or ()),
        insecure=insecure,
        max_calls=max_calls,
        max_message_bytes=max_message_bytes,
        idle_timeout=idle_timeout,
        drain_timeout=drain_timeout,
        wire=wire,
    )
    serve_proxied(terminal, recipe, options)


@proxy_app.command()
@takes_call_options_but("bus", "redis_url", "database_url", "channel")
def call(
    context: typer.Context,
    options: CallOptions,
    remote_url: Annotated[
        str,
        typer.Option("--remote-url", metavar="URL", help="Where the worker is: ws:// or wss://."),
    ] = REMOTE_URL,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="One that the other end asks for.",
            show_default=f"${PROXY_TOKEN}",
        ),
    ] = None,
    header: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--header", metavar="'NAME: VALUE'", help="Sent when connecting. Repeatable."),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            metavar="FILE",
            help="Trust these certificates (PEM).",
            show_default="those this machine trusts",
        ),
    ] = None,
    reconnect_timeout: Annotated[
        float,
        typer.Option(
            "--reconnect-timeout",
            min=0,
            metavar="S",
            help="How long a broken link is opened again before the call ends.",
        ),
    ] = 30.0,
    wire: WireOption = Wire.PMW,
) -> None:
    """Hold calls whose LLM worker is at the other end of a WebSocket."""
    from pipecat_workers_cli.cli.patterns import hold_calls, with_sets
    from pipecat_workers_cli.recipe.values import ADDRESS_PATTERN
    from pipecat_workers_cli.settings import load_env

    terminal = Terminal.of(context)
    load_env(terminal.env_file)
    if re.match(ADDRESS_PATTERN, remote_url) is None:
        raise ConfigurationError(
            "--remote-url takes the address of a WebSocket", mend=f"--remote-url {REMOTE_URL}"
        )
    known = known_token(token)
    worker = "workers.assistant"
    links = LinkOptions(
        headers=tuple(read_header(typed) for typed in header or ()),
        ca_file=ca_file,
        reconnect_timeout=reconnect_timeout,
        wire=wire,
    )
    options = with_sets(options, {f"{worker}.at": remote_url, f"{worker}.token": known})
    hold_calls(terminal, "assistant", replace(options, links=links))


def tokens_of_env() -> list[str]:
    """Return the tokens that the environment holds, apart by spaces there."""
    from pipecat_workers_cli.settings import variable

    return (variable(PROXY_TOKEN) or "").split()


def known_token(typed: str | None) -> str | None:
    """Return the token to be sent: what was typed, else the first of the environment's."""
    return typed or next(iter(tokens_of_env()), None)


def read_header(typed: str) -> tuple[str, str]:
    """Read one value of `--header`.

    Raises:
        ConfigurationError: It isn't a name, a colon and a value, or would be no header.
    """
    name, colon, value = typed.partition(":")
    name, value = name.strip(), value.strip()
    proper = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
    if not colon or not proper or not (value.isascii() and value.isprintable()):
        raise ConfigurationError(
            "--header takes a name, a colon and a value", mend="--header 'X-Tenant: acme'"
        )
    return name, value
