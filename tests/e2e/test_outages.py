"""What a call over a shared engine does when that fails, in processes of their own."""

import time

import pytest

from tests.e2e.fleet import Fleet

BACK_WITHIN = 5.0  # seconds from an engine's return to an answer


@pytest.mark.parametrize(("away", "empty"), [(0.5, False), (2, True), (8, False)])
def test_x(fleet: Fleet, away, empty):
    began = time.monotonic()
    (host,) = [fleet.host("greeter", "support")]
    talk = fleet.talk()
    talk.told("bot")
    print("up", time.monotonic() - began)
    fleet.server.kill()
    time.sleep(away / 2)
    began = talk.say("How much is the tornado kit?")
    time.sleep(away / 2)
    fleet.server.start(empty=empty)
    back = time.monotonic()
    try:
        print(talk.told("bot", worker="support", within=15), time.monotonic() - back)
        print(talk.ask("And the paint?"))
    finally:
        for e in talk.entries:
            print(e["at_ms"], e["event"], e.get("worker"), e.get("text", e.get("name")))
        print(talk.err, host.err)
    assert talk.hang_up() == 0
