"""Values that recipes hold, by their patterns."""

import pytest
from pydantic import TypeAdapter, ValidationError

from pipecat_workers_cli.recipe.values import Address

ADDRESSES = TypeAdapter(Address)


@pytest.mark.parametrize(
    "address",
    ["ws://localhost:8765/ws", "wss://bots.example/a/b?x=1", "ws://[::1]:65535/ws", "ws://h"],
)
def test_an_address_of_a_websocket_is_taken(address):
    assert ADDRESSES.validate_python(address) == address


@pytest.mark.parametrize(
    "address",
    [
        *("ws://localhost:99999/ws", "ws://localhost:0/ws", "ws://localhost:/ws", "ws://[::1/ws"),
        *("http://localhost/ws", "ws://ann:secret@localhost/ws", "ws:///ws", "ws://h/a b"),
    ],
)
def test_what_leads_nowhere_is_no_address(address):
    with pytest.raises(ValidationError):
        ADDRESSES.validate_python(address)
