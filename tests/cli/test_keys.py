import asyncio

import pytest

from pipecat_workers_cli.cli.keys import Keyboard


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"q?", ["q", "?"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\r\x7f\x15 ", ["enter", "backspace", "clear", " "]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
        (b"\x1b[1;5C\x1bxa\x01\x1b[200~", ["a"]),
        ("ü速".encode(), ["ü", "速"]),
    ],
)
async def test_bytes_become_keys_whichever_way_they_are_cut(typed, keys):
    whole: list[str] = []
    Keyboard(whole.append).take(typed)
    assert whole == keys
    cut: list[str] = []
    keyboard = Keyboard(cut.append)
    for byte in typed:
        keyboard.take(bytes([byte]))
    assert cut == keys


async def test_escape_alone_is_a_key_after_a_moment():
    keys: asyncio.Queue[str] = asyncio.Queue()
    keyboard = Keyboard(keys.put_nowait)
    keyboard.take(b"\x1b")
    assert keys.empty()
    assert await asyncio.wait_for(keys.get(), 5) == "escape"
    keyboard.take(b"\x1b\x1b[A")
    assert [keys.get_nowait(), keys.get_nowait()] == ["escape", "up"]


async def test_after_its_end_no_key_is_told():
    told: list[str] = []
    keyboard = Keyboard(told.append)
    keyboard.take(b"\x1b")
    keyboard.close()
    loop = asyncio.get_running_loop()
    later = loop.create_future()
    loop.call_later(0.1, later.set_result, None)
    await later
    assert told == []
