"""Far ends of proxies in this process, certificates for them, and ends that don't behave."""

import datetime
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipecat_workers_cli.buses.link import SUBPROTOCOL
from pipecat_workers_cli.buses.way import Way
from pipecat_workers_cli.call.plan import plan_call
from pipecat_workers_cli.fleet.doorstep import Doorstep
from pipecat_workers_cli.fleet.gate import GateRules
from pipecat_workers_cli.fleet.gateway import Gateway
from pipecat_workers_cli.fleet.health import answering
from pipecat_workers_cli.fleet.stock_gateway import StockGateway
from pipecat_workers_cli.options import LinkOptions, Wire
from pipecat_workers_cli.recipe.load import load_recipe
from pipecat_workers_cli.traffic.tap import Tap
from tests.call.conftest import OFFLINE
from tests.ports import free_port

TOKEN = "the-right-token-it-is"
SLOW = """
name = "assistant"
[main]
name = "acme"
opening = { message = "Welcome the caller." }
[[workers]]
name = "assistant"
prompt = "You are slow."
script = [
  { on = "opening", say = "Welcome!" },
  { match = "slow", delay = 1.5, say = "At last, the slow answer." },
  { match = "bye", call = "end_conversation", args = { reason = "the caller said goodbye" } },
  { say = "You said {text}" },
]
"""


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(signed.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(pem, *plain))
    return cert, secret


@asynccontextmanager
async def proxying(
    recipe: str = "assistant",
    *,
    worker: str = "assistant",
    port: int | None = None,
    tokens: tuple[str, ...] = (),
    tls: tuple[Path, Path] | None = None,
    max_calls: int = 100,
    idle_timeout: float = 300,
    wire: Wire = Wire.PMW,
    origins: tuple[str, ...] = (),
) -> AsyncIterator[Gateway]:
    """Serve a worker to links for as long as the block lasts."""
    plan = plan_call(load_recipe(recipe), OFFLINE, speech=False).hosting([worker])
    stock = wire is Wire.STOCK
    gateway = (StockGateway if stock else Gateway)(
        plan,
        Doorstep("127.0.0.1", port or free_port(), tls),
        GateRules(tokens, origins, subprotocol=None if stock else SUBPROTOCOL),
        Tap(),
        max_calls=max_calls,
        idle_timeout=idle_timeout,
    )
    async with answering(gateway), gateway.listening():
        yield gateway


def way_to(
    gateway: Gateway, *, token: str | None = None, worker: str = "assistant", path: str = "", **more
) -> Way:
    """The way to a gateway."""
    url = gateway.doorstep.url.removesuffix("/ws") + (path or "/ws")
    return Way(worker, url, token, LinkOptions(**more))


def sets_for(gateway: Gateway, token: str | None = None) -> tuple[str, ...]:
    """What makes the recipe's assistant the one that a gateway serves."""
    at = f'workers.assistant.at="{gateway.doorstep.url}"'
    return (at, f'workers.assistant.token="{token}"') if token else (at,)
