"""The far end of a proxy, as seen from a terminal."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pipecat_workers_cli.addresses import is_loopback
from pipecat_workers_cli.buses.link import SUBPROTOCOL
from pipecat_workers_cli.call.plan import Plan
from pipecat_workers_cli.call.ready import ready_plan
from pipecat_workers_cli.cli.detach import announce_ready, how_to_end
from pipecat_workers_cli.cli.hosting import chosen_names
from pipecat_workers_cli.cli.terminal import Terminal
from pipecat_workers_cli.errors import ConfigurationError
from pipecat_workers_cli.fleet.doorstep import Doorstep
from pipecat_workers_cli.fleet.gate import GateRules
from pipecat_workers_cli.fleet.gateway import Gateway
from pipecat_workers_cli.fleet.process import serve_proxy
from pipecat_workers_cli.fleet.stock_gateway import StockGateway
from pipecat_workers_cli.options import ProxyOptions, Wire
from pipecat_workers_cli.tokens import require_fit
from pipecat_workers_cli.traffic.tap import Tap


def serve_proxied(terminal: Terminal, recipe: str, options: ProxyOptions) -> None:
    """Serve a worker until a signal ends it; blocks.

    Args:
        terminal: Where to say so.
        recipe: Whose worker: a name or a path, as it was typed.
        options: What else was typed.

    Raises:
        ConfigurationError: The recipe, a name, a token or a certificate is wrong, or the bind
            isn't safe.
        PmwError: A key or a package is missing, the port is taken, or calls were still going
            on when the time to drain was over.
    """
    check_tokens(options)
    doorstep = doorstep_of(options)
    doorstep.context()

    def part(plan: Plan) -> Plan:
        known = [planned.recipe.name for planned in plan.workers]
        return plan.hosting(chosen_names((options.worker,), known, every=False))

    plan = ready_plan(recipe, options.services, sets=options.sets, speech=True, part=part)
    tap = Tap()
    stock = options.wire is Wire.STOCK
    gateway = (StockGateway if stock else Gateway)(
        plan,
        doorstep,
        GateRules(
            options.tokens,
            tuple(o.lower().rstrip("/") for o in options.allowed_origins),
            subprotocol=None if stock else SUBPROTOCOL,
        ),
        tap,
        max_calls=options.max_calls,
        idle_timeout=options.idle_timeout,
        max_message_bytes=options.max_message_bytes,
    )
    serving = serve_proxy(
        gateway,
        tap=tap,
        drain_timeout=options.drain_timeout,
        beside=lambda gateway, name: _introduced(terminal, gateway, name, plan, options),
    )
    if asyncio.run(serving) == signal.SIGINT:
        sys.exit(130)


def check_tokens(options: ProxyOptions) -> None:
    """Refuse a bind beyond loopback that nothing protects, and a token that protects nothing.

    Raises:
        ConfigurationError: As said.
    """
    if not options.tokens and not options.insecure and not is_loopback(options.host):
        raise ConfigurationError(
            f"--host {options.host or repr('')} lets other machines in without a token",
            mend="add --token TOKEN, or --insecure, or keep to --host localhost",
        )
    for token in options.tokens:
        require_fit(token, "a token")


def doorstep_of(options: ProxyOptions) -> Doorstep:
    """Return where to listen.

    Raises:
        ConfigurationError: There is a key without a certificate.
    """
    if options.tls_cert is None and options.tls_key is not None:
        raise ConfigurationError(
            "--tls-key is of no use without a certificate", mend="add --tls-cert FILE"
        )
    tls = (options.tls_cert, options.tls_key) if options.tls_cert else None
    return Doorstep(options.host, options.port, tls)


@asynccontextmanager
async def _introduced(
    terminal: Terminal, gateway: Gateway, name: str | None, plan: Plan, options: ProxyOptions
) -> AsyncGenerator[None]:
    ending = f"({how_to_end(name)}; up to {gateway.max_calls} calls)"
    terminal.say(
        f"{gateway.worker} of {gateway.recipe} {plan.loaded.hash} at {gateway.doorstep.url}"
        f"  {ending}\n{plan.told()}"
    )
    if options.wire is Wire.STOCK:
        main = plan.loaded.recipe.main.name
        terminal.say(f"for stock WebSocketProxyClients; their local_worker_name has to be {main}")
    if not options.tokens and not is_loopback(options.host):
        terminal.say("no token is asked for: whoever reaches this port may talk to the worker")
    elif options.tokens and options.tls_cert is None and not is_loopback(options.host):
        terminal.say(
            "tokens and talk cross the network in the clear: add --tls-cert, or TLS before it"
        )
    announce_ready(name, gateway.doorstep.url)
    yield
