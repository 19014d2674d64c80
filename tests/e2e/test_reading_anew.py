"""A recipe is edited while a session serves it: the next call runs it, calls in flight don't."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from tests.e2e.conftest import Server, connected, own_folders
from tests.e2e.test_serving import eval_hello, say
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
HANDOFF = (ROOT / "recipes" / "handoff.toml").read_text(encoding="utf-8")
GREETING = "Welcome to Acme Corporation!"

pytestmark = [
    pytest.mark.speech,
    pytest.mark.xdist_group("reading anew"),  # in one process, for the server is shared
]


class Shop(Server):
    """A server of a recipe of the user's, which lies in the folder that `pmw` is started in."""

    def __init__(self, folder: Path) -> None:
        self.recipe = folder / "mine.toml"
        self.recipe.write_text(HANDOFF, encoding="utf-8")
        words = ["run", "./mine.toml", "--services", "offline", "--max-calls", "9"]
        env = {**os.environ, **own_folders(str(folder))}
        super().__init__(words, port=free_port(), env=env, cwd=folder)
        self.banner = next(line for line in self.err if line.startswith("handoff "))


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    yield shop
    shop.popen.kill()
    shop.popen.wait(5)


@pytest.fixture
def recipe(shop: Shop) -> Path:
    """The shipped recipe once more, whatever a test before has made of it."""
    shop.recipe.write_text(HANDOFF, encoding="utf-8")
    return shop.recipe


@pytest.fixture
def server(shop: Shop, recipe) -> Shop:
    """The server with that recipe, of which nothing has been read yet."""
    greeted(shop, GREETING)
    shop.err.clear()
    return shop


@contextmanager
def called(server) -> Iterator[ClientConnection]:
    with connected(server.port) as client:
        client.send(eval_hello())
        yield client


def heard(client: ClientConnection, text: str) -> None:
    """Wait until the client is told `text`."""
    while text not in str(client.recv(timeout=15)):
        pass


def greeted(server, greeting: str) -> None:
    """Place a call and wait until it is greeted so."""
    with called(server) as client:
        heard(client, greeting)


def introduced(client: ClientConnection) -> dict[str, Any]:
    """Wait until the call has introduced itself to its client."""
    client.send(json.dumps({
        "label": "rtvi-ai", "type": "client-ready", "id": "ready",
        "data": {"version": "1.0.0", "about": {"library": "tests"}},
    }))  # fmt: skip
    while True:
        message = json.loads(client.recv(timeout=15))
        told = message.get("data", {}).get("pmw", {}) if message.get("data") else {}
        if told.get("event") == "call":
            return told


def test_an_edit_is_in_the_next_call_and_a_faulty_one_in_none(server, recipe) -> None:
    greeted(server, GREETING)

    recipe.write_text(HANDOFF.replace(GREETING, "Good morning!"), encoding="utf-8")
    greeted(server, "Good morning!")
    (renewed,) = [line for line in server.err if "read anew" in line]

    faulty = HANDOFF.replace(GREETING, "Bad morning!").replace(
        'transfers = ["support"]', 'transfers = ["suport"]'
    )
    recipe.write_text(faulty, encoding="utf-8")
    for _ in range(2):
        greeted(server, "Good morning!")
    (refused,) = [line for line in server.err if "suport" in line]
    line = faulty[: faulty.index('"suport"')].count("\n") + 1
    assert f"mine.toml:{line}: workers.greeter.transfers[0] = 'suport'" in refused
    assert renewed.split()[1].rstrip(":") in refused, "the version that runs instead is named"

    recipe.write_text(HANDOFF.replace(GREETING, "Good evening!"), encoding="utf-8")
    greeted(server, "Good evening!")
    assert server.out == []


def test_a_call_in_flight_goes_on_as_it_began_and_each_says_its_version(server, recipe) -> None:
    with called(server) as before:
        version = introduced(before)["hash"]
        assert version in server.banner
        heard(before, GREETING)
        recipe.write_text(
            HANDOFF.replace(GREETING, "Good morning!").replace("$49", "$51"), encoding="utf-8"
        )
        with called(server) as after:
            heard(after, "Good morning!")
            for client, price in ((before, "$49"), (after, "$51")):
                client.send(say("How much is the paint?"))
                heard(client, price)
    with called(server) as third:
        assert introduced(third)["hash"] not in server.banner


def test_other_workers_than_before_are_in_the_next_call(server, recipe) -> None:
    greeted(server, GREETING)
    recipe.write_text(
        'name = "mine"\n[main]\nname = "desk"\nopening = { message = "Greet." }\n'
        '[[workers]]\nname = "clerk"\n'
        'prompt = "You sell boots."\nscript = [{ on = "opening", say = "Only me here." }]\n',
        encoding="utf-8",
    )
    greeted(server, "Only me here.")


def test_a_session_with_json_tells_a_fault_as_an_error_of_no_call(serve, tmp_path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(HANDOFF, encoding="utf-8")
    server = serve("run", "./mine.toml", "--services", "offline", "-o", "json")
    recipe.write_text("name = \n", encoding="utf-8")
    greeted(server, GREETING)
    server.wait_for(lambda: any('"error"' in line for line in server.out))
    (fault,) = [entry for entry in map(json.loads, list(server.out)) if entry["event"] == "error"]
    assert fault["call"] == ""
    assert fault["text"].startswith("mine.toml:1: ")
